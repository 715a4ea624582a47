"""Refusals, which also requests get that never reach the application, and the ids of requests.

A refusal is a problem document (RFC 9457). Under the paths of another protocol it has that protocol's own shape.
"""

from __future__ import annotations

import http
import itertools
import os
import re
import secrets
from collections.abc import Sequence
from typing import Any, NamedTuple

import orjson

from models.errors import shortened
from service.web.worker.records import CODE

__all__ = [
    "CORS",
    "DATA_FIELDS",
    "PAGE_HEADERS",
    "Refusal",
    "common_headers",
    "cors_headers",
    "cors_of",
    "data_headers",
    "quick_headers",
    "refusal",
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
    return [("Content-Type", "application/json"), ("X-Request-Id", request_id_of(environ)), *cors_of(environ)]


def data_headers(environ: dict[str, Any]) -> list[tuple[str, str]]:
    """The headers of an answer that is data, beside its type."""
    return [("X-Request-Id", request_id_of(environ)), *common_headers(environ)]


def cors_of(environ: dict[str, Any]) -> list[tuple[str, str]]:
    """The headers by which the page that asks may read the answer, if it is one of another site."""
    origin: str | None = environ.get(CORS)
    return [] if origin is None else cors_headers(origin)


def cors_headers(origin: str) -> list[tuple[str, str]]:
    """Let a page of another site read the answer (Fetch standard, section 3.3)."""
    exposed = (
        "Content-Disposition, ETag, Idempotent-Replayed, Inference-Header-Content-Length, Location, Retry-After, "
        "X-Model-Version, X-Request-Id"
    )
    return [
        ("Access-Control-Allow-Origin", origin),
        ("Access-Control-Expose-Headers", exposed),
        ("Vary", "Origin"),
    ]


class Refusal(NamedTuple):
    """What is answered to a request that is refused."""

    status: int
    content_type: str
    body: bytes

    @property
    def status_line(self) -> str:
        """The status with its phrase."""
        return f"{self.status} {http.HTTPStatus(self.status).phrase}"


def refusal(
    environ: dict[str, Any],
    status: int,
    code: str,
    detail: str,
    errors: Sequence[dict[str, Any]] = (),
    **extensions: Any,
) -> Refusal:
    """The refusal of a request, with the place of each fault; ``extensions`` are further members of a problem document.

    ``environ`` may lack what was not read. The code is noted there, for the record of the request.
    """
    environ[CODE] = code
    path: str = environ.get("PATH_INFO", "")
    shape = _SHAPES.get(path.split("/", 2)[1] if path.startswith("/") else "")
    if shape is not None:
        status = _STATUSES.get(status, status)
        return Refusal(status, "application/json", _line(shape(status, _all_faults(detail, errors))))
    document = {
        "type": "about:blank",
        "title": http.HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "code": code,
        "instance": shortened(path.encode("latin-1").decode(errors="replace")),
        "request_id": request_id_of(environ),
        "errors": list(errors),
        **extensions,
    }
    return Refusal(status, "application/problem+json", _line(document))


def _line(document: dict[str, Any]) -> bytes:
    return orjson.dumps(document, option=orjson.OPT_APPEND_NEWLINE)


def _all_faults(detail: str, errors: Sequence[dict[str, Any]]) -> str:
    """The faults of a request as one text; other protocols have no list of them."""
    if len(errors) < 2:
        return detail
    return "; ".join(f"{error['pointer'] or 'the request'}: {error['detail']}" for error in errors)


def _error(_status: int, detail: str) -> dict[str, Any]:
    """As the Open Inference Protocol and TensorFlow Serving have it."""
    return {"error": detail}


def _mlflow(status: int, detail: str) -> dict[str, Any]:
    """As MLflow has it (``mlflow.exceptions``)."""
    return {"error_code": _MLFLOW_CODES.get(status, "INTERNAL_ERROR"), "message": detail}


#: How protocols other than the service's own write errors, by the first part of their paths.
_SHAPES = {"v2": _error, "v1": _error, "invocations": _mlflow, "endpoints": _mlflow}
#: What they answer where this service distinguishes more: clients of theirs expect these.
_STATUSES = {409: 404, 422: 400}
_MLFLOW_CODES = {
    400: "BAD_REQUEST",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "RESOURCE_DOES_NOT_EXIST",
    413: "BAD_REQUEST",
    415: "BAD_REQUEST",
    429: "REQUEST_LIMIT_EXCEEDED",
    503: "TEMPORARILY_UNAVAILABLE",
}
