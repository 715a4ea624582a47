"""Optimizers: frozen dataclasses that hold hyperparameters; their moments are arrays that the caller keeps.

Every optimizer divides its rate by ``1 + decay·t`` before an update, t being the updates made so far.

To add an optimizer: one class here, one line in ``OPTIMIZERS`` at the foot, one case in ``tests/nncore/cases.py``.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from nncore.arrays import Array
from nncore.hyperparameters import check_hyperparameters, hyperparameter
from nncore.schedules import Constant, Schedule

__all__ = ["OPTIMIZERS", "SGD", "Adam", "EpsilonMode", "Optimizer", "RMSProp", "optimizer_type"]

EpsilonMode = Literal["inside_sqrt", "outside_sqrt"]

_EPSILON_HELP = "Keeps the divisor from zero."
_MODE_HELP = "Where epsilon stands: √(s + ε), or √s + ε as in most other frameworks."


@dataclass(frozen=True)
class Optimizer(ABC):
    """A rule that changes parameters by their gradients."""

    learning_rate: float
    decay: float
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
        return self.learning_rate * self.schedule.factor(time, length, state or {}) / (1.0 + self.decay * iterations)

    @property
    @abstractmethod
    def moments(self) -> tuple[str, ...]:
        """Names of the vectors this optimizer keeps between updates, each as long as the parameters, zero at first."""

    @abstractmethod
    def update(
        self,
        parameters: Array,
        gradients: Array,
        moments: Mapping[str, Array],
        scratch: Array,
        iterations: int,
        rate: float,
    ) -> None:
        """Change ``parameters`` and ``moments`` in place; all arrays are vectors of one length.

        ``gradients`` may be overwritten; ``iterations`` is the number of updates made before this one, ``rate`` the
        learning rate of this one.
        """


@dataclass(frozen=True)
class SGD(Optimizer):
    """``m = βm - η∇; θ = θ + m`` (β = 0: plain); with Nesterov ``θ = θ + βm - η∇``, m being the new one."""

    learning_rate: float = hyperparameter(1.0, above=0.0, maximum=1e6, help="Step size η.")
    decay: float = hyperparameter(0.0, minimum=0.0, maximum=1e6, help="The rate is η/(1 + decay·t) at update t.")
    momentum: float = hyperparameter(0.0, minimum=0.0, below=1.0, help="Share β of the last step in this one.")
    nesterov: bool = hyperparameter(False, help="Look one momentum step ahead.")

    @property
    def moments(self) -> tuple[str, ...]:
        return ("momentum",) if self.momentum else ()

    def update(
        self,
        parameters: Array,
        gradients: Array,
        moments: Mapping[str, Array],
        scratch: Array,
        iterations: int,
        rate: float,
    ) -> None:
        np.multiply(gradients, rate, out=gradients)
        if not self.momentum:
            np.subtract(parameters, gradients, out=parameters)
            return
        momentum = moments["momentum"]
        np.multiply(momentum, self.momentum, out=momentum)
        np.subtract(momentum, gradients, out=momentum)
        if self.nesterov:
            np.multiply(momentum, self.momentum, out=scratch)
            np.subtract(scratch, gradients, out=scratch)
            np.add(parameters, scratch, out=parameters)
        else:
            np.add(parameters, momentum, out=parameters)


@dataclass(frozen=True)
class RMSProp(Optimizer):
    """``s = ρs + (1-ρ)∇∘∇; θ = θ - η∇ ⊘ √(s + ε)`` (Tieleman & Hinton 2012)."""

    learning_rate: float = hyperparameter(0.001, above=0.0, maximum=1e6, help="Step size η.")
    decay: float = hyperparameter(0.0, minimum=0.0, maximum=1e6, help="The rate is η/(1 + decay·t) at update t.")
    rho: float = hyperparameter(0.9, minimum=0.0, below=1.0, help="Share of the old cache in the new one.")
    epsilon: float = hyperparameter(1e-7, above=0.0, maximum=1.0, help=_EPSILON_HELP)
    epsilon_mode: EpsilonMode = hyperparameter("inside_sqrt", help=_MODE_HELP)

    @property
    def moments(self) -> tuple[str, ...]:
        return ("cache",)

    def update(
        self,
        parameters: Array,
        gradients: Array,
        moments: Mapping[str, Array],
        scratch: Array,
        iterations: int,
        rate: float,
    ) -> None:
        cache = moments["cache"]
        np.multiply(cache, self.rho, out=cache)
        np.multiply(gradients, gradients, out=scratch)
        np.multiply(scratch, 1.0 - self.rho, out=scratch)
        np.add(cache, scratch, out=cache)
        _root(cache, self.epsilon, self.epsilon_mode, scratch)
        np.divide(gradients, scratch, out=scratch)
        np.multiply(scratch, rate, out=scratch)
        np.subtract(parameters, scratch, out=parameters)


@dataclass(frozen=True)
class Adam(Optimizer):
    """``m = β₁m + (1-β₁)∇; s = β₂s + (1-β₂)∇∘∇; θ = θ - η m̂ ⊘ √(ŝ + ε)`` (Kingma & Ba 2015).

    ``m̂ = m/(1-β₁ᵗ)`` and ``ŝ = s/(1-β₂ᵗ)`` are not formed: with ``c = √(1-β₂ᵗ)`` the step is
    ``η·c/(1-β₁ᵗ) · m ⊘ √(s + ε·c²)``, which takes two passes over memory less.
    """

    learning_rate: float = hyperparameter(0.001, above=0.0, maximum=1e6, help="Step size η.")
    decay: float = hyperparameter(0.0, minimum=0.0, maximum=1e6, help="The rate is η/(1 + decay·t) at update t.")
    beta1: float = hyperparameter(0.9, minimum=0.0, below=1.0, help="Share of the old momentum in the new one.")
    beta2: float = hyperparameter(0.999, minimum=0.0, below=1.0, help="Share of the old cache in the new one.")
    epsilon: float = hyperparameter(1e-7, above=0.0, maximum=1.0, help=_EPSILON_HELP)
    epsilon_mode: EpsilonMode = hyperparameter("inside_sqrt", help=_MODE_HELP)

    @property
    def moments(self) -> tuple[str, ...]:
        return ("momentum", "cache")

    def update(
        self,
        parameters: Array,
        gradients: Array,
        moments: Mapping[str, Array],
        scratch: Array,
        iterations: int,
        rate: float,
    ) -> None:
        momentum, cache = moments["momentum"], moments["cache"]
        np.multiply(momentum, self.beta1, out=momentum)
        np.multiply(gradients, 1.0 - self.beta1, out=scratch)
        np.add(momentum, scratch, out=momentum)
        np.multiply(gradients, gradients, out=gradients)
        np.multiply(gradients, 1.0 - self.beta2, out=gradients)
        np.multiply(cache, self.beta2, out=cache)
        np.add(cache, gradients, out=cache)
        step = iterations + 1
        root_correction = math.sqrt(1.0 - self.beta2**step)
        power = 2 if self.epsilon_mode == "inside_sqrt" else 1
        _root(cache, self.epsilon * root_correction**power, self.epsilon_mode, scratch)
        np.divide(momentum, scratch, out=scratch)
        np.multiply(scratch, rate * root_correction / (1.0 - self.beta1**step), out=scratch)
        np.subtract(parameters, scratch, out=parameters)


def _root(cache: Array, epsilon: float, mode: EpsilonMode, out: Array) -> None:
    """``√(s + ε)`` or ``√s + ε``."""
    if mode == "inside_sqrt":
        np.add(cache, epsilon, out=out)
        np.sqrt(out, out=out)
    else:
        np.sqrt(cache, out=out)
        np.add(out, epsilon, out=out)


OPTIMIZERS: dict[str, type[Optimizer]] = {
    "sgd": SGD,
    "rmsprop": RMSProp,
    "adam": Adam,
}


def optimizer_type(optimizer: Optimizer) -> str:
    """The name under which an optimizer's class stands in ``OPTIMIZERS``."""
    return next(name for name, member in OPTIMIZERS.items() if member is type(optimizer))
