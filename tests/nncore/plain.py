"""The equations of the design once more, in the plainest way, from no code of nncore.

Layers and optimizers are read for their hyperparameters alone. Arrays are samples-first, every step makes new ones.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from nncore import SGD, Adadelta, Adagrad, Adam, AdamW, Dense, Layer, Lion, NAdam, Optimizer, ReLU, RMSProp, Softmax
from nncore.arrays import Array

Update = Callable[[Any, Any], Any]


def softmax(z: Array) -> Array:
    """``exp(z_ij − max_l z_il) / Σ_l exp(z_il − max_l z_il)``."""
    exponentials = np.exp(z - z.max(axis=1, keepdims=True))
    return np.asarray(exponentials / exponentials.sum(axis=1, keepdims=True))


def softmax_jacobian(s: Array) -> Array:
    """``∂S_j/∂z_k = S_j(δ_jk − S_k)`` for one sample."""
    return np.array([[s[j] * ((j == k) - s[k]) for k in range(len(s))] for j in range(len(s))])


def loss_and_gradients(
    layers: Sequence[Layer], parameters: Mapping[str, Array], x: Array, labels: Array
) -> tuple[float, dict[str, Array]]:
    """Mean cross-entropy plus penalties, and their gradient by each parameter's name."""
    outputs = [x]
    for index, layer in enumerate(layers):
        y = outputs[-1]
        if isinstance(layer, Dense):
            y = y @ parameters[f"{index}_dense/weights"] + parameters[f"{index}_dense/bias"]
        elif isinstance(layer, ReLU):
            y = np.where(y > 0, y, 0)
        elif isinstance(layer, Softmax):
            y = softmax(y)
        outputs.append(y)
    samples, true = len(x), np.eye(outputs[-1].shape[1])[labels]
    loss = -np.log((outputs[-1] * true).sum(axis=1)).mean()

    gradients = {}
    slope = (outputs[-1] - true) / samples
    for index in reversed(range(len(layers) - 1)):
        layer, y = layers[index], outputs[index]
        if isinstance(layer, Dense):
            weights = parameters[f"{index}_dense/weights"]
            loss += layer.l2 * (weights**2).sum()
            gradients[f"{index}_dense/weights"] = y.T @ slope + 2 * layer.l2 * weights
            gradients[f"{index}_dense/bias"] = slope.sum(axis=0)
            slope = slope @ weights.T
        elif isinstance(layer, ReLU):
            slope = np.where(y > 0, slope, 0)
        elif isinstance(layer, Softmax):
            slope = np.array([softmax_jacobian(s) @ g for s, g in zip(outputs[index + 1], slope, strict=True)])
    return float(loss), gradients


def _rate(rule: Optimizer, t: int) -> float:
    return rule.learning_rate / (1 + rule.decay * t)


def sgd(rule: SGD) -> Update:
    """``m = βm − η∇; θ = θ + m``, with Nesterov ``θ = θ + βm − η∇``."""
    t, m = 0, 0.0

    def update(theta: Any, gradient: Any) -> Any:
        nonlocal t, m
        eta = _rate(rule, t)
        m = rule.momentum * m - eta * gradient
        t += 1
        return theta + rule.momentum * m - eta * gradient if rule.nesterov else theta + m

    return update


def _root(s: Any, rule: RMSProp | Adagrad | Adam | AdamW | NAdam) -> Any:
    """``√(s + ε)``, or ``√s + ε``."""
    return np.sqrt(s + rule.epsilon) if rule.epsilon_mode == "inside_sqrt" else np.sqrt(s) + rule.epsilon


def rmsprop(rule: RMSProp) -> Update:
    """``s = ρs + (1−ρ)∇∘∇; θ = θ − η∇ ⊘ √(s + ε)``; centered: ``s − a∘a``; momentum: ``m = βm + …; θ = θ − ηm``."""
    t, s, a, m = 0, 0.0, 0.0, 0.0

    def update(theta: Any, gradient: Any) -> Any:
        nonlocal t, s, a, m
        eta = _rate(rule, t)
        s = rule.rho * s + (1 - rule.rho) * gradient * gradient
        a = rule.rho * a + (1 - rule.rho) * gradient
        t += 1
        m = rule.momentum * m + gradient / _root(s - a * a if rule.centered else s, rule)
        return theta - eta * m

    return update


