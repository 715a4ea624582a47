"""A request as a value: it can be sent, sent again, or shown."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from trainyard.bodies import Body, NoBody, body_of

__all__ = ["Request", "path_of", "request_for"]

#: Routes that answer a repeated POST as they did at first, if it has an Idempotency-Key.
KEYED = re.compile("/models|/datasets|/train|/sweeps|/models/[^/]+/checkpoints")
#: Routes whose POST may be repeated: it stores nothing, or what is there already is the answer.
REPEATABLE = re.compile("/predict|/evaluate|/models/[^/]+/versions")


@dataclass(frozen=True)
class Request:
    """What is asked of the service; ``target`` is the path with the query.

    If it is ``repeatable``, it may be sent again though the first one may have arrived.
    """

    method: str
    target: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Body = field(default_factory=NoBody)
    repeatable: bool = True


def path_of(*parts: str | int) -> str:
    """The path of these segments, each quoted: ``path_of("models", "iris")`` is ``/models/iris``."""
    return "".join(f"/{quote(str(part), safe='')}" for part in parts)


def request_for(
    method: str,
    path: str,
    body: Any = None,
    *,
    query: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
    accept: str | None = None,
) -> Request:
    """A request; a POST that makes something gets an Idempotency-Key if its route takes one.

    Members of ``query`` that are None are left out.
    """
    content, sent = body_of(body), dict(headers or {})
    if accept is not None:
        sent["Accept"] = accept
    if content.content_type is not None:
        sent.setdefault("Content-Type", content.content_type)
    method, route = method.upper(), urlsplit(path).path
    repeatable = method in ("GET", "HEAD", "PUT", "DELETE") or (
        method == "POST" and REPEATABLE.fullmatch(route) is not None
    )
    if method == "POST" and KEYED.fullmatch(route) and "Idempotency-Key" not in sent:
        sent["Idempotency-Key"] = secrets.token_hex(16)
    return Request(method, _target(path, query or {}), sent, content, repeatable or "Idempotency-Key" in sent)


def _target(path: str, query: Mapping[str, Any]) -> str:
    given = [(name, _text(value)) for name, value in query.items() if value is not None]
    if not given:
        return path
    return f"{path}{'&' if '?' in path else '?'}{urlencode(given)}"


def _text(value: Any) -> str:
    """A value as the service reads it in a query."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping):
        return ",".join(f"{name}:{_text(each)}" for name, each in value.items())
    if isinstance(value, list | tuple | set | frozenset):
        return ",".join(_text(each) for each in value)
    return str(value)
