"""Where lines of the log go: to standard error, at once or by a thread of their own."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Callable, Sequence
from functools import cached_property

__all__ = ["Output"]

#: Bytes that are written at a time, which are whole lines. A pipe keeps no more of them together (pipe(7), PIPE_BUF).
PIECE_BYTES, PIPE_BYTES = 65_536, 4_096
#: Bytes that may wait for a reader of standard error that does not read.
WAITING_BYTES = 4 * 2**20


class Output:
    """Writes lines to a descriptor.

    Once ``write_in_background`` was called, a thread writes them, and nobody waits for the reader at the other end. If
    so much waits that further lines find no room, they are dropped; ``dropped_line`` makes the line that says how many
    were, which comes before the next one.
    """

    def __init__(self, descriptor: int, dropped_line: Callable[[int], bytes]) -> None:
        self._descriptor, self._dropped_line = descriptor, dropped_line
        self._changed = threading.Condition()
        self._waiting: list[bytes] = []
        self._bytes = 0  # of what waits and of what is being written
        self._unsaid = 0  # dropped lines that no line has reported
        self._thread: threading.Thread | None = None
        #: Lines that were dropped so far.
        self.dropped = 0

    @cached_property
    def piece_bytes(self) -> int:
        """Bytes of lines to put together, so that those of several processes do not mix."""
        return PIPE_BYTES if stat.S_ISFIFO(os.fstat(self._descriptor).st_mode) else PIECE_BYTES

    @property
    def full(self) -> bool:
        """Whether further lines would be dropped."""
        return self._bytes >= WAITING_BYTES

    def write_in_background(self) -> None:
        """Write by a thread of this process from now on."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="log", daemon=True)
            self._thread.start()

    def write(self, pieces: Sequence[bytes], lines: int = 1) -> None:
        """Write pieces of whole lines. Raises nothing: there is no better place to report a failure."""
        if self._thread is None:
            self._write(pieces)
            return
        with self._changed:
            if self.full:
                self.dropped += lines
                self._unsaid += lines
                return
            if self._unsaid:
                pieces, self._unsaid = [self._dropped_line(self._unsaid), *pieces], 0
            self._waiting += pieces
            self._bytes += sum(map(len, pieces))
            self._changed.notify_all()

    def flush(self, seconds: float) -> None:
        """Wait until everything is written, for at most so many seconds."""
        with self._changed:
            self._changed.wait_for(lambda: not self._bytes, seconds)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting)
                pieces, self._waiting = self._waiting, []
            self._write(pieces)
            with self._changed:
                self._bytes -= sum(map(len, pieces))
                self._changed.notify_all()

    def _write(self, pieces: Sequence[bytes]) -> None:
        try:
            for piece in pieces:
                left = memoryview(piece)
                while left:
                    left = left[os.write(self._descriptor, left) :]
        except OSError:  # Nobody reads any more, or the disk is full.
            pass
