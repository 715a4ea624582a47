"""JSON on the wire: ambiguous request bodies are refused, responses are written by orjson."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import orjson
from flask import Request, Response
from flask.json.provider import JSONProvider

from models.errors import MalformedError, UnsupportedError, shortened
from service.web.large_json import EMPTY, parse_large, require_unique_keys
from service.web.memory import Held, held_by

__all__ = [
    "LARGE",
    "OrjsonProvider",
    "is_json",
    "json_bytes",
    "json_line",
    "json_response",
    "parse_json",
    "read_body",
    "read_json",
    "require_json",
    "reserve_body",
]

#: Bytes of a body from which on it is parsed in parts, and the memory of its values is held.
LARGE = 64 * 1024
#: Times the body that its text and its numbers take: most numbers have four characters or more.
PARSE_FACTOR = 4


#: Content types accepted for JSON. ``curl -d`` sends a form's type, and some clients send none.
_JSON_TYPES = ("", "application/json", "application/x-www-form-urlencoded", "application/octet-stream", "text/plain")


def read_json(request: Request) -> Any:
    """Parse the body of a request, within the memory that it holds.

    Raises MalformedError, UnsupportedError, BusyError or TooLargeError.
    """
    require_json(request)
    return parse_json(read_body(request), held_by(request.environ))


def require_json(request: Request) -> None:
    """Raise UnsupportedError if the body of a request has another type than JSON."""
    if not is_json(request.content_type or ""):
        kind = request.mimetype
        raise UnsupportedError(
            "unsupported_media_type", f"the body must be application/json. Received: {shortened(kind)}"
        )


def read_body(request: Request) -> bytes:
    """The body of a request in memory, which is held before the body is read."""
    reserve_body(held_by(request.environ), request.content_length or 0)
    return request.get_data(parse_form_data=False)


def reserve_body(held: Held, length: int) -> None:
    """Hold what a body of ``length`` bytes and the numbers in it may take.

    Much more is asked for when it has been read, and then by what it holds. Raises BusyError or TooLargeError.
    """
    held.reserve(max(length, min(PARSE_FACTOR * length, held.memory.size)))


@lru_cache(maxsize=256)
def is_json(content_type: str) -> bool:
    """Whether a body with this content type is read as JSON; parameters such as ``charset`` are ignored."""
    kind = content_type.partition(";")[0].strip().lower()
    return kind in _JSON_TYPES or kind.endswith("+json")


def parse_json(body: bytes, held: Held | None = None) -> Any:
    """Parse strict JSON: no NaN or infinity, no number beyond float64, no duplicate keys, at most 1,024 levels deep.

    Of a body longer than ``LARGE``, long rows of numbers under ``/inputs``, ``/instances``, ``/data/inputs`` and
    ``/validation/inputs`` become NumberRows. What the values take is ``held``. Raises MalformedError, and BusyError or
    TooLargeError.
    """
    if len(body) > LARGE:
        return parse_large(body, held)
    if not body.strip():
        raise MalformedError("invalid_json", EMPTY)
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise MalformedError("invalid_json", f"the body is not valid JSON: {error}") from None
    require_unique_keys(body, document)
    return document


def json_response(document: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """A response with a JSON body; the document may contain NumPy arrays."""
    return Response(json_line(document), status, headers, content_type="application/json")


def json_bytes(document: Any) -> bytes:
    """A document as JSON bytes; it may contain NumPy arrays."""
    return orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)


def json_line(document: Any) -> bytes:
    """A whole answer: a document as JSON bytes and the end of a line, without which a terminal's prompt follows it."""
    return orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_APPEND_NEWLINE)


class OrjsonProvider(JSONProvider):
    """Makes Flask use the same strict parser and the same writer."""

    def dumps(self, obj: Any, **_options: Any) -> str:
        return json_bytes(obj).decode()

    def loads(self, s: str | bytes, **_options: Any) -> Any:
        return parse_json(s.encode() if isinstance(s, str) else s)
