"""What every optimizer is: a frozen dataclass of hyperparameters that changes parameters by their gradients.

Moments are arrays that the caller keeps. The hyperparameters that several optimizers have are declared here, once.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from nncore.arrays import Array
from nncore.hyperparameters import check_hyperparameters, hyperparameter
from nncore.schedules import Constant, Schedule

__all__ = [
    "EpsilonMode",
    "Moments",
    "Optimizer",
    "epsilon_field",
    "epsilon_mode_field",
    "learning_rate_field",
    "root",
    "share_field",
    "weight_decay_field",
]

EpsilonMode = Literal["inside_sqrt", "outside_sqrt"]
Moments = Mapping[str, Array]


def learning_rate_field(default: float) -> Any:
    """The field ``learning_rate`` with its default."""
    return hyperparameter(default, above=0.0, maximum=1e6, help="Step size η.")


def share_field(default: float, help: str) -> Any:
    """A field for the share of something old in something new."""
    return hyperparameter(default, minimum=0.0, below=1.0, help=help)


def epsilon_field(default: float) -> Any:
    """The field ``epsilon`` with its default."""
    return hyperparameter(default, above=0.0, maximum=1.0, help="Keeps the divisor from zero.")


def epsilon_mode_field() -> Any:
    """The field ``epsilon_mode``."""
    return hyperparameter("inside_sqrt", help="Where epsilon stands: √(s + ε), or √s + ε as in most other frameworks.")


def weight_decay_field(default: float) -> Any:
    """The field ``weight_decay`` with its default."""
    return hyperparameter(
        default, minimum=0.0, maximum=1e6, help="Share λ of each parameter that is taken away, times the rate."
    )


def root(cache: Array, scale: float, epsilon: float, mode: EpsilonMode, out: Array) -> None:
    """``√k`` times ``√(s/k + ε)`` or ``√(s/k) + ε``, for a cache s that is k times too large."""
    if mode == "inside_sqrt":
        np.add(cache, epsilon * scale, out=out)
        np.sqrt(out, out=out)
    else:
        np.sqrt(cache, out=out)
        np.add(out, epsilon * math.sqrt(scale), out=out)


@dataclass(frozen=True)
class Optimizer(ABC):
    """A rule that changes parameters by their gradients."""

    learning_rate: float = learning_rate_field(0.001)
    decay: float = hyperparameter(0.0, minimum=0.0, maximum=1e6, help="The rate is η/(1 + decay·t) at update t.")
    schedule: Schedule = hyperparameter(Constant(), help="How the rate changes over the run.")
    clip_norm: float | None = hyperparameter(None, above=0.0, maximum=1e12, help="Largest 2-norm of the gradient.")
    clip_value: float | None = hyperparameter(None, above=0.0, maximum=1e12, help="Largest element of the gradient.")
    average: float | None = hyperparameter(
        None, above=0.0, below=1.0, help="Decay of a moving average of the parameters that is evaluated and published."
    )
    accumulate: int = hyperparameter(
        1, minimum=1, maximum=1_000_000, help="Batches whose gradients together make one update."
    )

    def __post_init__(self) -> None:
        check_hyperparameters(self)

    @property
    def vectors(self) -> tuple[str, ...]:
        """Names of all vectors that a run keeps for this optimizer: its moments, then those of its common fields."""
        average = ("average",) if self.average is not None else ()
        return (*self.moments, *average, *(("accumulated",) if self.accumulate > 1 else ()))

    def learning_rate_at(
        self, iterations: int, time: float = 0.0, length: float = math.inf, state: Mapping[str, float] | None = None
    ) -> float:
        """``η · schedule / (1 + decay·t)`` for the update that follows ``iterations`` earlier ones.

        It is made ``time`` epochs into a run of ``length``; ``state`` is what the schedule has learned so far.
        """
        factor = self.schedule.factor_at(time, length, state or {})
        return self.learning_rate * factor / (1.0 + self.decay * iterations)

    @property
    @abstractmethod
    def moments(self) -> tuple[str, ...]:
        """Names of the vectors this optimizer keeps between updates, each as long as the parameters, zero at first."""

    @abstractmethod
    def update(
        self, parameters: Array, gradients: Array, moments: Moments, scratch: Array, iterations: int, rate: float
    ) -> None:
        """Change ``parameters`` and ``moments`` in place; all arrays are vectors of one length.

        ``gradients`` may be overwritten; ``iterations`` is the number of updates made before this one, ``rate`` the
        learning rate of this one.
        """
