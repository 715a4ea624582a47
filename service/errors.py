"""Errors as ``application/problem+json`` (RFC 9457), on every path and for every status."""

from __future__ import annotations

import http
import io
import itertools
import logging
import re
import secrets
from typing import Any, cast

import orjson
import sqlalchemy as sa
from flask import Flask, Response, current_app, request
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge

from models.errors import ConflictError, InvalidError, MissingError, TrainyardError
from service.wire import MalformedError, UnsupportedError

__all__ = ["PROBLEM_SCHEMA", "BusyError", "install", "request_id", "request_id_of"]

_log = logging.getLogger("trainyard.web")

_PROCESS, _COUNTER = secrets.token_hex(8), itertools.count(1)
_PRINTABLE = re.compile(r"[\x20-\x7e]{1,128}\Z")


class BusyError(TrainyardError):
    """Too much at once; the client should come back."""


_STATUS: dict[type[TrainyardError], int] = {
    MalformedError: 400,
    MissingError: 404,
    ConflictError: 409,
    UnsupportedError: 415,
    InvalidError: 422,
    BusyError: 503,
}

#: Stable codes of errors that Flask raises; others get their phrase in snake case.
_CODES = {404: "not_found", 405: "method_not_allowed", 413: "too_large", 415: "unsupported_media_type"}


def request_id() -> str:
    """The id of the present request."""
    return request_id_of(request.environ)


def request_id_of(environ: dict[str, Any]) -> str:
    """The id of a WSGI request: the client's own where it is fit to be sent back, else a new one."""
    known: str | None = environ.get("trainyard.request_id")
    if known is None:
        given = environ.get("HTTP_X_REQUEST_ID", "")
        # Not secret, only unlike any other: a call of the system for fresh randomness would cost a switch of threads.
        known = given if _PRINTABLE.match(given) else f"{_PROCESS}-{next(_COUNTER):x}"
        environ["trainyard.request_id"] = known
    return known


def install(app: Flask) -> None:
    """Register the handlers for every kind of error, and the header that every response has."""
    app.register_error_handler(TrainyardError, _refusal)
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(sa.exc.OperationalError, _database_error)
    app.register_error_handler(Exception, _fault)
    app.before_request(_bound_chunked_body)
    app.after_request(_add_request_id)


def _bound_chunked_body() -> None:
    """Read a body that came without its length, and refuse it beyond the limit; others are refused by their length.

    Werkzeug would stop reading at the limit and take the beginning for the whole.
    """
    environ = request.environ
    if "CONTENT_LENGTH" in environ or not environ.get("wsgi.input_terminated") or request.method in ("GET", "HEAD"):
        return
    limit = current_app.config["MAX_CONTENT_LENGTH"]
    body = environ["wsgi.input"].read(limit + 1)
    if len(body) > limit:
        raise RequestEntityTooLarge
    environ["wsgi.input"], environ["CONTENT_LENGTH"] = io.BytesIO(body), str(len(body))


def _add_request_id(response: Response) -> Response:
    response.headers["X-Request-Id"] = request_id()
    return response


def problem(
    status: int, code: str, detail: str, errors: list[dict[str, Any]] | None = None, headers: Any = None
) -> Response:
    """A response that tells what is wrong."""
    document = {
        "type": "about:blank",
        "title": http.HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "code": code,
        "instance": request.path,
        "request_id": request_id(),
        "errors": errors or [],
    }
    return Response(orjson.dumps(document), status, headers, content_type="application/problem+json")


def _refusal(error: TrainyardError) -> Response:
    status = next(status for kind, status in _STATUS.items() if isinstance(error, kind))
    errors = []
    for fault in error.problems:
        entry: dict[str, Any] = {"pointer": fault.pointer, "detail": fault.detail}
        entry |= {} if fault.row is None else {"row": fault.row}
        entry |= {} if fault.column is None else {"column": fault.column}
        errors.append(entry)
    headers = {"Retry-After": "1"} if status == 503 else None
    return problem(status, error.code, error.detail, errors, headers)


def _http_error(error: HTTPException) -> Response:
    status = error.code or 500
    if status < 400:  # A redirect is an answer.
        return cast("Response", error.get_response())
    phrase = http.HTTPStatus(status).phrase
    detail = error.description or phrase
    if status == 404:
        detail = f"there is nothing at {request.path}"
    if status == 413:
        detail = f"the body must have at most {current_app.config['MAX_CONTENT_LENGTH']} bytes"
    headers = [(name, value) for name, value in error.get_headers() if name.lower() in ("allow", "retry-after")]
    return problem(status, _CODES.get(status, phrase.lower().replace(" ", "_")), detail, headers=headers)


def _database_error(error: sa.exc.OperationalError) -> Response:
    _log.error("the database did not answer: %s", error.orig)
    return problem(503, "database_unavailable", "the database did not answer", headers={"Retry-After": "1"})


def _fault(error: Exception) -> Response:
    _log.error("request %s failed", request_id(), exc_info=error)
    return problem(500, "internal_error", f"an error of the service; its log names request {request_id()}")


PROBLEM_SCHEMA: dict[str, Any] = {
    "type": "object",
    "description": "What is wrong (RFC 9457). `code` is a stable word; each fault in `errors` has its place.",
    "required": ["type", "title", "status", "detail", "code", "instance", "request_id", "errors"],
    "properties": {
        "type": {"type": "string", "format": "uri-reference"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "code": {"type": "string", "examples": ["validation_failed", "not_found", "name_taken", "no_version"]},
        "instance": {"type": "string"},
        "request_id": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["pointer", "detail"],
                "properties": {
                    "pointer": {"type": "string", "description": "JSON pointer (RFC 6901) into the request's body."},
                    "detail": {"type": "string"},
                    "row": {"type": "integer", "description": "Row of a CSV file; the header is row 0."},
                    "column": {"type": "string", "description": "Column of a CSV file."},
                },
            },
        },
    },
}
