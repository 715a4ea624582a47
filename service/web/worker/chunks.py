"""The chunked transfer coding (RFC 9112, section 7.1)."""

from __future__ import annotations

import re

from service.web.worker.head import RequestError, Rules, read_fields

__all__ = ["ChunkReader"]

#: Maximum length of the line before a chunk, extensions included, and of a trailer.
_LINE_BYTES = 256
_TRAILER_BYTES = 8_192
_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_QUOTED = rb'"(?:[\t !#-\[\]-~\x80-\xff]|\\[\t -~\x80-\xff])*"'
#: The size, and extensions, which nothing uses (RFC 9112, section 7.1.1).
_SIZE = re.compile(
    rb"([0-9A-Fa-f]{1,15})"
    rb"(?:[ \t]*;[ \t]*" + _TOKEN + rb"(?:[ \t]*=[ \t]*(?:" + _TOKEN + rb"|" + _QUOTED + rb"))?)*"
)


class ChunkReader:
    """Takes the bytes of a chunked body as they arrive, and returns what the chunks hold."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._waiting = bytearray()
        #: Bytes of the present chunk that have not arrived; None before its first line.
        self._left: int | None = None
        self._last = False
        self.ended = False

    def feed(self, data: bytes) -> bytes:
        """What ``data`` holds of the body. Once that has ended, ``rest`` has what lies behind. Raises RequestError."""
        self._waiting += data
        pieces: list[bytes] = []
        while not self.ended and self._step(pieces):
            pass
        return b"".join(pieces)

    @property
    def rest(self) -> bytes:
        """What has arrived behind the end of the body."""
        return bytes(self._waiting)

    def _step(self, pieces: list[bytes]) -> bool:
        """Take a line, a piece of a chunk, its end, or the trailer; False if that has not arrived."""
        if self._last:
            return self._take_trailer()
        if self._left is None:
            return self._take_size()
        if self._left:
            piece = bytes(self._waiting[: self._left])
            del self._waiting[: len(piece)]
            self._left -= len(piece)
            pieces.append(piece)
            return bool(piece)
        if not b"\r\n".startswith(self._waiting[:2]):
            raise _unreadable("a chunk must end with \\r\\n")
        if len(self._waiting) < 2:
            return False
        del self._waiting[:2]
        self._left = None
        return True

    def _take_size(self) -> bool:
        end = self._waiting.find(b"\r\n", 0, _LINE_BYTES + 2)
        line = bytes(self._waiting[: _LINE_BYTES if end < 0 else end])
        if b"\n" in line or (end < 0 and len(self._waiting) >= _LINE_BYTES + 2):
            raise _unreadable(f"the line before a chunk must have at most {_LINE_BYTES} bytes and end with \\r\\n")
        if end < 0:
            return False
        found = _SIZE.fullmatch(line)
        if found is None:
            raise _unreadable(f"the size of a chunk must be hexadecimal. Received: {line[:50].decode('latin-1')!a}")
        del self._waiting[: end + 2]
        self._left = int(found[1], 16)
        self._last = self._left == 0
        return True

    def _take_trailer(self) -> bool:
        if self._waiting.startswith(b"\r\n"):
            del self._waiting[:2]
            self.ended = True
            return False
        end = self._waiting.find(b"\r\n\r\n", 0, _TRAILER_BYTES)
        trailer = bytes(self._waiting[: _TRAILER_BYTES if end < 0 else end])
        if trailer.count(b"\n") != trailer.count(b"\r\n"):
            raise _unreadable("a line of the trailer must end with \\r\\n")
        if end < 0:
            if len(self._waiting) >= _TRAILER_BYTES:
                raise RequestError(431, "headers_too_large", f"the trailer must have at most {_TRAILER_BYTES} bytes")
            return False
        read_fields(trailer, self._rules)
        del self._waiting[: end + 4]
        self.ended = True
        return False


def _unreadable(detail: str) -> RequestError:
    return RequestError(400, "invalid_body", f"the chunked body cannot be read: {detail}")
