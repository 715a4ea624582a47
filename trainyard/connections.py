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
from trainyard.heads import WholeHead

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


class _Kept:
    """A connection of one thread of one process, which is closed with its thread or client."""

    def __init__(self, connection: http.client.HTTPConnection) -> None:
        self.connection = connection
        self.process = os.getpid()

    def close(self) -> None:
        """Close the connection, unless another process has opened it."""
        if self.process == os.getpid():
            self.connection.close()

    def __del__(self) -> None:
        self.close()


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
        connection = self._new(timeout)
        connection.response_class = WholeHead
        return connection

    def _new(self, timeout: float | None) -> http.client.HTTPConnection:
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
        own: _Kept | None = getattr(self._own, "kept", None)
        if own is None or own.process != os.getpid():
            own = self._own.kept = _Kept(self.new(seconds))
        kept = own.connection
        kept.timeout = seconds
        if kept.sock is not None:
            if _is_over(kept.sock):
                kept.close()
            else:
                kept.sock.settimeout(seconds)
        return kept

    def close(self) -> None:
        """Close this thread's connection."""
        own: _Kept | None = getattr(self._own, "kept", None)
        if own is not None:
            own.close()


def _is_over(sock: socket.socket) -> bool:
    """Whether the service has closed an idle connection: nothing but the end can be read from one."""
    if not hasattr(select, "poll"):  # Windows
        return bool(select.select([sock], [], [], 0.0)[0])
    readable = select.poll()  # takes any file descriptor; select() takes small ones
    readable.register(sock, select.POLLIN)
    return bool(readable.poll(0))
