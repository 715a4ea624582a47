"""Responses whose heads arrive as a whole, or not at all."""

from __future__ import annotations

import http.client
import io
import socket

__all__ = ["WholeHead"]


class _Lines(io.BufferedReader):
    """Bytes of a connection; ``last`` is the line that was read last."""

    last = b""

    def readline(self, size: int | None = -1, /) -> bytes:
        self.last = super().readline(size)
        return self.last


class WholeHead(http.client.HTTPResponse):
    """A response whose head ends with an empty line.

    Python takes the end of a connection for the end of the head. If it breaks there, the length of the body may be
    among the fields that are lost, and an empty body would count as whole (RFC 9112, section 8).
    """

    def __init__(self, sock: socket.socket, debuglevel: int = 0, method: str | None = None, url: str | None = None):
        super().__init__(sock, debuglevel, method, url)
        self._lines = _Lines(self.fp.detach())  # nothing is read yet
        self.fp = self._lines

    def begin(self) -> None:
        """Read the head; raises HTTPException if it breaks off."""
        super().begin()
        if self._lines.last not in (b"\r\n", b"\n"):
            self.close()
            raise http.client.HTTPException("the connection broke in the head of the answer")
