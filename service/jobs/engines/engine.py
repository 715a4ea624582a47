"""What the trainer sees of the place where jobs run."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Protocol

from service.jobs.outcome import Outcome

__all__ = ["Engine", "Order", "Placement"]


@dataclass(frozen=True)
class Order:
    """A job to be run, and the fencing number under which it is held."""

    job: str
    fence: int

    def encode(self) -> str:
        """One line of JSON without its end."""
        return json.dumps(asdict(self))

    @classmethod
    def decode(cls, line: str | bytes) -> Order:
        """The order that ``encode`` made a line of."""
        return cls(**json.loads(line))


class Placement(Protocol):
    """An order in the hands of a runner."""

    def outcome(self) -> Outcome | None:
        """How the runner ended; None as long as it has not. To be asked often: it never waits."""

    def ask_to_stop(self) -> None:
        """Have the runner save its state and stop, of which the outcome comes later."""

    def kill(self) -> None:
        """End the runner at once."""


class Engine(Protocol):
    """Runs orders, each in a runner that can be ended without harm to others."""

    def ready(self) -> bool:
        """Whether an order can be placed now; prepares for the next one. To be asked often: it never waits."""

    def place(self, order: Order) -> Placement:
        """Hand an order to a runner; only after ``ready`` said yes."""

    def wait(self, seconds: float) -> None:
        """Wait until a placement may have an outcome, but no longer than so many seconds."""

    def close(self) -> None:
        """Prepare for no more orders; placements go on."""
