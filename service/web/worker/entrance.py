"""The listening sockets of a worker: what it accepts, and what it leaves to other workers."""

from __future__ import annotations

import select
import socket
from collections.abc import Collection, Iterator, Sequence, Sized
from time import monotonic
from typing import Any

from service.web.worker.shares import Shares

__all__ = ["Entrance"]

#: Connections that are accepted in one round of the loop at most, at each socket.
_ACCEPTED = 256
#: Seconds for which a connection is left to a worker that has fewer. For each such time that new clients may have
#: waited, one is accepted all the same: the rounds of other workers may take long, and nobody waits until all are even.
_LEFT_SECONDS = 0.001


class Entrance:
    """Accepts connections as long as no other worker has fewer of them, so that persistent ones are spread evenly.

    ``worker`` is this one's number in ``shares``, and ``connections`` are those that it has.
    """

    def __init__(
        self, listeners: Sequence[Any], epoll: select.epoll, shares: Shares, worker: int, connections: Sized
    ) -> None:
        self._listeners = {listener.fileno(): listener for listener in listeners}
        self._epoll, self._shares, self._worker, self._connections = epoll, shares, worker, connections
        self._left: float | None = None  # since when connections are left to others
        self._paused = False
        self._first = 0
        for fd, listener in self._listeners.items():
            listener.setblocking(False)
            epoll.register(fd, select.EPOLLIN)
        self.count()

    def __contains__(self, fd: int) -> bool:
        return fd in self._listeners

    @property
    def patience(self) -> float | None:
        """Seconds after which to call ``accept`` even if nothing is ready; None if that is not necessary."""
        return None if self._left is None else _LEFT_SECONDS

    def count(self) -> None:
        """Let the other workers see how many connections there are; at least once a second."""
        if self._listeners:  # Else this worker ends, and counts no more.
            self._shares.put(self._worker, len(self._connections))

    def accept(self, ready: Collection[int], began: float) -> Iterator[tuple[socket.socket, Any]]:
        """New connections with their clients' addresses, in a round of the loop that ``began`` then.

        What was left to others for a moment, and is still there, is accepted after all. Raises OSError if the process
        has no room for another connection.
        """
        since = began if self._left is None else self._left
        spared = int((monotonic() - since) / _LEFT_SECONDS)
        if self._left is not None:
            spared = max(1, spared)
            self._left, ready = None, self._listeners.keys()
            self._listen(True)
        self._first += 1  # No socket comes first for ever.
        first = self._first % max(1, len(ready))
        for fd in [*ready][first:] + [*ready][:first]:
            for _ in range(_ACCEPTED):
                if spared:
                    spared -= 1
                elif self._others_have_fewer():
                    self._left = monotonic()
                    self._listen(False)
                    return
                try:
                    yield self._listeners[fd].accept()
                except BlockingIOError:
                    break
                except ConnectionAbortedError:
                    continue

    def pause(self) -> None:
        """Accept nothing until ``resume``."""
        self._paused, self._left = True, None
        self._listen(False)

    def resume(self) -> None:
        """Accept again, if that was paused."""
        if self._paused:
            self._paused = False
            self._listen(True)

    def close(self) -> None:
        """Accept nothing more. The sockets stay open, as others use them."""
        self._shares.remove(self._worker)
        self._left = None
        for fd in self._listeners:
            self._epoll.unregister(fd)
        self._listeners.clear()

    def _listen(self, wanted: bool) -> None:
        for fd in self._listeners:
            self._epoll.modify(fd, select.EPOLLIN if wanted else 0)

    def _others_have_fewer(self) -> bool:
        least = self._shares.least_of_others(self._worker)
        return least is not None and least < len(self._connections)
