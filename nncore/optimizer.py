"""What every optimizer is: a frozen dataclass of hyperparameters that plans how gradients change parameters.

Moments are arrays that the caller keeps. As in a training step, the calls are bound to their memory once and run
often. The hyperparameters that several optimizers have are declared here, once.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, NamedTuple

import numpy as np

from nncore.arrays import Array
from nncore.hyperparameters import check_hyperparameters, hyperparameter
from nncore.layer import Calls
from nncore.schedules import Constant, Schedule

__all__ = [
    "EpsilonMode",
    "Optimizer",
    "UpdateMemory",
    "epsilon_field",
    "epsilon_mode_field",
    "learning_rate_field",
    "root_calls",
    "scaled_epsilon",
    "share_field",
    "weight_decay_field",
]

EpsilonMode = Literal["inside_sqrt", "outside_sqrt"]


class UpdateMemory(NamedTuple):
    """What an update reads and changes: vectors of one length, the moments by name, and one to work in."""

    parameters: Array
    gradients: Array
    moments: Mapping[str, Array]
    scratch: Array

    def constant(self, value: float) -> Array:
        """A number as an operand: NumPy takes an array without dimensions twice as fast as a Python float."""
        return np.array(value, self.parameters.dtype)


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


def scaled_epsilon(epsilon: float, scale: float, mode: EpsilonMode) -> float:
    """What ``root_calls`` adds for a cache that is ``scale`` times too large."""
    return epsilon * (scale if mode == "inside_sqrt" else math.sqrt(scale))


def root_calls(cache: Array, epsilon: Array, mode: EpsilonMode, out: Array) -> Calls:
    """``√(s + ε)`` or ``√s + ε``.

    For a cache ``k·s`` and ``scaled_epsilon(ε, k)`` it is ``√k`` times that.
    """
    if mode == "inside_sqrt":
        return [partial(np.add, cache, epsilon, out=out), partial(np.sqrt, out, out=out)]
    return [partial(np.sqrt, cache, out=out), partial(np.add, out, epsilon, out=out)]


@dataclass(frozen=True)
class Optimizer(ABC):
    """A rule for changing parameters by their gradients."""

    learning_rate: float = learning_rate_field(0.001)
    decay: float = hyperparameter(0.0, minimum=0.0, maximum=1e6, help="The rate is η/(1 + decay·t) at update t.")
    schedule: Schedule = hyperparameter(Constant(), help="How the rate changes over the run.")
    clip_norm: float | None = hyperparameter(None, above=0.0, maximum=1e12, help="Largest 2-norm of the gradient.")
    clip_value: float | None = hyperparameter(None, above=0.0, maximum=1e12, help="Largest element of the gradient.")
    average: float | None = hyperparameter(
        None,
        above=0.0,
        below=1.0,
        help="Decay of a moving average of the parameters that is evaluated and published.",
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

    def average_share_at(self, iterations: int) -> float:
        """The share of the new parameters in their moving average, ``1 - min(average, (1+t)/(10+t))``; 0 without one.

        The decay rises to its full value, as in TensorFlow's ExponentialMovingAverage: the first parameters, which are
        random, would otherwise stay in the average for thousands of updates.
        """
        if self.average is None:
            return 0.0
        return 1.0 - min(self.average, (1.0 + iterations) / (10.0 + iterations))

    @property
    @abstractmethod
    def moments(self) -> tuple[str, ...]:
        """Names of the vectors this optimizer keeps between updates, each as long as the parameters, zero at first."""

    @abstractmethod
    def factors(self, iterations: int, rate: float) -> tuple[float, ...]:
        """The numbers of one update that differ from step to step, as ``plan`` reads them.

        ``iterations`` is the number of updates made before this one, ``rate`` the learning rate of this one.
        """

    @abstractmethod
    def plan(self, memory: UpdateMemory, factors: Sequence[Array]) -> Calls:
        """The calls of one update, which change parameters and moments in place and may overwrite the gradients.

        ``factors`` are arrays without dimensions, which hold at each run what the method ``factors`` gave for it.
        """
