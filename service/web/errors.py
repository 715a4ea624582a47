"""Errors as ``application/problem+json`` (RFC 9457), on every path and for every status."""

from __future__ import annotations

import http
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import sqlalchemy as sa
from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from models.errors import (
    LISTED,
    BusyError,
    ConflictError,
    ForbiddenError,
    InvalidError,
    MalformedError,
    MissingError,
    NoRoomError,
    QuotaError,
    TooLargeError,
    TrainyardError,
    UnavailableError,
    UnreadableError,
    UnsupportedError,
    shortened,
)
from models.formats.checkpoint_file import CheckpointError
from models.formats.durable import UnreachableError
from service.store.storage_errors import storage_error_code
from service.web.bodies import bound_body
from service.web.console import pages as console
from service.web.worker.refusals import PAGE_HEADERS, common_headers, refusal, request_id_of

__all__ = ["PROBLEM_SCHEMA", "install", "problem", "request_id"]


_log = logging.getLogger("trainyard.web")


#: Bytes of an error's document. Problems that do not fit are counted with those that are not listed.
PROBLEM_BYTES = 20_000

_STATUS: dict[type[TrainyardError], int] = {
    MalformedError: 400,
    UnreadableError: 400,
    ForbiddenError: 403,
    MissingError: 404,
    ConflictError: 409,
    TooLargeError: 413,
    UnsupportedError: 415,
    InvalidError: 422,
    QuotaError: 429,
    UnavailableError: 501,
    BusyError: 503,
    NoRoomError: 507,
}

#: The headers of pages, which have scripts, by the blueprint: those of the documentation and of the console.
_PAGES = {
    "swagger_ui": (*PAGE_HEADERS, ("Content-Security-Policy", "frame-ancestors 'none'")),
    "console": (*PAGE_HEADERS, *console.HEADERS),
}
#: Codes of the errors that Flask raises.
_CODES = {
    400: "bad_request",
    404: "not_found",
    405: "method_not_allowed",
    406: "not_acceptable",
    413: "too_large",
    415: "unsupported_media_type",
    416: "range_not_satisfiable",
}


def request_id() -> str:
    """The id of the current request."""
    return request_id_of(request.environ)


def _request() -> dict[str, str]:
    """What a message of the log says of the request that it is about."""
    return {"request_id": request_id()}


def install(app: Flask) -> None:
    """Register a handler for every kind of error, and add ``X-Request-Id`` to every response."""
    app.register_error_handler(TrainyardError, _refusal)
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(sa.exc.OperationalError, _database_error)
    app.register_error_handler(sa.exc.TimeoutError, _no_connection)
    app.register_error_handler(sa.exc.DataError, _unknown_text)
    app.register_error_handler(CheckpointError, _checkpoint_error)
    app.register_error_handler(OSError, _storage_error)
    app.register_error_handler(Exception, _internal_error)
    app.before_request(bound_body)
    app.after_request(_complete)


def _complete(response: Response) -> Response:
    response.headers["X-Request-Id"] = request_id()
    for name, value in _PAGES.get(request.blueprint or "") or common_headers(request.environ):
        if name == "Vary":
            response.vary.add(value)
        else:
            response.headers[name] = value
    if response.status_code == 415:
        response.headers["Accept-Encoding"] = "gzip, deflate"
    return response


def problem(
    status: int,
    code: str,
    detail: str,
    errors: Sequence[dict[str, Any]] = (),
    headers: Any = None,
    *,
    total: int = 0,
    **extensions: Any,
) -> Response:
    """An error response of at most ``PROBLEM_BYTES``; ``extensions`` are additional members of its document.

    ``total`` is the number of problems, of which ``errors`` lists the first ones; the document has that too if it is
    larger.
    """
    more = {"errors_total": total} if total > len(errors) else {}
    found = refusal(request.environ, status, code, detail, errors, **more, **extensions)
    if len(found.body) > PROBLEM_BYTES and errors:
        # Many control characters, each of which takes six bytes.
        return problem(status, code, detail, errors[:-1], headers, total=max(total, len(errors)), **extensions)
    return Response(found.body, found.status, headers, content_type=found.content_type)


def _refusal(error: TrainyardError) -> Response:
    status = next(status for kind, status in _STATUS.items() if isinstance(error, kind))
    errors = []
    for each in error.problems:
        entry: dict[str, Any] = {"pointer": each.pointer, "detail": each.detail}
        column = None if each.column is None else shortened(each.column)
        places = {"row": each.row, "line": each.line, "column": column}
        entry |= {name: place for name, place in places.items() if place is not None}
        errors.append(entry)
    headers = None if error.retry_after is None else {"Retry-After": str(error.retry_after)}
    return problem(status, error.code, error.detail, errors, headers, total=error.total)


