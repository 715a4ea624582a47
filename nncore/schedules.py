"""Learning rate schedules: factors that multiply an optimizer's learning rate over a run.

Time is measured in epochs, including fractions of an epoch, so that a schedule works with every batch size. A schedule
is a frozen dataclass. If it depends on the run's loss, the caller stores and saves its state.

To add a schedule, write one class here, one line in ``SCHEDULES`` at the end of this file and one case in
``testing/cases.py``.
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

#: Maximum and minimum of a duration in epochs.
_LONGEST, _SHORTEST = 1e7, 1e-6


def _end_field(default: float) -> Any:
    return hyperparameter(default, minimum=0.0, maximum=1.0, help="Factor at the end of the schedule.")


@dataclass(frozen=True, kw_only=True)
class Schedule(ABC):
    """Base class of all schedules: the factor of the learning rate at each time of a run.

    During the first ``warmup`` epochs the factor rises linearly from ``warmup_from`` to 1. The schedule starts after
    them.
    """

    warmup: float = hyperparameter(
        0.0, minimum=0.0, maximum=_LONGEST, help="Epochs of linear warmup before the schedule starts."
    )
    warmup_from: float = hyperparameter(0.01, minimum=0.0, maximum=1.0, help="Factor at the start of the warmup.")

    def __post_init__(self) -> None:
        check_hyperparameters(self)

    def initial_state(self) -> dict[str, float]:
        """Return the state before the first epoch."""
        return {}

    def observe(self, state: Mapping[str, float], value: float) -> dict[str, float]:
        """Return the state after an epoch; ``value`` is the validation loss, or the loss if there is no validation.

        If there is validation, only the epochs that are validated are observed.
        """
        return dict(state)

    def factor_at(self, time: float, length: float, state: Mapping[str, float]) -> float:
        """Return the factor at ``time`` epochs in a run of ``length`` epochs."""
        if time < self.warmup:
            return self.warmup_from + (1.0 - self.warmup_from) * time / self.warmup
        return self.proper_factor(time - self.warmup, max(length - self.warmup, 0.0), state)

    @abstractmethod
    def proper_factor(self, time: float, length: float, state: Mapping[str, float]) -> float:
        """Return the factor ``time`` epochs after the warmup; ``length`` is the run's length without the warmup."""


@dataclass(frozen=True)
class Constant(Schedule):
    """Constant factor 1."""

    def proper_factor(self, time: float, length: float, state: Mapping[str, float]) -> float:
        return 1.0


@dataclass(frozen=True)
class InverseTime(Schedule):
    """``1/(1 + decay·t)`` at epoch t (Robbins & Monro 1951)."""

    decay: float = hyperparameter(
        minimum=0.0, maximum=1e6, help="Decay per epoch; the learning rate is halved after 1/decay epochs."
    )

    def proper_factor(self, time: float, length: float, state: Mapping[str, float]) -> float:
        return 1.0 / (1.0 + self.decay * time)


@dataclass(frozen=True)
class Exponential(Schedule):
    """``γᵗ`` at epoch t."""

    gamma: float = hyperparameter(above=0.0, maximum=1.0, help="Factor γ of the learning rate per epoch.")

    def proper_factor(self, time: float, length: float, state: Mapping[str, float]) -> float:
        return math.pow(self.gamma, time)


