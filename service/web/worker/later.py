"""Answers that wait for something: they hold a connection, and no thread."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from time import sleep

__all__ = ["LOOK_SECONDS", "Later"]

#: Seconds between two looks at what answers wait for.
LOOK_SECONDS = 0.05


class Later(ABC):
    """The body of a response whose pieces come when something has happened.

    ``look`` is called at first, when ``subject`` has changed beyond ``seen``, when ``wake_at`` has come, and when the
    server stops, in a thread of the pool. The head of the response is sent with the first piece. It is the iterable
    of a response that passes through directly.
    """

    #: What the answer waits for, such as a job, and the number of the last change of it that it has seen.
    subject: str
    seen: int = 0
    #: The time, on the monotonic clock, at which to look even without a change.
    wake_at: float = 0.0
    #: Whether there is no further piece.
    ended = False
    #: Whether the server stops, so that this look must be the last one.
    stopping = False

    @abstractmethod
    def look(self) -> bytes:
        """The pieces that there are by now, none if nothing has changed. Sets ``ended`` with the last one."""

    def __iter__(self) -> Iterator[bytes]:
        """All pieces, for other servers: it waits in the caller's thread."""
        while True:
            piece = self.look()
            if piece:
                yield piece
            if self.ended:
                return
            if not piece:
                sleep(LOOK_SECONDS)
