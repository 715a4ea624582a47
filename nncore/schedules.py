"""Learning-rate schedules: factors by which an optimizer's rate is multiplied over the course of a run.

Time is counted in epochs of the run, with fractions: the same schedule fits every batch size. A schedule is a frozen
dataclass; one that learns from the run keeps what it learned in a state that the caller holds and saves.

To add a schedule: one class here, one line in ``SCHEDULES`` at the foot, one case in ``tests/nncore/cases.py``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

from nncore.hyperparameters import check_hyperparameters, hyperparameter

__all__ = ["SCHEDULES", "Constant", "Schedule"]


@dataclass(frozen=True)
class Schedule(ABC):
    """A factor for the learning rate at each time of a run.

    The rate rises linearly from ``warmup_from`` to 1 times its own over the first ``warmup`` epochs; the schedule
    proper begins after these.
    """

    warmup: float = hyperparameter(0.0, minimum=0.0, maximum=1e7, help="Epochs of linear rise before the schedule.")
    warmup_from: float = hyperparameter(0.01, minimum=0.0, maximum=1.0, help="Factor with which the rise begins.")

    def __post_init__(self) -> None:
        check_hyperparameters(self)

    def initial_state(self) -> dict[str, float]:
        """What the schedule has learned before the first epoch."""
        return {}

    def observe(self, state: Mapping[str, float], value: float) -> dict[str, float]:
        """The state after an epoch that ended with ``value``: the validation loss where there is one, else the loss."""
        return dict(state)

    def factor(self, time: float, length: float, state: Mapping[str, float]) -> float:
        """The factor at ``time`` epochs of a run that takes ``length``."""
        if time < self.warmup:
            return self.warmup_from + (1.0 - self.warmup_from) * time / self.warmup
        return self.proper_factor(time - self.warmup, max(length - self.warmup, 0.0), state)

    @abstractmethod
    def proper_factor(self, time: float, length: float, state: Mapping[str, float]) -> float:
        """The factor at ``time`` epochs after the warm-up, of ``length`` that are left for the schedule in all."""


@dataclass(frozen=True)
class Constant(Schedule):
    """The rate as it is."""

    def proper_factor(self, time: float, length: float, state: Mapping[str, float]) -> float:
        return 1.0


SCHEDULES: dict[str, type[Schedule]] = {
    "constant": Constant,
}
