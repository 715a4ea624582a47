"""Where lines of the log go: to standard error, at once or by a thread of their own."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable
from time import monotonic

__all__ = ["LINES_BYTES", "Output"]

#: Lines that are written together have at most so many bytes: then a pipe keeps them whole (pipe(7), PIPE_BUF).
LINES_BYTES = 4_096
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
        self._waiting: deque[bytes] = deque()
        self._bytes = 0  # of what waits and of what is being written
        self._unsaid = 0  # dropped lines that no line has reported
        self._thread: threading.Thread | None = None
        #: Lines that were dropped so far.
        self.dropped = 0

    @property
    def full(self) -> bool:
        """Whether further lines would be dropped."""
        return self._bytes >= WAITING_BYTES

    def write_in_background(self) -> None:
        """Write by a thread of this process from now on."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="log", daemon=True)
            self._thread.start()

    def write(self, text: bytes, lines: int = 1) -> None:
        """Write whole lines. Raises nothing: there is no better place to report a failure."""
        if self._thread is None:
            self._write(text)
            return
        with self._changed:
            if self.full:
                self._drop(lines)
                return
            if self._unsaid:
                text, self._unsaid = self._dropped_line(self._unsaid) + text, 0
            self._waiting.append(text)
            self._bytes += len(text)
            self._changed.notify_all()

    def drop(self, lines: int) -> None:
        """Count lines that were not made, since they would find no room."""
        with self._changed:
            self._drop(lines)

    def flush(self, seconds: float) -> None:
        """Wait until everything is written, for at most so many seconds."""
        until = monotonic() + seconds
        with self._changed:
            self._changed.wait_for(lambda: not self._bytes, max(0.0, until - monotonic()))

    def _drop(self, lines: int) -> None:
        self.dropped += lines
        self._unsaid += lines

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting)
                text = self._waiting.popleft()
            self._write(text)
            with self._changed:
                self._bytes -= len(text)
                if not self._bytes:
                    self._changed.notify_all()

    def _write(self, text: bytes) -> None:
        left = memoryview(text)
        try:
            while left:
                left = left[os.write(self._descriptor, left) :]
        except OSError:  # Nobody reads any more, or the disk is full.
            pass
