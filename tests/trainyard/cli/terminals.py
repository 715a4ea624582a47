"""A terminal in which a program runs."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from testing.harness import eventually
from tests.trainyard.cli.conftest import PROGRAM, Shell, environment

__all__ = ["Terminal", "terminal"]


class Terminal:
    """What a program has written to its terminal so far; it is read until a text is there, or to the end."""

    def __init__(self, process: subprocess.Popen[bytes], place: int) -> None:
        self.process, self._place = process, place
        self.written = ""

    def until(self, pattern: str) -> None:
        """Read until a pattern is there."""
        while not re.search(pattern, self.written):
            assert self._read(), f"it has ended without {pattern!r}: {self.written!r}"

    def end(self) -> int:
        """Read all, and return the exit status."""
        while self._read():
            pass
        return self.process.wait(60)

    def _read(self) -> bool:
        try:
            block = os.read(self._place, 65536)
        except OSError:  # Linux tells the end so
            return False
        self.written += block.decode()
        return bool(block)

    @property
    def lines(self) -> list[str]:
        """What is seen at the end: a carriage return begins the line anew."""
        plain = re.sub(r"\x1b\[[0-9;]*[A-JL-Za-z]", "", self.written.replace("\r\n", "\n"))
        return [line.rpartition("\r")[2].replace("\x1b[K", "") for line in plain.split("\n") if line]


@contextmanager
def terminal(shell: Shell, words: Sequence[str], columns: int = 100, **variables: str) -> Iterator[Terminal]:
    """``trainyard …`` in a terminal of so many columns."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *words],
        cwd=shell.folder,
        env=environment(shell.url, **{"TERM": "xterm", **variables}),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    try:
        yield Terminal(process, ours)
    finally:
        if process.poll() is None:
            process.kill()
        eventually(lambda: process.poll() is not None)
        os.close(ours)
