"""Memory in hand: one budget of a web worker for the bodies, rows, datasets and answers of all its requests."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Self

from werkzeug.wsgi import ClosingIterator

from models.errors import BusyError, TooLargeError

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

__all__ = ["Held", "Memory", "MemoryServer", "held_by"]

#: Bytes that every request may hold without asking: many threads hold little of them, and small requests never wait.
SMALL = 256 * 1024
#: Seconds that a request waits for room. A client that is refused then asks again, and its thread is free meanwhile.
PATIENCE = 0.1
#: A request alone may hold this many times the budget. So the longest body that is accepted by default, 256 MiB, can be
#: read by a worker whose share is 400 MiB; and however many large requests come, they hold no more than this.
ALONE = 2

_KEY = "trainyard.held"


class Memory:
    """A budget of ``size`` bytes.

    Requests that hold more than ``SMALL`` bytes share it: first come, first served, and those that hold some already
    before those that hold none, as only these can make room. A request larger than the budget runs while no other holds
    any of it, up to ``limit`` bytes. At most ``waiting`` requests wait, because each occupies a thread.
    """

    def __init__(self, size: int, waiting: int = 8, patience: float = PATIENCE) -> None:
        self.size, self.limit = size, max(ALONE * size, SMALL)
        self._waiting, self._patience = waiting, patience
        self._changed = threading.Condition()
        self._used = 0
        self._queue: list[Held] = []

    @property
    def used(self) -> int:
        """Bytes that are held now."""
        return self._used

    def hold(self, count: int = 0) -> Held:
        """Hold ``count`` bytes until the end of a ``with`` block; ``Held.reserve`` says what it raises."""
        held = Held(self)
        held.reserve(count)
        return held

    def _take(self, held: Held, total: int) -> None:
        """Make what a request holds ``total`` bytes, which are more than before."""
        with self._changed:
            # Behind those that hold some if it does too, else behind all.
            place = sum(1 for other in self._queue if other.counted) if held.counted else len(self._queue)
            if place == 0 and self._fits(held, total):
                self._set(held, total)
                return
            if len(self._queue) >= self._waiting:
                raise self._busy()
            self._queue.insert(place, held)
            try:
                if not self._changed.wait_for(
                    lambda: self._queue[0] is held and self._fits(held, total), self._patience
                ):
                    raise self._busy()
                self._set(held, total)
            finally:
                self._queue.remove(held)
                self._changed.notify_all()

    def _fits(self, held: Held, total: int) -> bool:
        others = self._used - held.counted
        return others == 0 or others + total <= self.size

    def _set(self, held: Held, total: int) -> None:
        self._used += total - held.counted
        held.counted = total

    def _give(self, held: Held) -> None:
        with self._changed:
            self._set(held, 0)
            self._changed.notify_all()

    def _busy(self) -> BusyError:
        return BusyError("busy", "other requests hold the memory that this one needs; try again in a second")


class Held:
    """The bytes that one request holds; used by one thread at a time. A block, at whose end they are released.

    ``counted`` are those that count: none for a small request.
    """

    __slots__ = ("counted", "memory")

    def __init__(self, memory: Memory) -> None:
        self.memory, self.counted = memory, 0

    def reserve(self, total: int) -> None:
        """Hold ``total`` bytes, if it is more than before.

        Raises TooLargeError for more than the budget's limit, and BusyError if others leave no room for a moment.
        """
        if total <= SMALL or total <= self.counted:
            return
        memory = self.memory
        if total > memory.limit:
            raise TooLargeError(
                "too_large",
                f"the request takes about {total} bytes of memory, and {memory.limit} are allowed: send fewer rows, "
                f"send them as a file (CSV, Parquet or NDJSON), or set TRAINYARD_MEMORY_BYTES higher",
            )
        memory._take(self, total)

    def add(self, count: int) -> None:
        """Hold ``count`` bytes more; raises as ``reserve``."""
        self.reserve(self.counted + count)

    def release(self) -> None:
        """Hold nothing."""
        if self.counted:
            self.memory._give(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


class MemoryServer:
    """WSGI middleware: what a request holds is released when its answer is sent, or the client has left."""

    def __init__(self, application: WSGIApplication, memory: Memory) -> None:
        self._application, self._memory = application, memory

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        environ[_KEY] = self._memory
        try:
            answer = self._application(environ, start_response)
        except BaseException:
            held_by(environ).release()
            raise
        held = environ[_KEY]
        return answer if held is self._memory or not held.counted else ClosingIterator(answer, [held.release])


def held_by(environ: WSGIEnvironment) -> Held:
    """What the request of this WSGI environment holds. Most never ask, so that it is made if one does."""
    held: Held | Memory = environ[_KEY]
    if isinstance(held, Memory):
        held = environ[_KEY] = held.hold()
    return held
