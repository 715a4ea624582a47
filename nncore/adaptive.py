"""Adaptive optimizers: each element's step is divided by the root of an average of its squared gradients.

The moments are stored as sums, without the factor ``1-ρ`` or ``1-β`` of the averages in the equations. The learning
rate and ε contain this factor instead, which saves one pass over memory per moment.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache, partial

import numpy as np

from nncore.arrays import Array
from nncore.hyperparameters import hyperparameter
from nncore.layer import Calls
from nncore.optimizer import (
    EpsilonMode,
    Optimizer,
    UpdateMemory,
    decay_biases_field,
    decay_calls,
    epsilon_field,
    epsilon_mode_field,
    learning_rate_field,
    root_calls,
    scaled_epsilon,
    share_field,
    weight_decay_field,
)

__all__ = ["Adadelta", "Adagrad", "Adam", "AdamW", "NAdam", "RMSProp"]

_BETA1_HELP = "Decay rate β₁ of the gradient average."
_BETA2_HELP = "Decay rate β₂ of the squared-gradient average."
_AMSGRAD_HELP = "Divide by the largest squared-gradient average so far, so that no element's learning rate increases."


@dataclass(frozen=True)
class RMSProp(Optimizer):
    """``s = ρs + (1-ρ)∇∘∇; θ = θ - η∇ ⊘ √(s + ε)`` (Tieleman & Hinton 2012).

    If ``centered``, ``s - a∘a`` replaces s under the root, with ``a = ρa + (1-ρ)∇`` (Graves 2013). With momentum, as in
    PyTorch, ``m = βm + ∇ ⊘ √(s + ε); θ = θ - ηm``. The stored moments are ``s/(1-ρ)``, ``a/(1-ρ)`` and ``m·√(1-ρ)``.
    """

    rho: float = share_field(0.9, "Decay rate ρ of the squared-gradient average.")
    momentum: float = share_field(0.0, "Momentum coefficient β; 0: no momentum.")
    centered: bool = hyperparameter(
        False, help="Divide by the standard deviation of the gradient instead of its root mean square."
    )
    epsilon: float = epsilon_field(1e-7)
    epsilon_mode: EpsilonMode = epsilon_mode_field()

    @property
    def moments(self) -> tuple[str, ...]:
        centered, momentum = ["gradient_sum"] if self.centered else [], ["step_sum"] if self.momentum else []
        return ("square_sum", *centered, *momentum)

    def factors(self, iterations: int, rate: float) -> tuple[float, ...]:
        return (rate / math.sqrt(1.0 - self.rho),)

    def plan(self, memory: UpdateMemory, factors: Sequence[Array]) -> Calls:
        parameters, gradients, moments, scratch, _ = memory
        (rate,) = factors
        squares = divisor = moments["square_sum"]
        rho, share = memory.constant(self.rho), memory.constant(math.sqrt(1.0 - self.rho))
        epsilon = memory.constant(scaled_epsilon(self.epsilon, 1.0 / (1.0 - self.rho), self.epsilon_mode))
        calls: Calls = [partial(np.multiply, gradients, gradients, out=scratch), *_decay_and_add(squares, rho, scratch)]
        if self.centered:
            total, divisor = moments["gradient_sum"], scratch
            calls += [
                *_decay_and_add(total, rho, gradients),
                partial(np.multiply, total, share, out=scratch),
                partial(np.multiply, scratch, scratch, out=scratch),
                partial(np.subtract, squares, scratch, out=scratch),
                # Rounding can make a variance near zero negative.
                partial(np.abs, scratch, out=scratch),
            ]
        calls += root_calls(divisor, epsilon, self.epsilon_mode, scratch)
        calls.append(partial(np.divide, gradients, scratch, out=gradients))
        step = gradients
        if self.momentum:
            step = moments["step_sum"]
            calls += _decay_and_add(step, memory.constant(self.momentum), gradients)
        return [
            *calls,
            partial(np.multiply, step, rate, out=gradients),
            partial(np.subtract, parameters, gradients, out=parameters),
        ]


@dataclass(frozen=True)
class Adagrad(Optimizer):
    """``s = s + ∇∘∇; θ = θ - η∇ ⊘ √(s + ε)`` (Duchi, Hazan & Singer 2011)."""

    learning_rate: float = learning_rate_field(0.01)
    epsilon: float = epsilon_field(1e-10)
    epsilon_mode: EpsilonMode = epsilon_mode_field()

    @property
    def moments(self) -> tuple[str, ...]:
        return ("square_sum",)

    def factors(self, iterations: int, rate: float) -> tuple[float, ...]:
        return (rate,)

    def plan(self, memory: UpdateMemory, factors: Sequence[Array]) -> Calls:
        parameters, gradients, moments, scratch, _ = memory
        (rate,) = factors
        squares = moments["square_sum"]
        return [
            partial(np.multiply, gradients, gradients, out=scratch),
            partial(np.add, squares, scratch, out=squares),
            *root_calls(squares, memory.constant(self.epsilon), self.epsilon_mode, scratch),
            partial(np.divide, gradients, scratch, out=scratch),
            partial(np.multiply, scratch, rate, out=scratch),
            partial(np.subtract, parameters, scratch, out=parameters),
        ]


@dataclass(frozen=True)
class Adadelta(Optimizer):
    """``s = ρs + (1-ρ)∇∘∇; Δ = √(d + ε) ⊘ √(s + ε) ∘ ∇; d = ρd + (1-ρ)Δ∘Δ; θ = θ - ηΔ`` (Zeiler 2012).

    The stored moments are ``s/(1-ρ)`` and ``d/(1-ρ)``: with ``ε/(1-ρ)`` the factors cancel in Δ. ε is inside both
    roots, as in the paper and in every framework.
    """

    learning_rate: float = learning_rate_field(1.0)
    rho: float = share_field(0.9, "Decay rate ρ of the averages of squared gradients and squared steps.")
    epsilon: float = epsilon_field(1e-6)

    @property
    def moments(self) -> tuple[str, ...]:
        return ("square_sum", "change_sum")

    def factors(self, iterations: int, rate: float) -> tuple[float, ...]:
        return (rate,)

    def plan(self, memory: UpdateMemory, factors: Sequence[Array]) -> Calls:
        parameters, gradients, moments, scratch, _ = memory
        (rate,) = factors
        squares, changes, rho = moments["square_sum"], moments["change_sum"], memory.constant(self.rho)
        epsilon = memory.constant(self.epsilon / (1.0 - self.rho))
        return [
            partial(np.multiply, gradients, gradients, out=scratch),
            *_decay_and_add(squares, rho, scratch),
            *root_calls(squares, epsilon, "inside_sqrt", scratch),
            partial(np.divide, gradients, scratch, out=gradients),
            *root_calls(changes, epsilon, "inside_sqrt", scratch),
            partial(np.multiply, gradients, scratch, out=gradients),
            partial(np.multiply, gradients, gradients, out=scratch),
            *_decay_and_add(changes, rho, scratch),
            partial(np.multiply, gradients, rate, out=gradients),
            partial(np.subtract, parameters, gradients, out=parameters),
        ]


@dataclass(frozen=True)
class Adam(Optimizer):
    """``m = β₁m + (1-β₁)∇; s = β₂s + (1-β₂)∇∘∇; θ = θ - η m̂ ⊘ √(ŝ + ε)`` (Kingma & Ba 2015).

    ``m̂ = m/(1-β₁ᵗ)`` and ``ŝ = s/(1-β₂ᵗ)`` are never computed. The stored moments are ``M = m/(1-β₁)`` and
    ``S = s/(1-β₂)``. With ``k = (1-β₂ᵗ)/(1-β₂)`` the step is ``η·√k·(1-β₁)/(1-β₁ᵗ) · M ⊘ √(S + ε·k)``, which needs four
    passes over memory less. AMSGrad (Reddi, Kale & Kumar 2018) replaces S by the largest S so far, before the bias
    correction, as in PyTorch.
    """

    beta1: float = share_field(0.9, _BETA1_HELP)
    beta2: float = share_field(0.999, _BETA2_HELP)
    epsilon: float = epsilon_field(1e-7)
    epsilon_mode: EpsilonMode = epsilon_mode_field()
    amsgrad: bool = hyperparameter(False, help=_AMSGRAD_HELP)

    @property
    def moments(self) -> tuple[str, ...]:
        return _adam_moments(self)

    def factors(self, iterations: int, rate: float) -> tuple[float, ...]:
        return _adam_factors(self, iterations, rate)

    def plan(self, memory: UpdateMemory, factors: Sequence[Array]) -> Calls:
        return _plan_adam(self, memory, factors)


@dataclass(frozen=True)
class AdamW(Optimizer):
    """Adam with decoupled weight decay: ``θ = θ - ηλθ``, then Adam's step (Loshchilov & Hutter 2019).

    Weight decay applies to every parameter, including biases, as in PyTorch. Without ``decay_biases`` it applies to the
    weights of dense layers alone.
    """

    beta1: float = share_field(0.9, _BETA1_HELP)
    beta2: float = share_field(0.999, _BETA2_HELP)
    epsilon: float = epsilon_field(1e-7)
    epsilon_mode: EpsilonMode = epsilon_mode_field()
    amsgrad: bool = hyperparameter(False, help=_AMSGRAD_HELP)
    weight_decay: float = weight_decay_field(0.01)
    decay_biases: bool = decay_biases_field()

    @property
    def moments(self) -> tuple[str, ...]:
        return _adam_moments(self)

    def factors(self, iterations: int, rate: float) -> tuple[float, ...]:
        return (1.0 - rate * self.weight_decay, *_adam_factors(self, iterations, rate))

    def plan(self, memory: UpdateMemory, factors: Sequence[Array]) -> Calls:
        kept, *others = factors
        return [*decay_calls(memory, kept, biases=self.decay_biases), *_plan_adam(self, memory, others)]


@dataclass(frozen=True)
class NAdam(Optimizer):
    """Adam with Nesterov momentum ``μₜ = β₁(1 - ½·0.96^(tψ))``; ψ is ``momentum_decay`` (Dozat 2016).

    ``θ = θ - η(μₜ₊₁/(1-Π_{i≤t+1} μᵢ) · m + (1-μₜ)/(1-Π_{i≤t} μᵢ) · ∇) ⊘ √(ŝ + ε)``, with m and ŝ as in Adam. The stored
    moments are the same as Adam's.
    """

    learning_rate: float = learning_rate_field(0.002)
    beta1: float = share_field(0.9, _BETA1_HELP)
    beta2: float = share_field(0.999, _BETA2_HELP)
    epsilon: float = epsilon_field(1e-7)
    epsilon_mode: EpsilonMode = epsilon_mode_field()
    momentum_decay: float = hyperparameter(
        0.004, minimum=0.0, maximum=1e6, help="Rate ψ at which the momentum μ rises to beta1."
    )

    @property
    def moments(self) -> tuple[str, ...]:
        return ("gradient_sum", "square_sum")

    def factors(self, iterations: int, rate: float) -> tuple[float, ...]:
        step = iterations + 1
        mu, following, product = _nesterov_momenta(self.beta1, self.momentum_decay, step)
        scale = (1.0 - self.beta2**step) / (1.0 - self.beta2)
        rate *= math.sqrt(scale)
        return (
            rate * (1.0 - mu) / (1.0 - product),
            rate * (1.0 - self.beta1) * following / (1.0 - product * following),
            scaled_epsilon(self.epsilon, scale, self.epsilon_mode),
        )

    def plan(self, memory: UpdateMemory, factors: Sequence[Array]) -> Calls:
        parameters, gradients, moments, scratch, _ = memory
        of_gradient, of_momentum, epsilon = factors
        total, squares = moments["gradient_sum"], moments["square_sum"]
        return [
            *_decay_and_add(total, memory.constant(self.beta1), gradients),
            partial(np.multiply, gradients, gradients, out=scratch),
            *_decay_and_add(squares, memory.constant(self.beta2), scratch),
            partial(np.multiply, gradients, of_gradient, out=gradients),
            partial(np.multiply, total, of_momentum, out=scratch),
            partial(np.add, gradients, scratch, out=gradients),
            *root_calls(squares, epsilon, self.epsilon_mode, scratch),
            partial(np.divide, gradients, scratch, out=gradients),
            partial(np.subtract, parameters, gradients, out=parameters),
        ]


def _decay_and_add(total: Array, share: Array, what: Array) -> Calls:
    """``total = share·total + what``."""
    return [partial(np.multiply, total, share, out=total), partial(np.add, total, what, out=total)]


def _adam_moments(rule: Adam | AdamW) -> tuple[str, ...]:
    return ("gradient_sum", "square_sum", *(["square_sum_peak"] if rule.amsgrad else []))


def _adam_factors(rule: Adam | AdamW, iterations: int, rate: float) -> tuple[float, ...]:
    step = iterations + 1
    scale = (1.0 - rule.beta2**step) / (1.0 - rule.beta2)
    return (
        scaled_epsilon(rule.epsilon, scale, rule.epsilon_mode),
        rate * math.sqrt(scale) * (1.0 - rule.beta1) / (1.0 - rule.beta1**step),
    )


def _plan_adam(rule: Adam | AdamW, memory: UpdateMemory, factors: Sequence[Array]) -> Calls:
    parameters, gradients, moments, _, _ = memory
    epsilon, rate = factors
    total, squares = moments["gradient_sum"], moments["square_sum"]
    calls: Calls = [
        *_decay_and_add(total, memory.constant(rule.beta1), gradients),
        partial(np.multiply, gradients, gradients, out=gradients),
        *_decay_and_add(squares, memory.constant(rule.beta2), gradients),
    ]
    if rule.amsgrad:
        peak = moments["square_sum_peak"]
        calls.append(partial(np.maximum, peak, squares, out=peak))
        squares = peak
    # The gradients' memory serves as scratch: they are no longer needed and still in the processor's cache.
    return [
        *calls,
        *root_calls(squares, epsilon, rule.epsilon_mode, gradients),
        partial(np.divide, total, gradients, out=gradients),
        partial(np.multiply, gradients, rate, out=gradients),
        partial(np.subtract, parameters, gradients, out=parameters),
    ]


@lru_cache(maxsize=16)
def _nesterov_momenta(beta: float, decay: float, step: int) -> tuple[float, float, float]:
    """Return ``μₜ``, ``μₜ₊₁`` and ``Π_{i≤t} μᵢ`` for step t.

    The product is computed in closed form, so that a resumed run needs no extra state to get the same values. With
    ``q = 0.96^ψ``, ``Π μᵢ = βᵗ exp Σᵢ log(1 - ½qⁱ) = βᵗ exp -Σₙ ½ⁿ/n · Σᵢ qⁿⁱ``. The inner sums are geometric, and
    sixty terms are exact to rounding.
    """
    log_q = decay * math.log(0.96)
    mu, following = (beta * (1.0 - 0.5 * math.exp(t * log_q)) for t in (step, step + 1))
    power = beta**step
    if power < 2.0**-60:  # 1 - product rounds to 1.
        return mu, following, 0.0
    exponent = 0.0
    for n in range(1, 61):
        below = math.expm1(n * log_q)
        total = math.exp(n * log_q) * math.expm1(step * n * log_q) / below if below else float(step)
        exponent += 0.5**n / n * total
    return mu, following, power * math.exp(-exponent)
