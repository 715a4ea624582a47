"""The optimizers: those that scale each element by a root are in ``nncore.adaptive``, the others and the table here.

Every optimizer divides its rate by ``1 + decay·t`` before an update, t being the updates made so far.

To add an optimizer: one class, one line in ``OPTIMIZERS`` at the foot, one case in ``tests/nncore/cases.py``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nncore.adaptive import Adadelta, Adagrad, Adam, AdamW, NAdam, RMSProp
from nncore.arrays import Array
from nncore.descent import EpsilonMode, Moments, Optimizer, learning_rate_field, share_field, weight_decay_field
from nncore.hyperparameters import hyperparameter

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

    def update(
        self, parameters: Array, gradients: Array, moments: Moments, scratch: Array, iterations: int, rate: float
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

    def update(
        self, parameters: Array, gradients: Array, moments: Moments, scratch: Array, iterations: int, rate: float
    ) -> None:
        total = moments["gradient_sum"]
        np.multiply(total, self.beta1 * (1.0 - self.beta2) / (1.0 - self.beta1), out=scratch)
        np.add(scratch, gradients, out=scratch)
        np.sign(scratch, out=scratch)
        np.multiply(scratch, rate, out=scratch)
        if self.weight_decay:
            np.multiply(parameters, 1.0 - rate * self.weight_decay, out=parameters)
        np.subtract(parameters, scratch, out=parameters)
        np.multiply(total, self.beta2, out=total)
        np.add(total, gradients, out=total)


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
