"""Connections to a service: one for each thread, kept open between requests."""

from __future__ import annotations

import http.client
import os
import select
import socket
import ssl
import threading

from trainyard.addresses import Address
from trainyard.bodies import BLOCK

__all__ = ["Connections"]


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a socket in the file system."""

    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout, blocksize=BLOCK)
        self._path = path

    def connect(self) -> None:
        """Connect to the socket; raises OSError where there are none, as on Windows."""
        family = getattr(socket, "AF_UNIX", None)
        if family is None:
            raise OSError("this system has no sockets in the file system")
        self.sock = socket.socket(family, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class Connections:
    """The connections of a client.

    Each thread has its own. A process that was forked makes new ones: two processes on one connection would read each
    other's answers.
    """

    def __init__(self, address: Address, timeout: float) -> None:
        self._address = address
        self._timeout = timeout
        self._own = threading.local()
        self._tls: ssl.SSLContext | None = None

    def new(self, timeout: float | None = None) -> http.client.HTTPConnection:
        """A connection that is not open yet and that no other caller has."""
        address, seconds = self._address, self._timeout if timeout is None else timeout
        if address.scheme == "unix":
            return _UnixConnection(address.host, seconds)
        if address.scheme == "https":
            if self._tls is None:
                self._tls = ssl.create_default_context()
            return http.client.HTTPSConnection(
                address.host, address.port, timeout=seconds, blocksize=BLOCK, context=self._tls
            )
        return http.client.HTTPConnection(address.host, address.port, timeout=seconds, blocksize=BLOCK)

    def take(self, timeout: float | None = None) -> http.client.HTTPConnection:
        """This thread's connection; it may have to be opened."""
        seconds = self._timeout if timeout is None else timeout
        kept: http.client.HTTPConnection | None = getattr(self._own, "connection", None)
        if kept is None or self._own.process != os.getpid():
            self._own.connection, self._own.process = self.new(seconds), os.getpid()
            return self._own.connection  # type: ignore[no-any-return]
        kept.timeout = seconds
        if kept.sock is not None:
            if _is_over(kept.sock):
                kept.close()
            else:
                kept.sock.settimeout(seconds)
        return kept

    def close(self) -> None:
        """Close this thread's connection."""
        kept: http.client.HTTPConnection | None = getattr(self._own, "connection", None)
        if kept is not None and self._own.process == os.getpid():
            kept.close()


def _is_over(sock: socket.socket) -> bool:
    """Whether the service has closed an idle connection: nothing but the end can be read from one."""
    if not hasattr(select, "poll"):  # Windows
        return bool(select.select([sock], [], [], 0.0)[0])
    readable = select.poll()  # takes any file descriptor; select() takes small ones
    readable.register(sock, select.POLLIN)
    return bool(readable.poll(0))
