"""A client's end of HTTP/1.1 over a connection that is kept, as RFC 9112 section 9 has it, and which never tries twice.

It says no more than an answer needs, so that many thousands of requests cost little, and hides nothing: a connection
that is lost in a request is an error.
"""

from __future__ import annotations

import select
import socket
from collections.abc import Mapping
from time import sleep
from typing import NamedTuple

__all__ = ["Answer", "Connection", "post"]

#: A request that is not answered after so many seconds has been let down.
PATIENCE = 30.0


class Answer(NamedTuple):
    """A response's status and body."""

    status: int
    body: bytes


def post(path: str, body: bytes, headers: Mapping[str, str]) -> bytes:
    """A request as it goes over the wire."""
    head = [f"POST {path} HTTP/1.1", "Host: trainyard", f"Content-Length: {len(body)}"]
    head += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*head, "", ""]).encode() + body


class Connection:
    """A connection that is made when it is needed, and again after the server has said ``Connection: close`` or has
    closed it while nothing was asked.

    ``lateness`` is how long, in seconds, it takes to close its own end after such an answer. ``made`` counts
    connections, ``found_closed`` those that the server had closed while they were idle.
    """

    def __init__(self, address: tuple[str, int], lateness: float = 0.0) -> None:
        self._address, self._lateness = address, lateness
        self._socket: socket.socket | None = None
        self.made = self.found_closed = 0

    def ask(self, request: bytes, pause: float = 0.0) -> Answer:
        """The answer to a request, sent in two pieces with ``pause`` seconds between; raises OSError without one."""
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
        """Close what is open; the next request makes a new connection."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _ready(self) -> socket.socket:
        # A client looks before it uses a connection again: what is readable now can only be its end.
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
            raise ConnectionError("the connection was closed in the middle of a request")
        return piece
