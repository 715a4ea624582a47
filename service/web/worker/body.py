"""The body of a request while it arrives: in memory, then in a file."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import IO

__all__ = ["ReceivedBody"]


class ReceivedBody:
    """Bytes of a body in the order in which they arrive. ``another`` makes an empty file without a name.

    What ``add`` takes is in memory until ``write`` moves it into the file.
    """

    def __init__(self, another: Callable[[], IO[bytes]]) -> None:
        self._another = another
        self._memory = bytearray()  # One piece, since a client may send its body in many small ones.
        self._file: IO[bytes] | None = None
        #: Bytes in memory, and bytes in all.
        self.held = self.size = 0

    def add(self, piece: bytes) -> None:
        """Take the next bytes."""
        self._memory += piece
        self.held += len(piece)
        self.size += len(piece)

    def write(self) -> None:
        """Move what is in memory to the file. Raises OSError."""
        if self._file is None:
            self._file = self._another()
        self._file.write(self._memory)
        self._memory.clear()
        self.held = 0

    @property
    def in_file(self) -> bool:
        """Whether a part of the body is in a file."""
        return self._file is not None

    def whole(self) -> IO[bytes]:
        """The body as a file at its beginning. Raises OSError."""
        if self._file is None:
            content, self._memory = io.BytesIO(self._memory), bytearray()
            return content
        if self.held:
            self.write()
        self._file.seek(0)
        return self._file

    def close(self) -> None:
        """Delete what has arrived."""
        self._memory.clear()
        self.held = 0
        if self._file is not None:
            self._file.close()
