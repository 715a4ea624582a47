"""The equations of the design in plain code that uses nothing of nncore.

Layers and optimizers are read for their hyperparameters alone. Arrays are samples-first, every step makes new ones.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from nncore import (
    GELU,
    SGD,
    Adadelta,
    Adagrad,
    Adam,
    AdamW,
    Dense,
    Dropout,
    GaussianNoise,
    Layer,
    Lion,
    NAdam,
    Optimizer,
    RMSProp,
)
from nncore.arrays import Array
from nncore.layers import layer_type

Update = Callable[[Any, Any], Any]


def softmax(z: Array) -> Array:
    """``exp(z_ij − max_l z_il) / Σ_l exp(z_il − max_l z_il)``."""
    exponentials = np.exp(z - z.max(axis=1, keepdims=True))
    return np.asarray(exponentials / exponentials.sum(axis=1, keepdims=True))


def softmax_jacobian(s: Array) -> Array:
    """``∂S_j/∂z_k = S_j(δ_jk − S_k)`` for one sample."""
    return np.array([[s[j] * ((j == k) - s[k]) for k in range(len(s))] for j in range(len(s))])


class Pass(NamedTuple):
    """One layer over one batch: its output, the slope of its input from that of its output, and its gradients.

    ``back`` takes the slope of the output and gives the slope of the input and a gradient for each parameter.
    """

    output: Array
    back: Callable[[Array], tuple[Array, dict[str, Array]]]


#: From a layer, its parameters by name, its input and a generator in the state of the layer's generator.
Equation = Callable[[Any, Mapping[str, Array], Array, np.random.Generator], Pass]


def dense(layer: Dense, parameters: Mapping[str, Array], x: Array, generator: np.random.Generator) -> Pass:
    """``y = x·W + b``; penalties ``l1·Σ|W| + l2·ΣW²``."""
    weights = parameters["weights"]

    def back(slope: Array) -> tuple[Array, dict[str, Array]]:
        penalty = layer.l1 * np.sign(weights) + 2 * layer.l2 * weights
        gradients = {"weights": x.T @ slope + penalty}
        if layer.use_bias:
            gradients["bias"] = slope.sum(axis=0)
        return slope @ weights.T, gradients

    return Pass(x @ weights + (parameters["bias"] if layer.use_bias else 0), back)


def of_each_number(equation: Callable[[Any, Array], tuple[Array, Array]]) -> Equation:
    """A layer whose equation gives output and derivative, number by number."""

    def run(layer: Any, parameters: Mapping[str, Array], x: Array, generator: np.random.Generator) -> Pass:
        output, derivative = equation(layer, x)
        return Pass(output, lambda slope: (slope * derivative, {}))

    return run


def erf(x: Array) -> Array:
    """The standard library's, one number after the other."""
    return np.array([math.erf(each) for each in x.ravel().tolist()]).reshape(x.shape)


def gelu(layer: GELU, x: Array) -> tuple[Array, Array]:
    """``x·Φ(x)``, with Φ by the error function or by tanh."""
    if layer.approximate == "none":
        share = (1 + erf(x / math.sqrt(2))) / 2
        return x * share, share + x * np.exp(-(x**2) / 2) / math.sqrt(2 * math.pi)
    root = math.sqrt(2 / math.pi)
    t = np.tanh(root * (x + 0.044715 * x**3))
    return x * (1 + t) / 2, (1 + t) / 2 + x / 2 * (1 - t**2) * root * (1 + 3 * 0.044715 * x**2)


def logistic(x: Array) -> Array:
    """``1/(1 + exp(-x))``."""
    return np.asarray(np.where(x > 0, 1 / (1 + np.exp(-np.abs(x))), np.exp(-np.abs(x)) / (1 + np.exp(-np.abs(x)))))


def silu(layer: Any, x: Array) -> tuple[Array, Array]:
    """``x·σ(x)``."""
    s = logistic(x)
    return x * s, s + x * s * (1 - s)


def bent(x: Array, above: float, below: Array, below_derivative: Array | float) -> tuple[Array, Array]:
    """``above·x`` if x > 0, else ``below``."""
    return np.where(x > 0, above * x, below), np.where(x > 0, above, below_derivative)


def softmax_layer(layer: Any, parameters: Mapping[str, Array], x: Array, generator: np.random.Generator) -> Pass:
    """Its Jacobian, sample by sample."""
    s = softmax(x)
    return Pass(s, lambda slope: (np.array([softmax_jacobian(p) @ g for p, g in zip(s, slope, strict=True)]), {}))


