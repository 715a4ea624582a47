"""The optimizer interface: a frozen dataclass of hyperparameters that plans an update of the parameters.

The caller owns the moments. A plan is a list of calls that are bound to their arrays once and run for every update.
This module also declares the hyperparameters that several optimizers share.
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
    "decay_biases_field",
    "decay_calls",
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
    """The vectors of an update, all of the same length; ``moments`` by name, ``scratch`` for temporary results.

    ``decaying`` are views of the parts of ``parameters`` that decay even if biases are spared.
    """

    parameters: Array
    gradients: Array
    moments: Mapping[str, Array]
    scratch: Array
    decaying: tuple[Array, ...] = ()

    def constant(self, value: float) -> Array:
        """Return a number as a zero-dimensional array, which NumPy processes twice as fast as a Python float."""
        return np.array(value, self.parameters.dtype)


def learning_rate_field(default: float) -> Any:
    """Declare the field ``learning_rate``."""
    return hyperparameter(default, above=0.0, maximum=1e6, help="Learning rate η.")


def share_field(default: float, help: str) -> Any:
    """Declare a decay rate or momentum coefficient, at least 0 and less than 1."""
    return hyperparameter(default, minimum=0.0, below=1.0, help=help)


def epsilon_field(default: float) -> Any:
    """Declare the field ``epsilon``."""
    return hyperparameter(default, above=0.0, maximum=1.0, help="Small constant ε that keeps the divisor above zero.")


def epsilon_mode_field() -> Any:
    """Declare the field ``epsilon_mode``."""
    return hyperparameter(
        "inside_sqrt", help="inside_sqrt: divide by √(s + ε); outside_sqrt: by √s + ε, as most other frameworks do."
    )


def weight_decay_field(default: float) -> Any:
    """Declare the field ``weight_decay``."""
    return hyperparameter(
        default,
        minimum=0.0,
        maximum=1e6,
        help="Weight decay λ; each update subtracts learning rate · λ · parameter from every parameter.",
    )


def decay_biases_field() -> Any:
    """Declare the field ``decay_biases``."""
    return hyperparameter(
        True, help="Whether weight decay applies to every parameter; false: to the weights of dense layers alone."
    )


def decay_calls(memory: UpdateMemory, kept: Array, *, biases: bool) -> Calls:
    """Return the calls that multiply the parameters that decay by ``kept``."""
    parts = (memory.parameters,) if biases else memory.decaying
    return [partial(np.multiply, part, kept, out=part) for part in parts]


def scaled_epsilon(epsilon: float, scale: float, mode: EpsilonMode) -> float:
    """Return the ε to pass to ``root_calls`` if the squared-gradient average is ``scale`` times too large."""
    return epsilon * (scale if mode == "inside_sqrt" else math.sqrt(scale))


def root_calls(squares: Array, epsilon: Array, mode: EpsilonMode, out: Array) -> Calls:
    """Return the calls that compute ``√(s + ε)`` or ``√s + ε`` from the squared-gradient average s.

    For ``k·s`` and ``scaled_epsilon(ε, k)`` the result is ``√k`` times as large.
    """
    if mode == "inside_sqrt":
        return [partial(np.add, squares, epsilon, out=out), partial(np.sqrt, out, out=out)]
    return [partial(np.sqrt, squares, out=out), partial(np.add, out, epsilon, out=out)]


@dataclass(frozen=True)
class Optimizer(ABC):
    """Base class of all optimizers: a rule that updates parameters from their gradients."""

    learning_rate: float = learning_rate_field(0.001)
    decay: float = hyperparameter(
        0.0, minimum=0.0, maximum=1e6, help="Decay per update; the learning rate is η/(1 + decay·t) after t updates."
    )
    schedule: Schedule = hyperparameter(Constant(), help="How the learning rate changes over the run.")
    clip_norm: float | None = hyperparameter(
        None,
        above=0.0,
        maximum=1e12,
        help="Maximum 2-norm of the gradient over all parameters; a larger gradient is scaled down. null: no limit.",
    )
    clip_value: float | None = hyperparameter(
        None, above=0.0, maximum=1e12, help="Maximum absolute value of each gradient element. null: no limit."
    )
    average: float | None = hyperparameter(
        None,
        above=0.0,
        below=1.0,
        help="Decay rate of a moving average of the parameters, which is evaluated and published. null: no average.",
    )
    accumulate: int = hyperparameter(
        1, minimum=1, maximum=1_000_000, help="Number of batches whose gradients are averaged for one update."
    )

    def __post_init__(self) -> None:
        check_hyperparameters(self)

    @property
    def vectors(self) -> tuple[str, ...]:
        """Names of all vectors that a run stores: the moments, then ``average`` and ``accumulated`` if enabled."""
        average = ("average",) if self.average is not None else ()
        return (*self.moments, *average, *(("accumulated",) if self.accumulate > 1 else ()))

    def learning_rate_at(
        self, iterations: int, time: float = 0.0, length: float = math.inf, state: Mapping[str, float] | None = None
    ) -> float:
        """Return the learning rate of the next update, ``η · schedule / (1 + decay·t)``.

        ``iterations`` is t, the number of earlier updates. ``time`` is the position in the run and ``length`` the
        length of the run, both in epochs. ``state`` is the schedule's state.
        """
        factor = self.schedule.factor_at(time, length, state or {})
        return self.learning_rate * factor / (1.0 + self.decay * iterations)

    def average_share_at(self, iterations: int) -> float:
        """Return the weight of the new parameters in their moving average, ``1 - min(average, (1+t)/(10+t))``.

        It is 0 if there is no average. The decay rate rises to its full value, as in TensorFlow's
        ExponentialMovingAverage. Otherwise the random initial parameters would affect the average for thousands of
        updates.
        """
        if self.average is None:
            return 0.0
        return 1.0 - min(self.average, (1.0 + iterations) / (10.0 + iterations))

    @property
    @abstractmethod
    def moments(self) -> tuple[str, ...]:
        """Names of the vectors kept between updates; each has one element per parameter and starts at zero."""

    @abstractmethod
    def factors(self, iterations: int, rate: float) -> tuple[float, ...]:
        """Return the values that change from update to update, in the order in which ``plan`` reads them.

        ``iterations`` is the number of earlier updates, ``rate`` the learning rate of this update.
        """

    @abstractmethod
    def plan(self, memory: UpdateMemory, factors: Sequence[Array]) -> Calls:
        """Return the calls of one update, which change parameters and moments in place and may overwrite gradients.

        ``factors`` are zero-dimensional arrays. Before each update they are set to the values of the method
        ``factors``.
        """
