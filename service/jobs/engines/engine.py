"""The trainer's interface to the engines that run jobs."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Protocol

from service.jobs.outcome import Outcome

__all__ = ["Engine", "Order", "Placement"]


@dataclass(frozen=True)
class Order:
    """A job to run, and its owner's fencing number."""

    job: str
    fence: int

    def encode(self) -> str:
        """One line of JSON without a line end."""
        return json.dumps(asdict(self))

    @classmethod
    def decode(cls, line: str | bytes) -> Order:
        """The order in a line from ``encode``."""
        return cls(**json.loads(line))


class Placement(Protocol):
    """An order that a runner carries out."""

    def outcome(self) -> Outcome | None:
        """How the runner ended, or None if it is still running. Never waits, so it may be called often."""

    def ask_to_stop(self) -> None:
        """Ask the runner to save its state and stop; the outcome follows later."""

    def kill(self) -> None:
        """Kill the runner."""


class Engine(Protocol):
    """Runs orders, each in a separate runner that can be killed without affecting others."""

    def ready(self) -> bool:
        """Whether an order can be placed now; prepares for the next one. Never waits, so it may be called often."""

    def place(self, order: Order) -> Placement:
        """Give an order to a runner; call it only if ``ready`` returned True."""

    def wait(self, seconds: float, wakes: int | None = None) -> None:
        """Wait until a placement may have an outcome, for at most ``seconds``; less if ``wakes`` becomes readable.

        That is a descriptor.
        """

    def close(self) -> None:
        """Accept no more orders; present placements continue."""
