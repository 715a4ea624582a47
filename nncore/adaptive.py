"""Optimizers that divide each element's step by the root of a cache of its squared gradients.

Constant factors are gathered in the rate and in ε wherever that spares a pass over memory: a moment named ``cache``,
``peak`` or ``momentum`` is what the equations say, one named a sum lacks their factor ``1-ρ``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from nncore.arrays import Array
from nncore.descent import (
    EpsilonMode,
    Moments,
    Optimizer,
    epsilon_field,
    epsilon_mode_field,
    learning_rate_field,
    root,
    share_field,
    weight_decay_field,
)
from nncore.hyperparameters import hyperparameter

__all__ = ["Adadelta", "Adagrad", "Adam", "AdamW", "NAdam", "RMSProp"]

_OLD_CACHE = "Share of the old cache in the new one."
_OLD_MOMENTUM = "Share of the old momentum in the new one."
_AMSGRAD_HELP = "Divide by the largest cache there was, so that no element's rate ever rises."


@dataclass(frozen=True)
class RMSProp(Optimizer):
    """``s = ρs + (1-ρ)∇∘∇; θ = θ - η∇ ⊘ √(s + ε)`` (Tieleman & Hinton 2012).

    Centered: s less the square of ``a = ρa + (1-ρ)∇`` under the root (Graves 2013). With momentum
    ``m = βm + ∇ ⊘ √(s + ε); θ = θ - ηm``, as torch has it.
    """

    rho: float = share_field(0.9, _OLD_CACHE)
    momentum: float = share_field(0.0, "Share β of the last step in this one.")
    centered: bool = hyperparameter(False, help="Divide by the gradient's deviation and not by its size.")
    epsilon: float = epsilon_field(1e-7)
    epsilon_mode: EpsilonMode = epsilon_mode_field()

    @property
    def moments(self) -> tuple[str, ...]:
        return ("cache", *(["gradient_sum"] if self.centered else []), *(["momentum"] if self.momentum else []))

    def update(
        self, parameters: Array, gradients: Array, moments: Moments, scratch: Array, iterations: int, rate: float
    ) -> None:
        cache = divisor = moments["cache"]
        np.multiply(gradients, gradients, out=scratch)
        _average(cache, self.rho, scratch)
        if self.centered:
            total, divisor = moments["gradient_sum"], scratch
            np.multiply(total, self.rho, out=total)
            np.add(total, gradients, out=total)
            np.multiply(total, 1.0 - self.rho, out=scratch)
            np.multiply(scratch, scratch, out=scratch)
            np.subtract(cache, scratch, out=scratch)
            # What rounding leaves of a variance near zero may be negative.
            np.maximum(scratch, 0.0, out=scratch)
        root(divisor, 1.0, self.epsilon, self.epsilon_mode, scratch)
        np.divide(gradients, scratch, out=gradients)
        if self.momentum:
            momentum = moments["momentum"]
            np.multiply(momentum, self.momentum, out=momentum)
            np.add(momentum, gradients, out=momentum)
            np.multiply(momentum, rate, out=gradients)
        else:
            np.multiply(gradients, rate, out=gradients)
        np.subtract(parameters, gradients, out=parameters)


@dataclass(frozen=True)
class Adagrad(Optimizer):
    """``s = s + ∇∘∇; θ = θ - η∇ ⊘ √(s + ε)`` (Duchi, Hazan & Singer 2011)."""

    learning_rate: float = learning_rate_field(0.01)
    epsilon: float = epsilon_field(1e-10)
    epsilon_mode: EpsilonMode = epsilon_mode_field()

    @property
    def moments(self) -> tuple[str, ...]:
        return ("cache",)

    def update(
        self, parameters: Array, gradients: Array, moments: Moments, scratch: Array, iterations: int, rate: float
    ) -> None:
        cache = moments["cache"]
        np.multiply(gradients, gradients, out=scratch)
        np.add(cache, scratch, out=cache)
        root(cache, 1.0, self.epsilon, self.epsilon_mode, scratch)
        np.divide(gradients, scratch, out=scratch)
        np.multiply(scratch, rate, out=scratch)
        np.subtract(parameters, scratch, out=parameters)


@dataclass(frozen=True)
class Adadelta(Optimizer):
    """``s = ρs + (1-ρ)∇∘∇; Δ = √(d + ε) ⊘ √(s + ε) ∘ ∇; d = ρd + (1-ρ)Δ∘Δ; θ = θ - ηΔ`` (Zeiler 2012).

    The sums ``s/(1-ρ)`` and ``d/(1-ρ)`` are kept: in Δ, with ``ε/(1-ρ)``, the factors cancel. ε stands inside both
    roots in the paper and in every framework.
    """

    learning_rate: float = learning_rate_field(1.0)
    rho: float = share_field(0.9, _OLD_CACHE)
    epsilon: float = epsilon_field(1e-6)

    @property
    def moments(self) -> tuple[str, ...]:
        return ("square_sum", "change_sum")

    def update(
        self, parameters: Array, gradients: Array, moments: Moments, scratch: Array, iterations: int, rate: float
    ) -> None:
        squares, changes = moments["square_sum"], moments["change_sum"]
        scale = 1.0 / (1.0 - self.rho)
        np.multiply(gradients, gradients, out=scratch)
        np.multiply(squares, self.rho, out=squares)
        np.add(squares, scratch, out=squares)
        root(squares, scale, self.epsilon, "inside_sqrt", scratch)
        np.divide(gradients, scratch, out=gradients)
        root(changes, scale, self.epsilon, "inside_sqrt", scratch)
        np.multiply(gradients, scratch, out=gradients)
        np.multiply(gradients, gradients, out=scratch)
        np.multiply(changes, self.rho, out=changes)
        np.add(changes, scratch, out=changes)
        np.multiply(gradients, rate, out=gradients)
        np.subtract(parameters, gradients, out=parameters)


@dataclass(frozen=True)
class Adam(Optimizer):
    """``m = β₁m + (1-β₁)∇; s = β₂s + (1-β₂)∇∘∇; θ = θ - η m̂ ⊘ √(ŝ + ε)`` (Kingma & Ba 2015).

    ``m̂ = m/(1-β₁ᵗ)`` and ``ŝ = s/(1-β₂ᵗ)`` are not formed: with ``c = √(1-β₂ᵗ)`` the step is
    ``η·c/(1-β₁ᵗ) · m ⊘ √(s + ε·c²)``, which takes two passes over memory less. AMSGrad (Reddi, Kale & Kumar 2018)
    has the largest s so far in place of s, as torch does before the correction.
    """

    beta1: float = share_field(0.9, _OLD_MOMENTUM)
    beta2: float = share_field(0.999, _OLD_CACHE)
    epsilon: float = epsilon_field(1e-7)
    epsilon_mode: EpsilonMode = epsilon_mode_field()
    amsgrad: bool = hyperparameter(False, help=_AMSGRAD_HELP)

    @property
    def moments(self) -> tuple[str, ...]:
        return ("momentum", "cache", "peak") if self.amsgrad else ("momentum", "cache")

    def update(
        self, parameters: Array, gradients: Array, moments: Moments, scratch: Array, iterations: int, rate: float
    ) -> None:
        _adam_step(self, parameters, gradients, moments, scratch, iterations, rate)


@dataclass(frozen=True)
class AdamW(Optimizer):
    """``θ = θ - ηλθ``, then Adam's step (Loshchilov & Hutter 2019): weight decay apart from the gradient.

    As in torch, it shrinks every parameter, biases too.
    """

    beta1: float = share_field(0.9, _OLD_MOMENTUM)
    beta2: float = share_field(0.999, _OLD_CACHE)
    epsilon: float = epsilon_field(1e-7)
    epsilon_mode: EpsilonMode = epsilon_mode_field()
    amsgrad: bool = hyperparameter(False, help=_AMSGRAD_HELP)
    weight_decay: float = weight_decay_field(0.01)

    @property
    def moments(self) -> tuple[str, ...]:
        return ("momentum", "cache", "peak") if self.amsgrad else ("momentum", "cache")

    def update(
        self, parameters: Array, gradients: Array, moments: Moments, scratch: Array, iterations: int, rate: float
    ) -> None:
        np.multiply(parameters, 1.0 - rate * self.weight_decay, out=parameters)
        _adam_step(self, parameters, gradients, moments, scratch, iterations, rate)


@dataclass(frozen=True)
class NAdam(Optimizer):
    """Adam that looks a momentum step ahead (Dozat 2016), ``μₜ = β₁(1 - ½·0.96^(tψ))``, ψ the momentum_decay.

    ``θ = θ - η(μₜ₊₁/(1-Π_{i≤t+1} μᵢ) · m + (1-μₜ)/(1-Π_{i≤t} μᵢ) · ∇) ⊘ √(ŝ + ε)``, with m and ŝ as in Adam.
    """

    learning_rate: float = learning_rate_field(0.002)
    beta1: float = share_field(0.9, _OLD_MOMENTUM)
    beta2: float = share_field(0.999, _OLD_CACHE)
    epsilon: float = epsilon_field(1e-7)
    epsilon_mode: EpsilonMode = epsilon_mode_field()
    momentum_decay: float = hyperparameter(0.004, minimum=0.0, maximum=1e6, help="How fast μ rises to beta1.")

    @property
    def moments(self) -> tuple[str, ...]:
        return ("momentum", "cache")

    def update(
        self, parameters: Array, gradients: Array, moments: Moments, scratch: Array, iterations: int, rate: float
    ) -> None:
        momentum, cache, step = moments["momentum"], moments["cache"], iterations + 1
        np.multiply(gradients, 1.0 - self.beta1, out=scratch)
        np.multiply(momentum, self.beta1, out=momentum)
        np.add(momentum, scratch, out=momentum)
        np.multiply(gradients, gradients, out=scratch)
        _average(cache, self.beta2, scratch)
        mu, following, product = _nesterov_momenta(self.beta1, self.momentum_decay, step)
        correction = 1.0 - self.beta2**step
        rate *= math.sqrt(correction)
        np.multiply(gradients, rate * (1.0 - mu) / (1.0 - product), out=gradients)
        np.multiply(momentum, rate * following / (1.0 - product * following), out=scratch)
        np.add(gradients, scratch, out=gradients)
        root(cache, correction, self.epsilon, self.epsilon_mode, scratch)
        np.divide(gradients, scratch, out=gradients)
        np.subtract(parameters, gradients, out=parameters)


def _average(cache: Array, rho: float, squares: Array) -> None:
    """``s = ρs + (1-ρ)∇∘∇``; overwrites the squares."""
    np.multiply(squares, 1.0 - rho, out=squares)
    np.multiply(cache, rho, out=cache)
    np.add(cache, squares, out=cache)


def _adam_step(
    rule: Adam | AdamW,
    parameters: Array,
    gradients: Array,
    moments: Moments,
    scratch: Array,
    iterations: int,
    rate: float,
) -> None:
    momentum, cache, step = moments["momentum"], moments["cache"], iterations + 1
    np.multiply(momentum, rule.beta1, out=momentum)
    np.multiply(gradients, 1.0 - rule.beta1, out=scratch)
    np.add(momentum, scratch, out=momentum)
    np.multiply(gradients, gradients, out=gradients)
    _average(cache, rule.beta2, gradients)
    if rule.amsgrad:
        np.maximum(moments["peak"], cache, out=moments["peak"])
        cache = moments["peak"]
    correction = 1.0 - rule.beta2**step
    root(cache, correction, rule.epsilon, rule.epsilon_mode, scratch)
    np.divide(momentum, scratch, out=scratch)
    np.multiply(scratch, rate * math.sqrt(correction) / (1.0 - rule.beta1**step), out=scratch)
    np.subtract(parameters, scratch, out=parameters)


@lru_cache(maxsize=16)
def _nesterov_momenta(beta: float, decay: float, step: int) -> tuple[float, float, float]:
    """``μₜ``, ``μₜ₊₁`` and ``Π_{i≤t} μᵢ`` for step t; a function of these alone, so that a resumed run has the same.

    With ``q = 0.96^ψ``, ``Π μᵢ = βᵗ exp Σᵢ log(1 - ½qⁱ) = βᵗ exp -Σₙ ½ⁿ/n · Σᵢ qⁿⁱ``, whose inner sums are geometric.
    Sixty terms are exact to rounding.
    """
    log_q = decay * math.log(0.96)
    mu, following = (beta * (1.0 - 0.5 * math.exp(t * log_q)) for t in (step, step + 1))
    power = beta**step
    if power < 2.0**-60:  # One less it is one.
        return mu, following, 0.0
    exponent = 0.0
    for n in range(1, 61):
        below = math.expm1(n * log_q)
        total = math.exp(n * log_q) * math.expm1(step * n * log_q) / below if below else float(step)
        exponent += 0.5**n / n * total
    return mu, following, power * math.exp(-exponent)
