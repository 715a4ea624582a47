"""JSON on the wire: ambiguous request bodies are refused, responses are written by orjson."""

from __future__ import annotations

import json
from typing import Any

import orjson
from flask import Request, Response
from flask.json.provider import JSONProvider

from models.errors import MalformedError, UnsupportedError, describe, shortened

__all__ = ["OrjsonProvider", "is_json", "json_bytes", "json_response", "parse_json", "read_json"]


#: Content types accepted for JSON. ``curl -d`` sends a form's type, and some clients send none.
_JSON_TYPES = ("", "application/json", "application/x-www-form-urlencoded", "application/octet-stream", "text/plain")


def read_json(request: Request) -> Any:
    """Parse the body of a request. Raises MalformedError or UnsupportedError."""
    if not is_json(request.content_type or ""):
        kind = request.mimetype
        raise UnsupportedError(
            "unsupported_media_type", f"the body must be application/json. Received: {shortened(kind)}"
        )
    return parse_json(request.get_data(parse_form_data=False))


def is_json(content_type: str) -> bool:
    """Whether a body with this content type is read as JSON; parameters such as ``charset`` are ignored."""
    kind = content_type.partition(";")[0].strip().lower()
    return kind in _JSON_TYPES or kind.endswith("+json")


def parse_json(body: bytes) -> Any:
    """Parse strict JSON: no NaN or infinity, no number beyond float64, no duplicate keys, at most 1,000 levels deep.

    Raises MalformedError.
    """
    if not body.strip():
        raise MalformedError("invalid_json", "the body must be a JSON object. Received: an empty body")
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise MalformedError("invalid_json", f"the body is not valid JSON: {error}") from None
    # orjson keeps the last of equal keys. If there are as many colons as keys, it dropped none. A different count may
    # also come from colons inside strings, so a slower parser decides.
    try:
        if body.count(b":") != _count_keys(document):
            _refuse_duplicates(body)
    except RecursionError:
        raise MalformedError("invalid_json", "the body is nested too deeply") from None
    return document


def _count_keys(value: Any) -> int:
    """Number of keys in nested objects. Skips lists of lists, which hold numbers, possibly millions of them."""
    if isinstance(value, dict):
        return len(value) + sum(map(_count_keys, value.values()))
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return sum(_count_keys(item) for item in value if isinstance(item, dict))
    return 0


def _refuse_duplicates(body: bytes) -> None:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        members: dict[str, Any] = {}
        for key, value in pairs:
            if key in members:
                raise MalformedError("invalid_json", f"the key {describe(key)} occurs twice in one object")
            members[key] = value
        return members

    json.loads(body, object_pairs_hook=unique)


def json_response(document: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """A response with a JSON body; the document may contain NumPy arrays."""
    return Response(json_bytes(document), status, headers, content_type="application/json")


def json_bytes(document: Any) -> bytes:
    """A document as JSON bytes; it may contain NumPy arrays."""
    return orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)


class OrjsonProvider(JSONProvider):
    """Makes Flask use the same strict parser and the same writer."""

    def dumps(self, obj: Any, **_options: Any) -> str:
        return json_bytes(obj).decode()

    def loads(self, s: str | bytes, **_options: Any) -> Any:
        return parse_json(s.encode() if isinstance(s, str) else s)
