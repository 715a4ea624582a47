"""What every answer must be: an error is a whole problem document with a known code, and its route lists its status."""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple

from service.web.error_codes import RESPONSES
from testing.samples import PROBLEM

__all__ = ["Operations", "Received", "fault_of", "is_documented", "received"]

#: Codes that any request may be answered with, whatever its route: no HTTP, another method, sizes, time.
GENERAL = {
    *("bad_request", "invalid_body", "method_not_allowed", "request_timeout", "too_large", "uri_too_long"),
    *("expectation_failed", "headers_too_large", "not_implemented"),
}
#: Statuses that are decided before a route is reached, by who asks and by how much there is to do.
BEFORE_ROUTES = {401, 403, 429, 503, 507}
#: Of statuses of the server, the only ones that may occur, with their codes: what is busy or full says so.
OF_SERVER = {(each.status, each.code) for each in RESPONSES if each.status in (503, 507)}
#: The statuses of these codes, by which errors of other protocols are known, that have no code.
_GENERAL_STATUSES = {400, 405, 408, 413, 414, 417, 431, 501}
_CODES = {(each.status, each.code) for each in RESPONSES}
#: Members that problem documents may have beside those that all of them have.
_FURTHER = {"errors_total", "database", "storage", "trainer"}


def fault_of(status: int, headers: dict[str, str], body: bytes) -> str | None:
    """What is wrong with an error's answer, whose headers have lower-case names; None if nothing is."""
    if status < 400:
        return None
    if headers.get("content-type") == "application/json":
        return _fault_of_foreign(status, headers, json.loads(body))
    if headers.get("content-type") != "application/problem+json":
        return f"{status} must be application/problem+json. Received: {headers.get('content-type')}, {body[:200]!r}"
    document = json.loads(body)
    if not PROBLEM <= document.keys() <= PROBLEM | _FURTHER:
        return f"a problem document must have {sorted(PROBLEM)}. Received: {sorted(document)}"
    if document["status"] != status or (status, document["code"]) not in _CODES:
        return f"{status} must have a code that docs/errors.md has for it. Received: {document}"
    if status >= 500 and (status, document["code"]) not in OF_SERVER | {(501, "not_implemented")}:
        return f"the service failed: {document}"
    if status in (429, 503) and not headers.get("retry-after", "").isdecimal():
        return f"{status} must have Retry-After. Received: {headers}"
    if document["request_id"] != headers.get("x-request-id"):
        return f"document and header must have one request id. Received: {document}, {headers}"
    return None


def _fault_of_foreign(status: int, headers: dict[str, str], document: Any) -> str | None:
    """What is wrong with an error in the shape of another protocol, or with a model's answer that it is not ready."""
    texts = [document[name] for name in ("error", "message") if name in document]
    if document.get("ready") is not False and not (len(texts) == 1 and texts[0] and isinstance(texts[0], str)):
        return f"{status} must say what is wrong. Received: {document}"
    if status >= 500 and (status not in (503, 507) or not headers.get("retry-after", "").isdecimal()):
        return f"the service failed: {status} {document}, {headers}"
    return None if "x-request-id" in headers else f"{status} must have a request id. Received: {headers}"


def is_documented(status: int, body: bytes, listed: set[str]) -> bool:
    """Whether a route lists a status, or any request may be answered with the error that the body is."""
    if str(status) in listed or status in BEFORE_ROUTES:
        return True
    code = json.loads(body).get("code") if status >= 400 else ""
    return code in GENERAL or (code is None and status in _GENERAL_STATUSES)


class Operations:
    """The operations of an OpenAPI document, found by the method and the path of a request."""

    def __init__(self, document: dict[str, Any]) -> None:
        self._paths = {
            re.compile(re.sub(r"\\{\w+\\}", "[^/]+", re.escape(path))): item for path, item in document["paths"].items()
        }

    def statuses(self, method: str, target: str) -> set[str] | None:
        """The statuses that an operation lists; None if there is no such operation."""
        path = target.partition("?")[0]
        item = next((item for pattern, item in self._paths.items() if pattern.fullmatch(path)), {})
        operation = item.get(method.lower())
        return None if operation is None else set(operation["responses"])


class Received(NamedTuple):
    """An answer as it came: status, headers by lower-case name, and body."""

    status: int
    headers: dict[str, str]
    body: bytes


def received(data: bytes) -> list[Received]:
    """The answers on a connection, in their order. Raises ValueError for anything else."""
    found = []
    while data:
        head, end, data = data.partition(b"\r\n\r\n")
        status = re.match(rb"HTTP/1\.1 ([1-5][0-9][0-9]) [ -~]*", head)
        if not end or status is None:
            raise ValueError(f"no answer: {head[:200]!r}")
        if status[1] == b"100":
            continue
        lines = (line.partition(":") for line in head.decode("latin-1").split("\r\n")[1:])
        headers = {name.lower(): value.strip() for name, _, value in lines}
        if headers.get("transfer-encoding") == "chunked":
            body, data = _chunks(data)
        else:
            length = int(headers.get("content-length", len(data)))
            body, data = data[:length], data[length:]
            if len(body) != length:
                raise ValueError(f"{len(body)} bytes of a body of {length}")
        found.append(Received(int(status[1]), headers, body))
    return found


def _chunks(data: bytes) -> tuple[bytes, bytes]:
    """A chunked body, and what follows it."""
    body = b""
    while True:
        size, _, data = data.partition(b"\r\n")
        length = int(size, 16)
        body += data[:length]
        if data[length : length + 2] != b"\r\n":
            raise ValueError(f"a chunk of {length} bytes must end with a line: {data[length : length + 2]!r}")
        data = data[length + 2 :]
        if not length:
            return body, data
