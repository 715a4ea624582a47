"""Sends requests to a service, again if that is safe, and turns what it refuses into errors."""

from __future__ import annotations

import http.client
import json
from dataclasses import replace
from typing import Any, Protocol

from trainyard.addresses import Address
from trainyard.connections import Connections
from trainyard.errors import Refused, Unreachable, refusal
from trainyard.requests import Request
from trainyard.responses import Response
from trainyard.retrying import Attempts, Patience

__all__ = ["HttpTransport", "Transport"]


class Transport(Protocol):
    """What a client sends its requests with."""

    def send(
        self, request: Request, *, stream: bool = False, timeout: float | None = None, retries: int | None = None
    ) -> Response:
        """The response to a request; raises Refused for a status from 400 on, and Unreachable without a response."""

    def close(self) -> None:
        """Close what is open."""


class _NotSentError(Exception):
    """No connection was made, so that the service knows nothing of the request."""


class _LostError(Exception):
    """The request may have arrived, and no whole response came back."""


class HttpTransport:
    """Requests over HTTP. ``key`` goes as a header; ``retries`` and ``timeout`` may differ from request to request."""

    def __init__(
        self, address: Address, key: str | None, timeout: float, retries: int, owner: str | None = None
    ) -> None:
        self.address = address
        self._timeout = timeout
        self._retries = retries
        self._connections = Connections(address, timeout)
        self._headers = {"User-Agent": "trainyard-python", "Accept": "application/json"}
        if key is not None:
            self._headers["Authorization"] = f"Bearer {key}"
        if owner is not None:
            self._headers["Trainyard-Owner"] = owner

    def send(
        self, request: Request, *, stream: bool = False, timeout: float | None = None, retries: int | None = None
    ) -> Response:
        """The response to a request; raises Refused for a status from 400 on, and Unreachable without a response.

        It is sent again if no connection could be made or the service was busy, and, if it is ``repeatable``, if the
        answer was lost or the service failed.
        """
        attempts = Attempts(self._retries if retries is None else retries, self._timeout)
        under_way = Patience(self._timeout)
        whole = replace(request, headers={**self._headers, **request.headers})
        repeatable, repeated = request.repeatable and request.body.replayable, False
        while True:
            try:
                return self._once(whole, timeout, stream=stream, repeated=repeated)
            except Refused as error:
                # The first one is still being processed, though its answer was lost.
                waits = repeated and error.code == "idempotency_key_in_use" and under_way.wait()
                if not waits and not (request.body.replayable and attempts.after(error, repeatable=repeatable)):
                    raise
            except _NotSentError as error:
                if not attempts.wait():
                    raise Unreachable(self.address.url, str(error)) from error.__cause__
            except _LostError as error:
                if not repeatable or not attempts.wait():
                    raise Unreachable(self.address.url, str(error)) from error.__cause__
                repeated = True

    def _once(self, request: Request, timeout: float | None, *, stream: bool, repeated: bool) -> Response:
        connection = self._connections.new(timeout) if stream else self._connections.take(timeout)
        try:
            answer = _exchange(connection, request, self.address)
            response = Response(
                self.address.url, request, answer, connection.close if stream else None, repeated=repeated
            )
            _read(response, stream=stream)
        except Unreachable as error:
            connection.close()
            raise _LostError(error.reason) from error
        except BaseException as error:
            if stream or not isinstance(error, Refused):
                connection.close()
            raise
        return response

    def close(self) -> None:
        """Close this thread's connection."""
        self._connections.close()


def _exchange(connection: http.client.HTTPConnection, request: Request, address: Address) -> http.client.HTTPResponse:
    """Send a request and read the head of its response."""
    with request.body.opened() as data:
        headers, length = dict(request.headers), request.body.length
        if isinstance(data, bytes):
            length = len(data)
        if length is not None and (data is not None or request.method not in ("GET", "HEAD", "DELETE")):
            headers["Content-Length"] = str(length)
        if connection.sock is None:
            try:
                connection.connect()
            except OSError as error:
                raise _NotSentError(_words(error)) from error
        try:
            _send(connection, request.method, address.prefix + request.target, data, headers)
            return connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            raise _LostError(_words(error)) from error


def _send(connection: http.client.HTTPConnection, method: str, target: str, data: Any, headers: dict[str, str]) -> None:
    try:
        connection.request(method, target, data, headers, encode_chunked="Content-Length" not in headers)
    except (BrokenPipeError, ConnectionResetError):
        # The service may have refused the body before it was sent whole; then its answer can be read.
        if data is None or connection.sock is None:
            raise


def _read(response: Response, *, stream: bool) -> None:
    """Read the body, so that the connection is free for the next request; raises Refused for a status from 300 on."""
    if response.status >= 300:
        refused = refusal(response.status, _document(response), response.headers)
        refused.repeated = response.repeated
        raise refused
    if not stream:
        _ = response.content


def _document(response: Response) -> Any:
    """The problem document of a response, or its text."""
    if not response.is_json:
        return response.text
    try:
        return response.json()
    except json.JSONDecodeError:
        return response.text


def _words(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return "the time was up"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return str(error) or type(error).__name__