def dropout(layer: Dropout, parameters: Mapping[str, Array], x: Array, generator: np.random.Generator) -> Pass:
    """``x·k/(1 − rate)``, k = 1 if a draw is at least rate, else 0."""
    factor = (layer.rate <= generator.random(x.T.shape).T) / (1 - layer.rate)
    return Pass(x * factor, lambda slope: (slope * factor, {}))


def gaussian_noise(
    layer: GaussianNoise, parameters: Mapping[str, Array], x: Array, generator: np.random.Generator
) -> Pass:
    """``x + stddev·n``."""
    return Pass(x + layer.stddev * generator.standard_normal(x.T.shape).T, lambda slope: (slope, {}))


def normalization(axis: int) -> Equation:
    """``γ(x − μ)/√(σ² + ε) + β`` with mean and variance along ``axis``; back step by step, by the chain rule."""

    def run(layer: Any, parameters: Mapping[str, Array], x: Array, generator: np.random.Generator) -> Pass:
        count = x.shape[axis]
        centred = x - x.mean(axis=axis, keepdims=True)
        variance = (centred**2).mean(axis=axis, keepdims=True)
        root = np.sqrt(variance + layer.epsilon)

        def back(slope: Array) -> tuple[Array, dict[str, Array]]:
            of_normalized = slope * parameters["gamma"]
            of_root = -(of_normalized * centred).sum(axis=axis, keepdims=True) / root**2
            of_centred = of_normalized / root + of_root / (2 * root) * 2 * centred / count
            of_x = of_centred - of_centred.mean(axis=axis, keepdims=True)
            return of_x, {"gamma": (slope * centred / root).sum(axis=0), "beta": slope.sum(axis=0)}

        return Pass(parameters["gamma"] * centred / root + parameters["beta"], back)

    return run


#: By the names of ``nncore.LAYERS``.
LAYERS: dict[str, Equation] = {
    "dense": dense,
    "relu": of_each_number(lambda layer, x: bent(x, 1, 0 * x, 0)),
    "leaky_relu": of_each_number(lambda layer, x: bent(x, 1, layer.negative_slope * x, layer.negative_slope)),
    "elu": of_each_number(lambda layer, x: bent(x, 1, layer.alpha * (np.exp(x) - 1), layer.alpha * np.exp(x))),
    "selu": of_each_number(
        lambda layer, x: bent(
            x, 1.0507009873554805, 1.7580993408473766 * (np.exp(x) - 1), 1.7580993408473766 * np.exp(x)
        )
    ),
    "gelu": of_each_number(gelu),
    "silu": of_each_number(silu),
    "tanh": of_each_number(lambda layer, x: (np.tanh(x), 1 / np.cosh(x) ** 2)),
    "sigmoid": of_each_number(lambda layer, x: (logistic(x), logistic(x) * logistic(-x))),
    "softplus": of_each_number(lambda layer, x: (np.log(1 + np.exp(x)), logistic(x))),
    "softmax": softmax_layer,
    "dropout": dropout,
    "gaussian_noise": gaussian_noise,
    "batch_norm": normalization(0),
    "layer_norm": normalization(1),
}


def loss_and_gradients(
    layers: Sequence[Layer],
    parameters: Mapping[str, Array],
    x: Array,
    labels: Array,
    generator: np.random.Generator | None = None,
) -> tuple[float, dict[str, Array]]:
    """Mean cross-entropy plus penalties, and their gradient by each parameter's name.

    ``generator`` is in the state of the run's generator; layers without noise need none.
    """
    names = [f"{index}_{layer_type(layer)}" for index, layer in enumerate(layers)]
    own = [
        {key.partition("/")[2]: value for key, value in parameters.items() if key.startswith(f"{name}/")}
        for name in names
    ]
    passes: list[Pass] = []
    for layer, values in zip(layers, own, strict=True):
        y = passes[-1].output if passes else x
        passes.append(LAYERS[layer_type(layer)](layer, values, y, generator or np.random.default_rng()))
    samples, true = len(x), np.eye(passes[-1].output.shape[1])[labels]
    loss = -np.log((passes[-1].output * true).sum(axis=1)).mean()
    for name, layer in zip(names, layers, strict=True):
        weights = parameters.get(f"{name}/weights", np.zeros(0))
        loss += getattr(layer, "l1", 0) * np.abs(weights).sum() + getattr(layer, "l2", 0) * (weights**2).sum()

    gradients = {}
    slope = (passes[-1].output - true) / samples
    for name, each in zip(reversed(names[:-1]), reversed(passes[:-1]), strict=True):
        slope, found = each.back(slope)
        gradients |= {f"{name}/{key}": value for key, value in found.items()}
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
