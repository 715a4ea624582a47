"""Requests that are answered together: those that come while others with the same key are computed.

There is no timer. Whoever comes first is computed at once; whoever comes meanwhile is taken together next. If a worker
has several cores, as many batches of a key are computed side by side: a product with several threads of BLAS would wait
for the slowest of them, and spin meanwhile.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from functools import partial
from time import perf_counter
from typing import NamedTuple, Protocol

from service.web.worker.front import Batchable, Front, QuickAnswer

__all__ = ["Batches"]

_log = logging.getLogger("trainyard.web")

#: Cost up to which the loop computes a batch itself. Each request alone may cost 1, and a batch less than its requests.
LOOP_COST = 4.0
#: Bytes of a batch, which has at least one request.
BATCH_BYTES = 8 * 2**20
#: Seconds of computing behind which no further request is taken.
WAITING_SECONDS = 2.0


class _Connection(Protocol):
    """What waits for its answer (``Connection``)."""

    def batched(self, quick: QuickAnswer | None) -> None: ...


class _Away(Protocol):
    """How a thread is had to run a task (``FrontDoor.away``)."""

    def __call__(
        self, connection: None, kind: str, run: Callable[[], object], done: Callable[[object], None], *, must: bool
    ) -> None: ...


class _Computed(NamedTuple):
    """The answers of a batch, and the seconds that it took."""

    answers: Sequence[QuickAnswer | None]
    seconds: float


class _Queue:
    """The requests of one key that wait, in their order."""

    __slots__ = ("memory", "running", "seconds", "waiting")

    def __init__(self) -> None:
        self.waiting: deque[tuple[_Connection, Batchable]] = deque()
        self.memory = 0
        #: How many threads compute a batch, and the seconds that the last one took there.
        self.running, self.seconds = 0, 0.0

    def take(self) -> list[tuple[_Connection, Batchable]]:
        """The next batch."""
        taken = [self.waiting.popleft()]
        memory = taken[0][1].memory
        while self.waiting and memory + self.waiting[0][1].memory <= BATCH_BYTES:
            taken.append(self.waiting.popleft())
            memory += taken[-1][1].memory
        self.memory -= memory
        return taken


class Batches:
    """The batches of a worker, which has so many ``cores``.

    All methods run on the loop; ``away`` has a thread compute what takes long.
    """

    def __init__(self, front: Front, away: _Away, cores: int = 1) -> None:
        self._front, self._away, self._cores = front, away, cores
        self._queues: dict[Hashable, _Queue] = {}
        #: Keys of which another batch may be begun.
        self._ready: list[Hashable] = []

    def add(self, connection: _Connection, request: Batchable) -> bool:
        """Have a request answered in a batch: ``compute`` begins it. Returns False if it would wait for long."""
        queue = self._queues.get(request.key)
        if queue is None:
            queue = self._queues[request.key] = _Queue()
        elif queue.seconds * (1 + queue.memory // BATCH_BYTES / self._cores) > WAITING_SECONDS:
            return False
        queue.waiting.append((connection, request))
        queue.memory += request.memory
        if queue.running < self._cores and len(queue.waiting) == 1:
            self._ready.append(request.key)
        return True

    def compute(self) -> None:
        """Answer what waits and is quick; have threads compute everything else."""
        while self._ready:
            key = self._ready.pop()
            queue = self._queues.get(key)
            if queue is None:
                continue
            while queue.waiting and queue.running < self._cores:
                taken = queue.take()
                if not queue.running and sum(request.cost for _, request in taken) <= LOOP_COST:
                    self._deliver(taken, self._computed(taken).answers)
                else:
                    queue.running += 1
                    done = partial(self._done, key, taken)
                    self._away(None, "batch", partial(self._computed, taken), done, must=True)
            if not queue.running:
                del self._queues[key]

    def _computed(self, taken: Sequence[tuple[_Connection, Batchable]]) -> _Computed:
        """Compute a batch, on the loop or in a thread. If that fails, the application answers each request alone."""
        began = perf_counter()
        try:
            answers: Sequence[QuickAnswer | None] = self._front.batch([request.request for _, request in taken])
        except Exception:  # noqa: BLE001 - the application has handlers for everything
            _log.exception("a batch could not be computed")
            answers = [None] * len(taken)
        return _Computed(answers, perf_counter() - began)

    def _done(self, key: Hashable, taken: Sequence[tuple[_Connection, Batchable]], result: object) -> None:
        """A thread has computed a batch: answer its requests, and go on with those that have come meanwhile."""
        assert isinstance(result, _Computed)
        queue = self._queues[key]
        queue.running, queue.seconds = queue.running - 1, result.seconds
        self._ready.append(key)
        self._deliver(taken, result.answers)

    @staticmethod
    def _deliver(taken: Sequence[tuple[_Connection, Batchable]], answers: Sequence[QuickAnswer | None]) -> None:
        for (connection, _), answer in zip(taken, answers, strict=True):
            connection.batched(answer)
