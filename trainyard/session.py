"""Sends requests to a service: the ground of its client."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

from trainyard.addresses import DEFAULT_URL, Address
from trainyard.bodies import FileBody
from trainyard.closing import Closing
from trainyard.errors import NotFound, Unreachable
from trainyard.requests import request_for
from trainyard.responses import Response
from trainyard.transport import HttpTransport, Transport

__all__ = ["Session"]

#: Seconds for which the service may read a file that it got.
READING = 600.0


class Session(Closing):
    """Requests to the service at ``url``, with a key and as another owner if these are given."""

    def __init__(
        self,
        url: str | None = None,
        key: str | None = None,
        timeout: float = 30.0,
        retries: int = 2,
        *,
        owner: str | None = None,
        transport: Transport | None = None,
    ) -> None:
        address = Address.parse(url or os.environ.get("TRAINYARD_URL") or DEFAULT_URL)
        secret = (key or os.environ.get("TRAINYARD_KEY") or "").strip()
        self.url = address.url
        self.timeout = timeout
        self.retries = retries
        self.owner = owner
        self.transport: Transport = transport or HttpTransport(address, secret or None, timeout, retries, owner)

    def __reduce__(self) -> tuple[Any, ...]:
        # A pickle is no place for a key: the one that reads it takes its own from the environment.
        return _again, (type(self), self.url, self.timeout, self.retries, self.owner)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self  # It holds nothing that changes but connections.

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        query: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        accept: str | None = None,
        stream: bool = False,
        timeout: float | None = None,
        retries: int | None = None,
    ) -> Response:
        """Send any request and return its response.

        ``body`` is a document, bytes, a ``Path`` to a file, or an open file. With ``stream`` the body of the response
        is read while it arrives. Raises Refused if the service answers with an error, and Unreachable if it does not.
        """
        request = request_for(method, path, body, query=query, headers=headers, accept=accept)
        return self.transport.send(request, stream=stream, timeout=timeout, retries=retries)

    def save(
        self,
        path: str,
        target: str | os.PathLike[str],
        *,
        method: str = "GET",
        body: Any = None,
        query: Mapping[str, Any] | None = None,
        accept: str | None = None,
        timeout: float | None = None,
        check: Callable[[Path], None] | None = None,
    ) -> Path:
        """Write what is at ``path`` to the file ``target``, which is there as a whole or not at all.

        If the connection breaks, all of it is asked for again. ``check`` looks at what arrived and raises an error if
        it is not good.
        """
        for left in reversed(range(self.retries + 1)):
            answer = self.request(method, path, body, query=query, accept=accept, stream=True, timeout=timeout)
            with answer as response:
                try:
                    return response.save(target, check)
                except Unreachable:
                    if not left:
                        raise
        raise AssertionError("one of the tries returns or raises")

    def delete(self, path: str, **query: Any) -> None:
        """Delete what is at ``path``; that it is gone already is no error if the first answer was lost."""
        request = request_for("DELETE", path, query=query)
        try:
            self.transport.send(request)
        except NotFound as error:
            if not error.repeated:
                raise

    def upload_file(self, path: str, file: Path, content_type: str, query: Mapping[str, Any] | None = None) -> Any:
        """The document that answers a POST of a file."""
        return self.request("POST", path, FileBody(file, content_type), query=query, timeout=READING).json()

    def close(self) -> None:
        """Close this thread's connection; the next request opens a new one."""
        self.transport.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.url!r})"


def _again(kind: type[Session], url: str, timeout: float, retries: int, owner: str | None) -> Session:
    """A session that was in a pickle."""
    return kind(url, None, timeout, retries, owner=owner)
