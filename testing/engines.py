"""An engine in memory: no processes, and each placement ends when a test says so."""

from __future__ import annotations

from service.jobs.engines.engine import Order
from service.jobs.outcome import Outcome

__all__ = ["MemoryEngine", "MemoryPlacement"]


class MemoryPlacement:
    """An order in nobody's hands; ``ended`` is its outcome once a test has set it."""

    def __init__(self, order: Order) -> None:
        self.order = order
        self.ended: Outcome | None = None
        #: What ends it, if it is asked to stop or killed.
        self.when_asked: Outcome | None = None
        self.when_killed: Outcome | None = None
        self.asked = self.killed = False

    def outcome(self) -> Outcome | None:
        return self.ended

    def ask_to_stop(self) -> None:
        self.asked, self.ended = True, self.when_asked

    def kill(self) -> None:
        self.killed, self.ended = True, self.when_killed


class MemoryEngine:
    """Notes its orders; ``capacity`` is the number of those that it takes."""

    def __init__(self, capacity: int = 1_000) -> None:
        self.capacity, self.closed = capacity, False
        self.placements: list[MemoryPlacement] = []

    def ready(self) -> bool:
        return len(self.placements) < self.capacity

    def place(self, order: Order) -> MemoryPlacement:
        assert self.ready()
        assert not self.closed
        self.placements.append(MemoryPlacement(order))
        return self.placements[-1]

    def wait(self, seconds: float) -> None:
        """Nothing happens in the meantime."""

    def close(self) -> None:
        self.closed = True