def _http_error(error: HTTPException) -> Response:
    status = error.code or 500
    if status < 400:  # A redirect is not an error.
        return cast("Response", error.get_response())
    phrase = http.HTTPStatus(status).phrase
    detail = error.description or phrase
    if isinstance(error, MethodNotAllowed):
        detail = f"{request.method} is not allowed here; allowed are {', '.join(sorted(error.valid_methods or ()))}"
    if status == 404:
        detail = f"there is nothing at {shortened(request.path)}"
    if status == 413:
        detail = f"the body must have at most {request.max_content_length} bytes. Received: more"
    headers = [(name, value) for name, value in error.get_headers() if name.lower() in ("allow", "retry-after")]
    return problem(status, _CODES.get(status, "bad_request"), detail, headers=headers)


def _checkpoint_error(error: CheckpointError) -> Response:
    _log.error("request failed: unreadable checkpoint: %s", error, extra=_request())
    return problem(500, "checkpoint_unreadable", str(error))


def _storage_error(error: OSError) -> Response:
    """A file cannot be read or written. The response names the file without its directory, which is private."""
    if storage_error_code(error) == "storage_full":
        _log.error("request failed: no disk space is left for files", extra=_request())
        return _storage_full("files")
    if isinstance(error, UnreachableError):
        _log.error("request failed: %s", error, extra=_request())
        detail = "the object storage did not answer, so that nothing is known of a file; try again"
        return problem(503, "storage_unavailable", detail, headers={"Retry-After": "5"})
    _log.error("request failed: storage error", exc_info=error, extra=_request())
    name = Path(error.filename).name if error.filename else "a file"
    return problem(500, "storage_error", f"{name}: {error.strerror or 'it cannot be read or written'}")


def _storage_full(what: str) -> Response:
    detail = f"no disk space is left for {what}; free some space and try again"
    return problem(503, "storage_full", detail, headers={"Retry-After": "60"})


def _database_error(error: sa.exc.OperationalError) -> Response:
    _log.error("the database did not answer: %s", error.orig, extra=_request())
    code = storage_error_code(error)
    if code == "storage_full":
        return _storage_full("the database")
    if code == "storage_error":
        return problem(500, "storage_error", "the database cannot be read or written")
    return _unavailable("the database did not answer; try again")


def _unavailable(detail: str) -> Response:
    return problem(503, "database_unavailable", detail, headers={"Retry-After": "1"})


def _no_connection(_error: sa.exc.TimeoutError) -> Response:
    _log.error("no connection to the database became free", extra=_request())
    return _unavailable("all connections to the database are in use; try again")


def _unknown_text(error: sa.exc.DataError) -> Response:
    """PostgreSQL stores no text with U+0000, so nothing has such a name. SQLite finds out by looking."""
    if "NUL" not in str(error.orig):
        return _internal_error(error)
    if "\0" in request.path:
        return problem(404, "not_found", f"there is nothing at {shortened(request.path)}")
    return problem(422, "validation_failed", "names and ids have no sign U+0000. Received: one that has it")


def _internal_error(error: Exception) -> Response:
    _log.error("request failed", exc_info=error, extra=_request())
    return problem(500, "internal_error", f"internal error; see the service's log for request {request_id()}")


PROBLEM_SCHEMA: dict[str, Any] = {
    "type": "object",
    "description": "An error (RFC 9457). `code` is a stable word. `errors` lists the problems of the body, each with "
    "its place: the first 20 of them. What was received is shortened to 100 characters.",
    "required": ["type", "title", "status", "detail", "code", "instance", "request_id", "errors"],
    "properties": {
        "type": {"type": "string", "format": "uri-reference"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "code": {"type": "string", "examples": ["validation_failed", "not_found", "name_taken", "no_version"]},
        "instance": {"type": "string"},
        "request_id": {"type": "string"},
        "errors_total": {
            "type": "integer",
            "minimum": 2,
            "description": "The number of all problems, if `errors` does not list them all.",
        },
        "errors": {
            "type": "array",
            "maxItems": LISTED,
            "items": {
                "type": "object",
                "required": ["pointer", "detail"],
                "properties": {
                    "pointer": {"type": "string", "description": "JSON pointer (RFC 6901) into the request body."},
                    "detail": {"type": "string"},
                    "row": {"type": "integer", "description": "Row of a file; the header is row 0."},
                    "line": {"type": "integer", "description": "Line of a file of text; a row may take several."},
                    "column": {"type": "string", "description": "Column of a file."},
                },
            },
        },
    },
}
