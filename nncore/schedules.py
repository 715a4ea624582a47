"""Learning-rate schedules: factors by which an optimizer's rate is multiplied over the course of a run.

Time is counted in epochs of the run, with fractions: the same schedule fits every batch size. A schedule is a frozen
dataclass; one that learns from the run keeps what it learned in a state that the caller holds and saves.

To add a schedule: one class here, one line in ``SCHEDULES`` at the foot, one case in ``testing/cases.py``.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from nncore.hyperparameters import FieldError, check_hyperparameters, hyperparameter

__all__ = [
    "SCHEDULES",
    "Constant",
    "Cosine",
    "Exponential",
    "InverseTime",
    "OneCycle",
    "Piecewise",
    "Polynomial",
    "ReduceOnPlateau",
    "Schedule",
    "Step",
]

#: Epochs that a schedule may speak of, and those from one change to the next.
_LONGEST, _SHORTEST = 1e7, 1e-6


def _end_field(default: float) -> Any:
    return hyperparameter(default, minimum=0.0, maximum=1.0, help="Factor at the end.")


@dataclass(frozen=True, kw_only=True)
class Schedule(ABC):
    """A factor for the learning rate at each time of a run.

    The rate rises linearly from ``warmup_from`` to 1 times its own over the first ``warmup`` epochs; the schedule
    proper begins after these.
    """

    warmup: float = hyperparameter(
        0.0, minimum=0.0, maximum=_LONGEST, help="Epochs of linear rise before the schedule."
    )
    warmup_from: float = hyperparameter(0.01, minimum=0.0, maximum=1.0, help="Factor with which the rise begins.")

    def __post_init__(self) -> None:
        check_hyperparameters(self)

    def initial_state(self) -> dict[str, float]:
        """What the schedule has learned before the first epoch."""
        return {}

    def observe(self, state: Mapping[str, float], value: float) -> dict[str, float]:
        """The state after an epoch that ended with ``value``: the validation loss where there is one, else the loss."""
        return dict(state)

    def factor_at(self, time: float, length: float, state: Mapping[str, float]) -> float:
        """The factor at ``time`` epochs of a run that takes ``length``."""
        if time < self.warmup:
            return self.warmup_from + (1.0 - self.warmup_from) * time / self.warmup
        return self.proper_factor(time - self.warmup, max(length - self.warmup, 0.0), state)

    @abstractmethod
    def proper_factor(self, time: float, length: float, state: Mapping[str, float]) -> float:
        """The factor at ``time`` epochs after the warm-up, of ``length`` that are left for the schedule in all."""


@dataclass(frozen=True)
class Constant(Schedule):
    """``1``: the rate as it is."""

    def proper_factor(self, time: float, length: float, state: Mapping[str, float]) -> float:
        return 1.0


@dataclass(frozen=True)
class InverseTime(Schedule):
    """``1/(1 + decay·t)`` at epoch t (Robbins & Monro 1951)."""

    decay: float = hyperparameter(minimum=0.0, maximum=1e6, help="The rate is halved after 1/decay epochs.")

    def proper_factor(self, time: float, length: float, state: Mapping[str, float]) -> float:
        return 1.0 / (1.0 + self.decay * time)


@dataclass(frozen=True)
class Exponential(Schedule):
    """``γᵗ`` at epoch t."""

    gamma: float = hyperparameter(above=0.0, maximum=1.0, help="Factor γ by which the rate changes in an epoch.")

    def proper_factor(self, time: float, length: float, state: Mapping[str, float]) -> float:
        return math.pow(self.gamma, time)


@dataclass(frozen=True)
class Step(Schedule):
    """``γ^⌊t/every⌋`` at epoch t."""

    every: float = hyperparameter(minimum=_SHORTEST, maximum=_LONGEST, help="Epochs from one step to the next.")
    gamma: float = hyperparameter(0.1, above=0.0, maximum=1.0, help="Factor γ by which the rate changes in a step.")

    def proper_factor(self, time: float, length: float, state: Mapping[str, float]) -> float:
        return math.pow(self.gamma, time // self.every)


@dataclass(frozen=True)
class Piecewise(Schedule):
    """``factorsᵢ`` from ``boundariesᵢ`` on, and 1 before the first."""

    boundaries: tuple[float, ...] = hyperparameter(
        above=0.0, maximum=_LONGEST, help="Epochs, ascending, at which the factor changes."
    )
    factors: tuple[float, ...] = hyperparameter(
        minimum=0.0, maximum=1e6, help="The factor from each boundary on; as many as boundaries."
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not all(earlier < later for earlier, later in pairwise(self.boundaries)):
            raise FieldError(self, "boundaries", "must ascend", list(self.boundaries))
        if len(self.factors) != len(self.boundaries):
            wanted = f"must be as many as the boundaries, {len(self.boundaries)}"
            raise FieldError(self, "factors", wanted, list(self.factors))

    def proper_factor(self, time: float, length: float, state: Mapping[str, float]) -> float:
        passed = bisect_right(self.boundaries, time)
        return self.factors[passed - 1] if passed else 1.0


@dataclass(frozen=True)
class Polynomial(Schedule):
    """``end + (1 - end)(1 - t/T)^power`` at epoch t, then ``end``."""

    end: float = _end_field(0.0)
    power: float = hyperparameter(1.0, above=0.0, maximum=100.0, help="1 is a straight line.")
    duration: float | None = hyperparameter(
        None, above=0.0, maximum=_LONGEST, help="Epochs T that it takes; null: the whole run."
    )

    def proper_factor(self, time: float, length: float, state: Mapping[str, float]) -> float:
        passed = _passed(time, length if self.duration is None else self.duration)
        return self.end + (1.0 - self.end) * math.pow(1.0 - passed, self.power)


@dataclass(frozen=True)
class Cosine(Schedule):
    """``end + (1 - end)·½(1 + cos(π·t/T))``, anew every T epochs (SGDR, Loshchilov & Hutter 2017).

    T is ``period``, times ``period_factor`` after each restart; without a period it is the whole run.
    """

    end: float = _end_field(0.0)
    period: float | None = hyperparameter(
        None, minimum=_SHORTEST, maximum=_LONGEST, help="Epochs until the first restart; null: no restart."
    )
    period_factor: float = hyperparameter(
        1.0, minimum=1.0, maximum=1000.0, help="How much longer each period is than the last."
    )

    def proper_factor(self, time: float, length: float, state: Mapping[str, float]) -> float:
        passed = _passed(time, length) if self.period is None else self._passed_of_period(time, self.period)
        return _half_cosine(1.0, self.end, passed)

    def _passed_of_period(self, time: float, period: float) -> float:
        """The share of the present period that has passed: T₀(mⁿ - 1)/(m - 1) epochs lie before period n."""
        growth = self.period_factor - 1.0
        if not growth:
            return math.fmod(time, period) / period
        log_factor = math.log1p(growth)

        def start(number: int) -> float:
            return period * math.expm1(number * log_factor) / growth

        number = int(math.log1p(time / period * growth) / log_factor)
        # Rounding may put a time right at a restart on its other side.
        number += (time >= start(number + 1)) - (time < start(number))
        return _passed(time - start(number), start(number + 1) - start(number))


@dataclass(frozen=True)
class OneCycle(Schedule):
    """Half a cosine from ``start`` up to 1 over the share ``rise`` of the run, then one down to ``end``.

    Smith 2018, with cosines for its straight lines, as fastai and torch have it.
    """

    start: float = hyperparameter(0.04, minimum=0.0, maximum=1.0, help="Factor at the start.")
    rise: float = hyperparameter(0.3, above=0.0, below=1.0, help="Share of the run in which the rate rises.")
    end: float = _end_field(4e-6)

    def proper_factor(self, time: float, length: float, state: Mapping[str, float]) -> float:
        passed = _passed(time, length)
        if passed < self.rise:
            return _half_cosine(self.start, 1.0, passed / self.rise)
        return _half_cosine(1.0, self.end, (passed - self.rise) / (1.0 - self.rise))


@dataclass(frozen=True)
class ReduceOnPlateau(Schedule):
    """``factor`` times the last, once the loss has not fallen for more than ``patience`` epochs.

    The loss is that of validation where there is one, and has fallen where it is below the best by more than
    ``min_delta``. One that is not a number has not.
    """

    factor: float = hyperparameter(0.1, above=0.0, below=1.0, help="Factor by which the rate is reduced.")
    patience: int = hyperparameter(10, minimum=0, maximum=10_000_000, help="Epochs without a fall that are borne.")
    min_delta: float = hyperparameter(1e-4, minimum=0.0, maximum=1e12, help="Least fall of the loss that counts.")
    minimum: float = hyperparameter(0.0, minimum=0.0, maximum=1.0, help="Least factor in all.")

    def initial_state(self) -> dict[str, float]:
        return {"factor": 1.0, "best": 0.0, "seen": 0.0, "waited": 0.0}

    def observe(self, state: Mapping[str, float], value: float) -> dict[str, float]:
        """The state after an epoch; ``best`` is the least loss once one was ``seen``."""
        after = dict(state)
        if math.isfinite(value) and (not state["seen"] or value < state["best"] - self.min_delta):
            return {**after, "best": value, "seen": 1.0, "waited": 0.0}
        after["waited"] += 1.0
        if after["waited"] > self.patience:
            after["factor"] = max(state["factor"] * self.factor, self.minimum)
            after["waited"] = 0.0
        return after

    def proper_factor(self, time: float, length: float, state: Mapping[str, float]) -> float:
        return state.get("factor", 1.0)


def _passed(time: float, length: float) -> float:
    """The share of ``length`` that has passed at ``time``, at most 1."""
    return min(time / length, 1.0) if length > 0.0 else 1.0


def _half_cosine(first: float, last: float, passed: float) -> float:
    """From ``first`` to ``last`` along half a period of a cosine."""
    return last + (first - last) * 0.5 * (1.0 + math.cos(math.pi * passed))


SCHEDULES: dict[str, type[Schedule]] = {
    "constant": Constant,
    "inverse_time": InverseTime,
    "exponential": Exponential,
    "step": Step,
    "piecewise": Piecewise,
    "polynomial": Polynomial,
    "cosine": Cosine,
    "one_cycle": OneCycle,
    "reduce_on_plateau": ReduceOnPlateau,
}
