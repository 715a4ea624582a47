"""SGD, Lion and the table of all optimizers; the adaptive ones are in ``nncore.adaptive``.

To add an optimizer, write one class, one line in ``OPTIMIZERS`` at the end of this file and one case in
``testing/cases.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from nncore.adaptive import Adadelta, Adagrad, Adam, AdamW, NAdam, RMSProp
from nncore.arrays import Array
from nncore.hyperparameters import hyperparameter
from nncore.layer import Calls
from nncore.optimizer import (
    EpsilonMode,
    Optimizer,
    UpdateMemory,
    decay_biases_field,
    decay_calls,
    learning_rate_field,
    share_field,
    weight_decay_field,
)

__all__ = [
    "OPTIMIZERS",
    "SGD",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "EpsilonMode",
    "Lion",
    "NAdam",
    "Optimizer",
    "RMSProp",
    "optimizer_type",
]


@dataclass(frozen=True)
class SGD(Optimizer):
    """Gradient descent with momentum: ``m = βm - η∇; θ = θ + m``; Nesterov: ``θ = θ + βm - η∇`` with the new m."""

    learning_rate: float = learning_rate_field(1.0)
    momentum: float = share_field(0.0, "Momentum coefficient β; 0: no momentum.")
    nesterov: bool = hyperparameter(False, help="Use Nesterov momentum, which looks one momentum step ahead.")

    @property
    def moments(self) -> tuple[str, ...]:
        return ("momentum",) if self.momentum else ()

    def factors(self, iterations: int, rate: float) -> tuple[float, ...]:
        return (rate,)

    def plan(self, memory: UpdateMemory, factors: Sequence[Array]) -> Calls:
        parameters, gradients, moments, scratch, _ = memory
        (rate,) = factors
        calls: Calls = [partial(np.multiply, gradients, rate, out=gradients)]
        if not self.momentum:
            return [*calls, partial(np.subtract, parameters, gradients, out=parameters)]
        momentum, beta = moments["momentum"], memory.constant(self.momentum)
        calls += [
            partial(np.multiply, momentum, beta, out=momentum),
            partial(np.subtract, momentum, gradients, out=momentum),
        ]
        if not self.nesterov:
            return [*calls, partial(np.add, parameters, momentum, out=parameters)]
        return [
            *calls,
            partial(np.multiply, momentum, beta, out=scratch),
            partial(np.subtract, scratch, gradients, out=scratch),
            partial(np.add, parameters, scratch, out=parameters),
        ]


@dataclass(frozen=True)
class Lion(Optimizer):
    """``θ = θ - η(sign(β₁m + (1-β₁)∇) + λθ); m = β₂m + (1-β₂)∇`` (Chen et al. 2023).

    The stored moment is ``m/(1-β₂)``; the update takes the sign of ``β₁(1-β₂)/(1-β₁) · m/(1-β₂) + ∇``.
    """

    learning_rate: float = learning_rate_field(0.0001)
    beta1: float = share_field(0.9, "Weight β₁ of the gradient average in the update direction.")
    beta2: float = share_field(0.99, "Decay rate β₂ of the gradient average.")
    weight_decay: float = weight_decay_field(0.0)
    decay_biases: bool = decay_biases_field()

    @property
    def moments(self) -> tuple[str, ...]:
        return ("gradient_sum",)

    def factors(self, iterations: int, rate: float) -> tuple[float, ...]:
        return rate, 1.0 - rate * self.weight_decay

    def plan(self, memory: UpdateMemory, factors: Sequence[Array]) -> Calls:
        parameters, gradients, moments, scratch, _ = memory
        rate, kept = factors
        total = moments["gradient_sum"]
        share = memory.constant(self.beta1 * (1.0 - self.beta2) / (1.0 - self.beta1))
        return [
            partial(np.multiply, total, share, out=scratch),
            partial(np.add, scratch, gradients, out=scratch),
            partial(np.multiply, total, memory.constant(self.beta2), out=total),
            partial(np.add, total, gradients, out=total),
            # Not in place: NumPy's sign then takes ten times as long.
            partial(np.sign, scratch, out=gradients),
            partial(np.multiply, gradients, rate, out=gradients),
            *(decay_calls(memory, kept, biases=self.decay_biases) if self.weight_decay else []),
            partial(np.subtract, parameters, gradients, out=parameters),
        ]


OPTIMIZERS: dict[str, type[Optimizer]] = {
    "sgd": SGD,
    "rmsprop": RMSProp,
    "adagrad": Adagrad,
    "adadelta": Adadelta,
    "adam": Adam,
    "adamw": AdamW,
    "nadam": NAdam,
    "lion": Lion,
}


def optimizer_type(optimizer: Optimizer) -> str:
    """Return the name of an optimizer's class in ``OPTIMIZERS``."""
    return next(name for name, member in OPTIMIZERS.items() if member is type(optimizer))
