"""A request body with ``Content-Encoding: gzip`` or ``deflate`` as a stream of what it holds (RFC 1952, RFC 1950)."""

from __future__ import annotations

import zlib
from typing import IO

from werkzeug.exceptions import RequestEntityTooLarge

from models.errors import MalformedError

__all__ = ["CODINGS", "CompressedBody"]

#: Compressed bytes that are read at a time.
_CHUNK = 65_536
#: The header and the checksum that zlib expects of each coding. ``deflate`` is the zlib format (RFC 9110, 8.4.1.2).
CODINGS = {"gzip": 31, "x-gzip": 31, "deflate": 15}


class CompressedBody:
    """Decompresses as it is read, so that a small body which holds much takes no memory for it.

    ``length`` is the number of compressed bytes, and ``coding`` one of ``CODINGS``. The reader limits what is
    decompressed; of ``source`` at most ``limit`` bytes are read.
    """

    def __init__(self, source: IO[bytes], length: int, limit: int, coding: str = "gzip") -> None:
        self._source, self._length, self.limit, self._format = source, length, limit, CODINGS[coding]
        self._name = "deflate" if coding == "deflate" else "gzip"
        self._received = 0
        self._waiting = b""
        self._member = zlib.decompressobj(self._format)

    def read(self, size: int) -> bytes:
        """The next ``size`` bytes, fewer at the end.

        Raises MalformedError if the body is no data of its coding or ends early, and RequestEntityTooLarge.
        """
        pieces = []
        while size > 0 and (piece := self._next(size)):
            pieces.append(piece)
            size -= len(piece)
        return b"".join(pieces)

    def _next(self, size: int) -> bytes:
        """Some of the next bytes, at most ``size``; none at the end."""
        while True:
            if self._member.eof:
                self._waiting = self._waiting or self._receive()
                if not self._waiting:
                    return b""
                if self._name == "deflate":
                    raise MalformedError("invalid_body", "the body has more bytes after its deflate data")
                self._member = zlib.decompressobj(self._format)  # Gzip data may consist of several members.
            try:
                piece = self._member.decompress(self._waiting, size)
            except zlib.error as error:
                raise MalformedError("invalid_body", f"the body is not valid {self._name} data: {error}") from None
            self._waiting = self._member.unused_data if self._member.eof else self._member.unconsumed_tail
            if piece:
                return piece
            if not self._member.eof and not self._waiting:
                self._waiting = self._receive()
                if not self._received:
                    return b""
                if not self._waiting:
                    raise MalformedError("invalid_body", f"the {self._name} data of the body end too early")

    def _receive(self) -> bytes:
        chunk = self._source.read(min(_CHUNK, self._length - self._received))
        self._received += len(chunk)
        if self._received > self.limit:
            raise RequestEntityTooLarge
        return chunk
