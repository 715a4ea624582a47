"""An engine in memory: no processes, and each placement ends when a test says so."""

from __future__ import annotations

from service.jobs.engines.engine import Order
from service.jobs.outcome import Outcome

__all__ = ["MemoryEngine", "MemoryPlacement"]


class MemoryPlacement:
    """An order that no process carries out; ``ended`` is its outcome, which a test sets."""

    def __init__(self, order: Order) -> None:
        self.order = order
        self.ended: Outcome | None = None
        #: Its outcome if it is asked to stop or killed.
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
    """Records its orders; accepts up to ``capacity`` of them."""

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

    def wait(self, seconds: float, wakes: int | None = None) -> None:
        """Nothing happens in the meantime."""

    def close(self) -> None:
        self.closed = True