@dataclass(frozen=True)
class Step(Schedule):
    """``γ^⌊t/every⌋`` at epoch t."""

    every: float = hyperparameter(minimum=_SHORTEST, maximum=_LONGEST, help="Epochs between two drops.")
    gamma: float = hyperparameter(0.1, above=0.0, maximum=1.0, help="Factor γ of the learning rate per drop.")

    def proper_factor(self, time: float, length: float, state: Mapping[str, float]) -> float:
        return math.pow(self.gamma, time // self.every)


@dataclass(frozen=True)
class Piecewise(Schedule):
    """``factorsᵢ`` from epoch ``boundariesᵢ`` on, and 1 before the first boundary."""

    boundaries: tuple[float, ...] = hyperparameter(
        above=0.0, maximum=_LONGEST, help="Epochs at which the factor changes, in ascending order."
    )
    factors: tuple[float, ...] = hyperparameter(
        minimum=0.0, maximum=1e6, help="Factors from each boundary on, one per boundary."
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not all(earlier < later for earlier, later in pairwise(self.boundaries)):
            raise FieldError(self, "boundaries", "must be in ascending order", list(self.boundaries))
        if len(self.factors) != len(self.boundaries):
            wanted = f"must have one value per boundary, {len(self.boundaries)}"
            raise FieldError(self, "factors", wanted, list(self.factors))

    def proper_factor(self, time: float, length: float, state: Mapping[str, float]) -> float:
        passed = bisect_right(self.boundaries, time)
        return self.factors[passed - 1] if passed else 1.0


@dataclass(frozen=True)
class Polynomial(Schedule):
    """``end + (1 - end)(1 - t/T)^power`` at epoch t, and ``end`` after T epochs."""

    end: float = _end_field(0.0)
    power: float = hyperparameter(1.0, above=0.0, maximum=100.0, help="Exponent of the decay; 1: linear.")
    duration: float | None = hyperparameter(
        None, above=0.0, maximum=_LONGEST, help="Length T of the decay in epochs; null: the whole run."
    )

    def proper_factor(self, time: float, length: float, state: Mapping[str, float]) -> float:
        passed = _passed(time, length if self.duration is None else self.duration)
        return self.end + (1.0 - self.end) * math.pow(1.0 - passed, self.power)


@dataclass(frozen=True)
class Cosine(Schedule):
    """``end + (1 - end)·½(1 + cos(π·t/T))``, restarted every T epochs (SGDR, Loshchilov & Hutter 2017).

    T is ``period`` and is multiplied by ``period_factor`` after each restart. Without a period, T is the whole run and
    there is no restart.
    """

    end: float = _end_field(0.0)
    period: float | None = hyperparameter(
        None, minimum=_SHORTEST, maximum=_LONGEST, help="Epochs until the first restart; null: no restarts."
    )
    period_factor: float = hyperparameter(
        1.0, minimum=1.0, maximum=1000.0, help="Ratio of each period's length to the previous one's."
    )

    def proper_factor(self, time: float, length: float, state: Mapping[str, float]) -> float:
        passed = _passed(time, length) if self.period is None else self._passed_of_period(time, self.period)
        return _half_cosine(1.0, self.end, passed)

    def _passed_of_period(self, time: float, period: float) -> float:
        """Return the fraction of the current period that has passed; period n starts at epoch T₀(mⁿ - 1)/(m - 1)."""
        growth = self.period_factor - 1.0
        if not growth:
            return math.fmod(time, period) / period
        log_factor = math.log1p(growth)

        def start(number: int) -> float:
            return period * math.expm1(number * log_factor) / growth

        number = int(math.log1p(time / period * growth) / log_factor)
        # At a restart, rounding can select the wrong one of two periods.
        number += (time >= start(number + 1)) - (time < start(number))
        return _passed(time - start(number), start(number + 1) - start(number))


@dataclass(frozen=True)
class OneCycle(Schedule):
    """A half cosine from ``start`` up to 1 over the fraction ``rise`` of the run, then one down to ``end``.

    Smith 2018, with cosines instead of straight lines, as in fastai and PyTorch.
    """

    start: float = hyperparameter(0.04, minimum=0.0, maximum=1.0, help="Factor at the start.")
    rise: float = hyperparameter(
        0.3, above=0.0, below=1.0, help="Fraction of the run during which the learning rate rises."
    )
    end: float = _end_field(4e-6)

    def proper_factor(self, time: float, length: float, state: Mapping[str, float]) -> float:
        passed = _passed(time, length)
        if passed < self.rise:
            return _half_cosine(self.start, 1.0, passed / self.rise)
        return _half_cosine(1.0, self.end, (passed - self.rise) / (1.0 - self.rise))


@dataclass(frozen=True)
class ReduceOnPlateau(Schedule):
    """Multiplies the learning rate by ``factor`` after more than ``patience`` epochs without improvement.

    An epoch improves if its loss is lower than the best one by more than ``min_delta``. The loss is the validation
    loss, or the training loss if there is no validation. A loss that is not finite never improves.
    """

    factor: float = hyperparameter(0.1, above=0.0, below=1.0, help="Factor of the learning rate per drop.")
    patience: int = hyperparameter(
        10, minimum=0, maximum=10_000_000, help="Epochs without improvement before the rate drops."
    )
    min_delta: float = hyperparameter(
        1e-4, minimum=0.0, maximum=1e12, help="Minimum decrease of the loss that counts as an improvement."
    )
    minimum: float = hyperparameter(0.0, minimum=0.0, maximum=1.0, help="Lower limit of the factor after all drops.")

    def initial_state(self) -> dict[str, float]:
        return {"factor": 1.0, "best": 0.0, "seen": 0.0, "waited": 0.0}

    def observe(self, state: Mapping[str, float], value: float) -> dict[str, float]:
        """Return the state after an epoch; ``best`` is the lowest loss and is valid once ``seen`` is 1."""
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
    """Return the fraction of ``length`` that has passed at ``time``, at most 1."""
    return min(time / length, 1.0) if length > 0.0 else 1.0


def _half_cosine(first: float, last: float, passed: float) -> float:
    """Interpolate from ``first`` to ``last`` along half a period of a cosine."""
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
