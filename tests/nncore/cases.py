"""The one table of cases: every layer, loss, initializer and optimizer, each in several settings.

A member of nncore's tables without a case here fails ``test_cases.py``; a member with one runs through the gradient
check, the comparison of its two faces, the plain equations, the bounds of its fields and interruption.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

from nncore import (
    ELU,
    GELU,
    SELU,
    SGD,
    Adam,
    BatchNorm,
    CategoricalCrossentropy,
    Dense,
    Dropout,
    GaussianNoise,
    Layer,
    LayerNorm,
    LeakyReLU,
    Optimizer,
    ReLU,
    RMSProp,
    Sigmoid,
    SiLU,
    Softmax,
    Softplus,
    Tanh,
)


@dataclass(frozen=True)
class Distribution:
    """What initial weights of shape (inputs, units) must look like; all four as functions of (inputs, units).

    ``bound`` is the largest magnitude that can occur, ``within`` the share that lies within half of the bound,
    ``value`` what the initializer is given and ``mean`` what it makes of it.
    """

    variance: Callable[[int, int], float]
    bound: Callable[[int, int], float] = lambda inputs, units: math.inf
    within: float = 1.0
    value: float = 0.0
    mean: float = 0.0
    shapes: tuple[tuple[int, int], ...] = ((400, 300), (50, 2000), (20_000, 5))


def _truncated_at_two() -> tuple[float, float]:
    """Variance of a standard normal cut at ±2, and its share within ±1, by numerical integration."""
    steps = 200_000
    density = [(z := -2 + 4 * (i + 0.5) / steps, math.exp(-z * z / 2)) for i in range(steps)]
    total = math.fsum(p for _, p in density)
    return math.fsum(z * z * p for z, p in density) / total, math.fsum(p for z, p in density if abs(z) < 1) / total


_CUT_VARIANCE, _CUT_WITHIN_ONE = _truncated_at_two()

LAYERS: dict[str, tuple[Layer, ...]] = {
    "dense": (
        Dense(1),
        Dense(4),
        Dense(3, l2=0.05),
        Dense(6, initializer="glorot_uniform", l2=1.5),
        Dense(1, use_bias=False),
        Dense(5, use_bias=False, l1=0.3),
        Dense(2, initializer="constant", initializer_value=0.5, l1=0.02, l2=0.1, max_norm=1.5),
    ),
    "relu": (ReLU(),),
    "leaky_relu": (LeakyReLU(), LeakyReLU(negative_slope=0.0), LeakyReLU(negative_slope=0.7), LeakyReLU(1.0)),
    "elu": (ELU(), ELU(alpha=0.0), ELU(alpha=0.3), ELU(alpha=2.0)),
    "selu": (SELU(),),
    "gelu": (GELU(), GELU(approximate="tanh")),
    "silu": (SiLU(),),
    "tanh": (Tanh(),),
    "sigmoid": (Sigmoid(),),
    "softplus": (Softplus(),),
    "softmax": (Softmax(),),
    "dropout": (Dropout(0.0), Dropout(0.3), Dropout(0.9)),
    "gaussian_noise": (GaussianNoise(0.0), GaussianNoise(0.2), GaussianNoise(3.0)),
    "batch_norm": (BatchNorm(), BatchNorm(momentum=0.0, epsilon=1e-3), BatchNorm(momentum=0.5, epsilon=0.5)),
    "layer_norm": (LayerNorm(), LayerNorm(epsilon=1e-3), LayerNorm(epsilon=0.5)),
}

#: Layers whose training differs from their inference: they draw noise, or take a batch's statistics.
DIFFERENT_IN_TRAINING = ("dropout", "gaussian_noise", "batch_norm")

LOSSES: dict[str, tuple[CategoricalCrossentropy, ...]] = {"categorical_crossentropy": (CategoricalCrossentropy(),)}

INITIALIZERS: dict[str, Distribution] = {
    "he_normal": Distribution(
        variance=lambda inputs, units: 2 / inputs,
        bound=lambda inputs, units: 2 * math.sqrt(2 / inputs / _CUT_VARIANCE),
        within=_CUT_WITHIN_ONE,
    ),
    "he_uniform": Distribution(
        variance=lambda inputs, units: 2 / inputs,
        bound=lambda inputs, units: math.sqrt(6 / inputs),
        within=0.5,
    ),
    "glorot_normal": Distribution(
        variance=lambda inputs, units: 2 / (inputs + units),
        bound=lambda inputs, units: 2 * math.sqrt(2 / (inputs + units) / _CUT_VARIANCE),
        within=_CUT_WITHIN_ONE,
    ),
    "lecun_normal": Distribution(
        variance=lambda inputs, units: 1 / inputs,
        bound=lambda inputs, units: 2 * math.sqrt(1 / inputs / _CUT_VARIANCE),
        within=_CUT_WITHIN_ONE,
    ),
    "lecun_uniform": Distribution(
        variance=lambda inputs, units: 1 / inputs,
        bound=lambda inputs, units: math.sqrt(3 / inputs),
        within=0.5,
    ),
    "orthogonal": Distribution(variance=lambda inputs, units: 1 / max(inputs, units)),
    "glorot_uniform": Distribution(
        variance=lambda inputs, units: 2 / (inputs + units),
        bound=lambda inputs, units: math.sqrt(6 / (inputs + units)),
        within=0.5,
    ),
    "standard_normal": Distribution(variance=lambda inputs, units: 1.0),
    "zeros": Distribution(variance=lambda inputs, units: 0.0, bound=lambda inputs, units: 0.0),
    "constant": Distribution(
        variance=lambda inputs, units: 0.0, bound=lambda inputs, units: 0.25, within=0.0, value=-0.25, mean=-0.25
    ),
}

OPTIMIZERS: dict[str, tuple[Optimizer, ...]] = {
    "sgd": (
        SGD(),
        SGD(learning_rate=0.1, decay=0.05),
        SGD(learning_rate=0.05, momentum=0.9),
        SGD(learning_rate=0.05, momentum=0.9, nesterov=True),
        SGD(learning_rate=0.05, decay=0.02, momentum=0.5, nesterov=True),
        SGD(learning_rate=0.05, nesterov=True),
    ),
    "rmsprop": (
        RMSProp(),
        RMSProp(learning_rate=0.02, decay=0.05, rho=0.5, epsilon=1e-3),
        RMSProp(learning_rate=0.02, decay=0.05, rho=0.5, epsilon=1e-3, epsilon_mode="outside_sqrt"),
        RMSProp(epsilon_mode="outside_sqrt"),
        RMSProp(rho=0.0, epsilon=1e-2),
    ),
    "adam": (
        Adam(),
        Adam(learning_rate=0.02, decay=0.05, beta1=0.5, beta2=0.9, epsilon=1e-3),
        Adam(learning_rate=0.02, decay=0.05, beta1=0.5, beta2=0.9, epsilon=1e-3, epsilon_mode="outside_sqrt"),
        Adam(epsilon_mode="outside_sqrt"),
        Adam(beta1=0.0, beta2=0.0, epsilon=1e-2),
    ),
}


def every(cases: dict[str, tuple[Any, ...]]) -> list[Any]:
    """All cases of one table, for ``pytest.mark.parametrize``."""
    return [case for settings in cases.values() for case in settings]


def label(rule: object) -> str | None:
    """The id of a case in pytest's output: the rule with what differs from its defaults."""
    if not isinstance(rule, Layer | Optimizer | CategoricalCrossentropy):
        return None
    given = [
        f"{item.name}={getattr(rule, item.name)}" for item in fields(rule) if getattr(rule, item.name) != item.default
    ]
    return f"{type(rule).__name__}({' '.join(given)})"
