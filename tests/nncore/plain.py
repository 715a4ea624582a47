"""The equations of the design once more, in the plainest way, from no code of nncore.

Layers and optimizers are read for their hyperparameters alone. Arrays are samples-first, every step makes new ones.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from nncore import SGD, Adam, Dense, Layer, ReLU, RMSProp, Softmax
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


def sgd(rule: SGD) -> Update:
    """``m = βm − η∇; θ = θ + m``, with Nesterov ``θ = θ + βm − η∇``."""
    t, m = 0, 0.0

    def update(theta: Any, gradient: Any) -> Any:
        nonlocal t, m
        eta = rule.learning_rate / (1 + rule.decay * t)
        m = rule.momentum * m - eta * gradient
        t += 1
        return theta + rule.momentum * m - eta * gradient if rule.nesterov else theta + m

    return update


def rmsprop(rule: RMSProp) -> Update:
    """``s = ρs + (1−ρ)∇∘∇; θ = θ − η∇ ⊘ √(s + ε)``."""
    t, s = 0, 0.0

    def update(theta: Any, gradient: Any) -> Any:
        nonlocal t, s
        eta = rule.learning_rate / (1 + rule.decay * t)
        s = rule.rho * s + (1 - rule.rho) * gradient * gradient
        t += 1
        inside = rule.epsilon_mode == "inside_sqrt"
        return theta - eta * gradient / (np.sqrt(s + rule.epsilon) if inside else np.sqrt(s) + rule.epsilon)

    return update


def adam(rule: Adam) -> Update:
    """``m = β₁m + (1−β₁)∇; s = β₂s + (1−β₂)∇∘∇; θ = θ − η m̂ ⊘ √(ŝ + ε)``."""
    t, m, s = 0, 0.0, 0.0

    def update(theta: Any, gradient: Any) -> Any:
        nonlocal t, m, s
        eta = rule.learning_rate / (1 + rule.decay * t)
        m = rule.beta1 * m + (1 - rule.beta1) * gradient
        s = rule.beta2 * s + (1 - rule.beta2) * gradient * gradient
        t += 1
        m_hat, s_hat = m / (1 - rule.beta1**t), s / (1 - rule.beta2**t)
        inside = rule.epsilon_mode == "inside_sqrt"
        return theta - eta * m_hat / (np.sqrt(s_hat + rule.epsilon) if inside else np.sqrt(s_hat) + rule.epsilon)

    return update


#: By the names of ``nncore.OPTIMIZERS``.
OPTIMIZERS: dict[str, Callable[[Any], Update]] = {"sgd": sgd, "rmsprop": rmsprop, "adam": adam}
