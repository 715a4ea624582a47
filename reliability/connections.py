"""An HTTP/1.1 client with a persistent connection (RFC 9112 section 9) that never repeats a request.

It is minimal, so that many thousands of requests cost little. A connection that is lost during a request is an error.
"""

from __future__ import annotations

import select
import socket
from collections.abc import Mapping
from time import sleep
from typing import NamedTuple

__all__ = ["Answer", "Connection", "post"]

#: Timeout of a request in seconds.
PATIENCE = 30.0


class Answer(NamedTuple):
    """A response's status and body."""

    status: int
    body: bytes


def post(path: str, body: bytes, headers: Mapping[str, str]) -> bytes:
    """Return the bytes of a POST request."""
    head = [f"POST {path} HTTP/1.1", "Host: localhost", f"Content-Length: {len(body)}"]
    head += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*head, "", ""]).encode() + body


class Connection:
    """A connection that is opened on demand, also after the server has closed it.

    The server may close it with ``Connection: close`` or while it is idle. ``lateness`` is the delay in seconds before
    this end is closed after a response with ``Connection: close``. ``made`` counts connections, ``found_closed`` those
    that the server closed while they were idle.
    """

    def __init__(self, address: tuple[str, int], lateness: float = 0.0) -> None:
        self._address, self._lateness = address, lateness
        self._socket: socket.socket | None = None
        self.made = self.found_closed = 0

    def ask(self, request: bytes, pause: float = 0.0) -> Answer:
        """Send a request and return the response. Raises OSError if there is none.

        If ``pause`` is set, the request is sent in two pieces with this number of seconds in between.
        """
        connection = self._ready()
        if pause:
            half = len(request) // 2
            connection.sendall(request[:half])
            sleep(pause)
            connection.sendall(request[half:])
        else:
            connection.sendall(request)
        return self._answer(connection)

    def close(self) -> None:
        """Close the connection if it is open; the next request opens a new one."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _ready(self) -> socket.socket:
        # Before a connection is used again: if it is readable now, the server has closed it.
        if self._socket is not None and select.select([self._socket], [], [], 0)[0]:
            self.found_closed += 1
            self.close()
        if self._socket is None:
            self._socket = socket.create_connection(self._address, PATIENCE)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.made += 1
        return self._socket

    def _answer(self, connection: socket.socket) -> Answer:
        received = b""
        while b"\r\n\r\n" not in received:
            received += self._piece(connection)
        head, _, body = received.partition(b"\r\n\r\n")
        status, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        pieces, missing = [body], int(headers["content-length"]) - len(body)
        while missing > 0:
            pieces.append(self._piece(connection))
            missing -= len(pieces[-1])
        if headers.get("connection", "").lower() == "close":
            sleep(self._lateness)
            self.close()
        return Answer(int(status.split(" ")[1]), b"".join(pieces))

    @staticmethod
    def _piece(connection: socket.socket) -> bytes:
        piece = connection.recv(1 << 18)
        if not piece:
            raise ConnectionError("the connection was closed during a request")
        return piece