def adagrad(rule: Adagrad) -> Update:
    """``s = s + ∇∘∇; θ = θ − η∇ ⊘ √(s + ε)``."""
    t, s = 0, 0.0

    def update(theta: Any, gradient: Any) -> Any:
        nonlocal t, s
        eta = _rate(rule, t)
        s = s + gradient * gradient
        t += 1
        return theta - eta * gradient / _root(s, rule)

    return update


def adadelta(rule: Adadelta) -> Update:
    """``s = ρs + (1−ρ)∇∘∇; Δ = √(d + ε) ⊘ √(s + ε) ∘ ∇; d = ρd + (1−ρ)Δ∘Δ; θ = θ − ηΔ``."""
    t, s, d = 0, 0.0, 0.0

    def update(theta: Any, gradient: Any) -> Any:
        nonlocal t, s, d
        eta = _rate(rule, t)
        s = rule.rho * s + (1 - rule.rho) * gradient * gradient
        change = np.sqrt(d + rule.epsilon) / np.sqrt(s + rule.epsilon) * gradient
        d = rule.rho * d + (1 - rule.rho) * change * change
        t += 1
        return theta - eta * change

    return update


def adam(rule: Adam | AdamW) -> Update:
    """``m = β₁m + (1−β₁)∇; s = β₂s + (1−β₂)∇∘∇; θ = θ − η m̂ ⊘ √(ŝ + ε)``; amsgrad: the largest s so far."""
    t, m, s, peak = 0, 0.0, 0.0, 0.0

    def update(theta: Any, gradient: Any) -> Any:
        nonlocal t, m, s, peak
        eta = _rate(rule, t)
        m = rule.beta1 * m + (1 - rule.beta1) * gradient
        s = rule.beta2 * s + (1 - rule.beta2) * gradient * gradient
        peak = np.maximum(peak, s)
        t += 1
        m_hat, s_hat = m / (1 - rule.beta1**t), (peak if rule.amsgrad else s) / (1 - rule.beta2**t)
        return theta - eta * m_hat / _root(s_hat, rule)

    return update


def adamw(rule: AdamW) -> Update:
    """``θ = θ − ηλθ``, then Adam."""
    t, step = 0, adam(rule)

    def update(theta: Any, gradient: Any) -> Any:
        nonlocal t
        eta = _rate(rule, t)
        t += 1
        return step(theta - eta * rule.weight_decay * theta, gradient)

    return update


def nadam(rule: NAdam) -> Update:
    """Adam with ``μₜ₊₁/(1−Π_{i≤t+1} μᵢ) · m + (1−μₜ)/(1−Π_{i≤t} μᵢ) · ∇`` for m̂; ``μₜ = β₁(1 − ½·0.96^(tψ))``."""
    t, m, s, product = 0, 0.0, 0.0, 1.0

    def mu(step: int) -> float:
        return rule.beta1 * (1 - 0.5 * 0.96 ** (step * rule.momentum_decay))

    def update(theta: Any, gradient: Any) -> Any:
        nonlocal t, m, s, product
        eta = _rate(rule, t)
        m = rule.beta1 * m + (1 - rule.beta1) * gradient
        s = rule.beta2 * s + (1 - rule.beta2) * gradient * gradient
        t += 1
        product *= mu(t)
        m_hat = mu(t + 1) / (1 - product * mu(t + 1)) * m + (1 - mu(t)) / (1 - product) * gradient
        return theta - eta * m_hat / _root(s / (1 - rule.beta2**t), rule)

    return update


def lion(rule: Lion) -> Update:
    """``θ = θ − η(sign(β₁m + (1−β₁)∇) + λθ); m = β₂m + (1−β₂)∇``."""
    t, m = 0, 0.0

    def update(theta: Any, gradient: Any) -> Any:
        nonlocal t, m
        eta = _rate(rule, t)
        sign = np.sign(rule.beta1 * m + (1 - rule.beta1) * gradient)
        m = rule.beta2 * m + (1 - rule.beta2) * gradient
        t += 1
        return theta - eta * (sign + rule.weight_decay * theta)

    return update


#: By the names of ``nncore.OPTIMIZERS``.
OPTIMIZERS: dict[str, Callable[[Any], Update]] = {
    "sgd": sgd,
    "rmsprop": rmsprop,
    "adagrad": adagrad,
    "adadelta": adadelta,
    "adam": adam,
    "adamw": adamw,
    "nadam": nadam,
    "lion": lion,
}
