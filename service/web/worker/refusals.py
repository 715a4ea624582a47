"""Problem documents (RFC 9457), which also requests get that never reach the application, and the ids of requests."""

from __future__ import annotations

import http
import itertools
import os
import re
import secrets
from collections.abc import Sequence
from typing import Any

import orjson

from models.errors import shortened
from service.web.worker.records import CODE

__all__ = [
    "CORS",
    "DATA_FIELDS",
    "PAGE_HEADERS",
    "common_headers",
    "cors_headers",
    "json_headers",
    "problem_document",
    "quick_headers",
    "request_id_of",
]

#: Key in ``environ`` for the origin of a page of another site that may read the answer.
CORS = "trainyard.cors"
#: For every answer: browsers take it for what it says it is.
PAGE_HEADERS = (("X-Content-Type-Options", "nosniff"),)
#: For answers that are data and no page: nobody keeps a copy, nothing in them is run, and no page shows them.
_DATA_HEADERS = (
    ("Cache-Control", "no-store"),
    ("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'"),
    *PAGE_HEADERS,
)

_PRINTABLE = re.compile(r"[\x20-\x7e]{1,128}\Z")


class _Ids:
    """Ids of requests. They must be unique, not secret: a system call for random bytes would let go of the GIL."""

    def __init__(self) -> None:
        self.renew()

    def renew(self) -> None:
        """Begin anew, in a process that was forked."""
        self._process, self._counter = secrets.token_hex(8), itertools.count(1)

    def next(self) -> str:
        """An id that no other request has."""
        return f"{self._process}-{next(self._counter):08x}"


_ids = _Ids()
os.register_at_fork(after_in_child=_ids.renew)


def request_id_of(environ: dict[str, Any]) -> str:
    """The id of a WSGI request: the client's if it is printable ASCII of at most 128 characters, else a new one."""
    known: str | None = environ.get("trainyard.request_id")
    if known is None:
        given = environ.get("HTTP_X_REQUEST_ID", "")
        known = given if _PRINTABLE.match(given) else _ids.next()
        environ["trainyard.request_id"] = known
    return known


def common_headers(environ: dict[str, Any]) -> list[tuple[str, str]]:
    """The headers of every answer that is data."""
    origin: str | None = environ.get(CORS)
    if origin is None:
        return list(_DATA_HEADERS)
    return [*_DATA_HEADERS, *cors_headers(origin)]


#: The text of those headers, for answers that are made fast.
DATA_FIELDS = "".join(f"{name}: {value}\r\n" for name, value in _DATA_HEADERS)


def quick_headers(environ: dict[str, Any]) -> list[tuple[str, str]]:
    """The headers of an answer that is JSON, beside ``DATA_FIELDS``."""
    headers = [("Content-Type", "application/json"), ("X-Request-Id", request_id_of(environ))]
    origin: str | None = environ.get(CORS)
    return headers if origin is None else [*headers, *cors_headers(origin)]


def json_headers(environ: dict[str, Any]) -> list[tuple[str, str]]:
    """The headers of an answer that is JSON."""
    return [
        ("Content-Type", "application/json"),
        ("X-Request-Id", request_id_of(environ)),
        *common_headers(environ),
    ]


def cors_headers(origin: str) -> list[tuple[str, str]]:
    """Let a page of another site read the answer (Fetch standard, section 3.3)."""
    exposed = "Content-Disposition, ETag, Idempotent-Replayed, Location, Retry-After, X-Model-Version, X-Request-Id"
    return [
        ("Access-Control-Allow-Origin", origin),
        ("Access-Control-Expose-Headers", exposed),
        ("Vary", "Origin"),
    ]


def problem_document(
    environ: dict[str, Any],
    status: int,
    code: str,
    detail: str,
    errors: Sequence[dict[str, Any]] = (),
    **extensions: Any,
) -> bytes:
    """A problem document as JSON; ``extensions`` are additional members.

    ``environ`` may lack what was not read. The code is noted there, for the record of the request.
    """
    environ[CODE] = code
    document = {
        "type": "about:blank",
        "title": http.HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "code": code,
        "instance": shortened(environ.get("PATH_INFO", "").encode("latin-1").decode(errors="replace")),
        "request_id": request_id_of(environ),
        "errors": list(errors),
        **extensions,
    }
    return orjson.dumps(document, option=orjson.OPT_APPEND_NEWLINE)
