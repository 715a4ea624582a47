"""The client of a service."""

from __future__ import annotations

import os
from collections.abc import Mapping
from types import TracebackType
from typing import Any

from trainyard.addresses import DEFAULT_URL, Address
from trainyard.requests import request_for
from trainyard.responses import Response
from trainyard.transport import HttpTransport, Transport

__all__ = ["Trainyard"]


class Trainyard:
    """A service at ``url``: its models, datasets and jobs.

    The URL is that in ``TRAINYARD_URL``, or http://127.0.0.1:8000, if it is left out; it may be ``unix:PATH`` too. The
    ``key`` is that in ``TRAINYARD_KEY`` if it is left out. ``timeout`` is the number of seconds without an answer after
    which a request is given up, and ``retries`` how often it is sent again if that is safe. An admin may work for
    another ``owner``. A client may be used by several threads; it opens a connection when it first needs one.
    """

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

    def close(self) -> None:
        """Close this thread's connection; the next request opens a new one."""
        self.transport.close()

    def __enter__(self) -> Trainyard:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Trainyard({self.url!r})"
