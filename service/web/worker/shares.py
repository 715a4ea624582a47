"""How many connections each worker has, so that new ones go to those that have the fewest."""

from __future__ import annotations

import mmap
import struct
from time import monotonic

__all__ = ["Shares"]

_ENTRY = struct.Struct("=qd")
#: Seconds after which the entry of a worker that writes no more is one of a worker that has ended.
_SECONDS = 2.0


class Shares:
    """A number for each of up to ``workers`` processes; made before they are forked, since they share its memory."""

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._memory = mmap.mmap(-1, workers * _ENTRY.size)

    def put(self, worker: int, connections: int) -> None:
        """Write the number of a worker's connections; at least once a second, or it counts as ended."""
        _ENTRY.pack_into(self._memory, worker % self._workers * _ENTRY.size, connections, monotonic())

    def remove(self, worker: int) -> None:
        """The worker accepts no more."""
        _ENTRY.pack_into(self._memory, worker % self._workers * _ENTRY.size, 0, 0.0)

    def least_of_others(self, worker: int) -> int | None:
        """The least number that another worker has; None if there is no other."""
        oldest = monotonic() - _SECONDS
        entries = _ENTRY.iter_unpack(self._memory[:])
        found = [count for place, (count, at) in enumerate(entries) if at > oldest and place != worker % self._workers]
        return min(found, default=None)
