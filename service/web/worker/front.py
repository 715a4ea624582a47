"""What an application may give to the front door beside its WSGI callable."""

from __future__ import annotations

import io
from collections.abc import Collection, Hashable, Mapping, Sequence
from typing import IO, Any, NamedTuple

from service.web.worker.records import Record

__all__ = ["Batchable", "Front", "QuickAnswer"]


class QuickAnswer(NamedTuple):
    """A whole response: the text of its status, its fields, its body, and the text of further fields."""

    status: str
    headers: list[tuple[str, str]]
    body: bytes
    fields: str = ""


class Batchable(NamedTuple):
    """A request that is answered in a batch, with others that have the same ``key``.

    ``cost`` is roughly how much it takes of the time that the loop may compute at once, and ``memory`` are bytes.
    """

    key: Hashable
    cost: float
    memory: int
    request: Any


class Front:
    """What holds for an application that gives nothing. An application gives its own as its attribute ``front``."""

    #: Keys under which ``admit`` notes in ``environ`` what holds for each request of a client with the same head.
    lasting: tuple[str, ...] = ()
    #: Bodies of at most so many bytes are offered to ``at_once``.
    quick_bytes = 0

    def record(self, record: Record) -> None:
        """Keep how a request was answered. It runs on the loop."""

    def drain(self) -> int:
        """Do what is to be done with what was kept, and return how many there were.

        It runs in a thread, every tenth of a second or more often, and at the end.
        """
        return 0

    def is_quick(self, environ: dict[str, Any]) -> bool:
        """Whether a request may be one for ``at_once``. If the loop is late, those with a body are refused."""
        return False

    def admit(self, environ: dict[str, Any], peer: str | None, *, wait: bool = False) -> bool:
        """Whether a request with this head, from a client at this address, may be answered.

        Raises RequestError if not. Returns False if only ``wait`` can say it, which is not for the loop. ``peer`` is
        None for a Unix socket.
        """
        return True

    def kind(self, environ: dict[str, Any]) -> str:
        """The kind of a request, among a few dozen: requests of a kind take similar time."""
        return "all"

    def at_once(self, environ: dict[str, Any], body: bytes) -> QuickAnswer | Batchable | None:
        """The response to a request that takes well under a millisecond; None if the application must respond.

        Or what ``batch`` makes it of. It runs on the loop, so it waits for nothing: no lock that is held for long, no
        disk, no other process.
        """
        return None

    def batch(self, requests: Sequence[Any]) -> list[QuickAnswer | None]:
        """The responses to requests of ``Batchable`` with the same key; None for one that the application must answer.

        It runs on the loop or in a thread.
        """
        raise NotImplementedError

    def body_limit(self, environ: dict[str, Any]) -> int:
        """The maximum size of a request's body in bytes."""
        return 2**63

    def require_room(self, environ: dict[str, Any], size: int) -> None:
        """Raise RequestError if a request's body cannot have so many further bytes on the disk. Waits for nothing."""

    def temporary(self) -> IO[bytes]:
        """An empty file, for a body that is too large for memory."""
        return io.BytesIO()

    def newest(self, subjects: Collection[str]) -> Mapping[str, int]:
        """The number of the newest change of each subject that answers wait for (``service.web.worker.later``)."""
        return {}
