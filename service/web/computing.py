"""Turns of threads that compute."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["Computing"]

#: Seconds after which a thread computes although it is not its turn, as another one takes so long.
TURN_SECONDS = 0.5


class Computing:
    """Lets the threads of a process compute one after the other.

    Those that compute at the same time take the interpreter's lock from each other and from the worker's loop: together
    they do less than one alone, and delay every answer.
    """

    def __init__(self) -> None:
        self._turn = threading.Lock()

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Compute within this block."""
        has_turn = self._turn.acquire(timeout=TURN_SECONDS)
        try:
            yield
        finally:
            if has_turn:
                self._turn.release()
