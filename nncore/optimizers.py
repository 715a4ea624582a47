"""The optimizers: those that scale each element by a root are in ``nncore.adaptive``, the others and the table here.

Every optimizer divides its rate by ``1 + decay·t`` before an update, t being the updates made so far.

To add an optimizer: one class, one line in ``OPTIMIZERS`` at the foot, one case in ``testing/cases.py``.
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
from nncore.optimizer import EpsilonMode, Optimizer, UpdateMemory, learning_rate_field, share_field, weight_decay_field

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
    """``m = βm - η∇; θ = θ + m`` (β = 0: plain); with Nesterov ``θ = θ + βm - η∇``, m being the new one."""

    learning_rate: float = learning_rate_field(1.0)
    momentum: float = share_field(0.0, "Share β of the last step in this one.")
    nesterov: bool = hyperparameter(False, help="Look one momentum step ahead.")

    @property
    def moments(self) -> tuple[str, ...]:
        return ("momentum",) if self.momentum else ()

    def factors(self, iterations: int, rate: float) -> tuple[float, ...]:
        return (rate,)

    def plan(self, memory: UpdateMemory, factors: Sequence[Array]) -> Calls:
        parameters, gradients, moments, scratch = memory
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

    The sum ``m/(1-β₂)`` is kept in place of m: the sign is that of ``β₁(1-β₂)/(1-β₁) · sum + ∇``.
    """

    learning_rate: float = learning_rate_field(0.0001)
    beta1: float = share_field(0.9, "Share of the momentum in the step.")
    beta2: float = share_field(0.99, "Share of the old momentum in the new one.")
    weight_decay: float = weight_decay_field(0.0)

    @property
    def moments(self) -> tuple[str, ...]:
        return ("gradient_sum",)

    def factors(self, iterations: int, rate: float) -> tuple[float, ...]:
        return rate, 1.0 - rate * self.weight_decay

    def plan(self, memory: UpdateMemory, factors: Sequence[Array]) -> Calls:
        parameters, gradients, moments, scratch = memory
        rate, kept = factors
        total = moments["gradient_sum"]
        share = memory.constant(self.beta1 * (1.0 - self.beta2) / (1.0 - self.beta1))
        return [
            partial(np.multiply, total, share, out=scratch),
            partial(np.add, scratch, gradients, out=scratch),
            partial(np.multiply, total, memory.constant(self.beta2), out=total),
            partial(np.add, total, gradients, out=total),
            # Onto other memory: in place NumPy's sign takes ten times as long.
            partial(np.sign, scratch, out=gradients),
            partial(np.multiply, gradients, rate, out=gradients),
            *([partial(np.multiply, parameters, kept, out=parameters)] if self.weight_decay else []),
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
    """The name under which an optimizer's class stands in ``OPTIMIZERS``."""
    return next(name for name, member in OPTIMIZERS.items() if member is type(optimizer))
