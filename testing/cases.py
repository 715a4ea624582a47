"""The one table of cases: every layer, loss, initializer, optimizer and schedule, each in several settings.

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
    Adadelta,
    Adagrad,
    Adam,
    AdamW,
    BatchNorm,
    CategoricalCrossentropy,
    Constant,
    Cosine,
    Dense,
    Dropout,
    Exponential,
    FocalLoss,
    GaussianNoise,
    InverseTime,
    Layer,
    LayerNorm,
    LeakyReLU,
    Lion,
    Loss,
    NAdam,
    OneCycle,
    Optimizer,
    Piecewise,
    Polynomial,
    ReduceOnPlateau,
    ReLU,
    RMSProp,
    Schedule,
    Sigmoid,
    SiLU,
    Softmax,
    Softplus,
    Step,
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
        Dense(3, rate=0.5),
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

LOSSES: dict[str, tuple[Loss, ...]] = {
    "categorical_crossentropy": (CategoricalCrossentropy(), CategoricalCrossentropy(label_smoothing=0.2)),
    "focal": (FocalLoss(), FocalLoss(gamma=0.5), FocalLoss(gamma=5.0)),
}

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
        RMSProp(momentum=0.9),
        RMSProp(centered=True),
        RMSProp(learning_rate=0.005, decay=0.05, momentum=0.5, centered=True, epsilon=1e-3),
        RMSProp(rho=0.5, momentum=0.5, centered=True, epsilon=1e-3, epsilon_mode="outside_sqrt"),
    ),
    "adagrad": (
        Adagrad(),
        Adagrad(epsilon_mode="outside_sqrt"),
        Adagrad(learning_rate=0.1, decay=0.05, epsilon=1e-2),
        Adagrad(learning_rate=0.1, decay=0.05, epsilon=1e-2, epsilon_mode="outside_sqrt"),
    ),
    "adadelta": (
        Adadelta(),
        Adadelta(learning_rate=0.5, decay=0.05, rho=0.95, epsilon=1e-3),
        Adadelta(rho=0.0, epsilon=1e-2),
    ),
    "adam": (
        Adam(),
        Adam(learning_rate=0.02, decay=0.05, beta1=0.5, beta2=0.9, epsilon=1e-3),
        Adam(learning_rate=0.02, decay=0.05, beta1=0.5, beta2=0.9, epsilon=1e-3, epsilon_mode="outside_sqrt"),
        Adam(epsilon_mode="outside_sqrt"),
        Adam(beta1=0.0, beta2=0.0, epsilon=1e-2),
        Adam(amsgrad=True, beta2=0.9),
        Adam(amsgrad=True, beta2=0.5, epsilon=1e-3, epsilon_mode="outside_sqrt"),
    ),
    "adamw": (
        AdamW(),
        AdamW(weight_decay=0.0),
        AdamW(weight_decay=0.4, decay_biases=False),
        AdamW(learning_rate=0.02, decay=0.05, beta1=0.5, beta2=0.9, epsilon=1e-3, weight_decay=0.5),
        AdamW(epsilon_mode="outside_sqrt", amsgrad=True, beta2=0.9),
    ),
    "nadam": (
        NAdam(),
        NAdam(learning_rate=0.02, decay=0.05, beta1=0.5, beta2=0.9, epsilon=1e-3, momentum_decay=0.1),
        NAdam(epsilon_mode="outside_sqrt", momentum_decay=0.0),
        NAdam(beta1=0.0, beta2=0.0, epsilon=1e-2),
        NAdam(beta1=0.999, momentum_decay=1.0),
    ),
    "lion": (
        Lion(),
        Lion(learning_rate=0.003, decay=0.05, beta1=0.5, beta2=0.8, weight_decay=0.5),
        Lion(beta1=0.0, beta2=0.0),
        Lion(weight_decay=0.4, decay_biases=False),
    ),
}


SCHEDULES: dict[str, tuple[Schedule, ...]] = {
    "constant": (Constant(), Constant(warmup=2.0), Constant(warmup=0.5, warmup_from=0.0)),
    "inverse_time": (InverseTime(0.0), InverseTime(0.5), InverseTime(2.0, warmup=3.0)),
    "exponential": (Exponential(1.0), Exponential(0.9), Exponential(0.5, warmup=3.0)),
    "step": (Step(3.0), Step(1.5, gamma=0.5), Step(4.0, gamma=0.9, warmup=1.0)),
    "piecewise": (
        Piecewise((), ()),
        Piecewise((2.0,), (0.1,)),
        Piecewise((1.0, 3.5, 7.0), (0.5, 2.0, 0.0), warmup=2.0),
    ),
    "polynomial": (
        Polynomial(),
        Polynomial(end=0.1, power=2.0),
        Polynomial(end=0.25, power=0.5, duration=4.0),
        Polynomial(power=3.0, warmup=2.0),
    ),
    "cosine": (
        Cosine(),
        Cosine(end=0.1, warmup=2.0),
        Cosine(period=2.5),
        Cosine(end=0.01, period=1.0, period_factor=2.0),
        Cosine(period=0.7, period_factor=1.1, warmup=1.0),
    ),
    "one_cycle": (OneCycle(), OneCycle(start=0.1, rise=0.5, end=0.0), OneCycle(rise=0.2, warmup=1.0)),
    "reduce_on_plateau": (
        ReduceOnPlateau(),
        ReduceOnPlateau(factor=0.5, patience=0, min_delta=0.0),
        ReduceOnPlateau(factor=0.3, patience=2, min_delta=0.1, minimum=0.05, warmup=2.0),
    ),
}


def every(cases: dict[str, tuple[Any, ...]]) -> list[Any]:
    """All cases of one table, for ``pytest.mark.parametrize``."""
    return [case for settings in cases.values() for case in settings]


def label(rule: object) -> str | None:
    """The id of a case in pytest's output: the rule with what differs from its defaults."""
    if not isinstance(rule, Layer | Optimizer | Schedule | Loss):
        return None
    given = [
        f"{item.name}={getattr(rule, item.name)}" for item in fields(rule) if getattr(rule, item.name) != item.default
    ]
    return f"{type(rule).__name__}({' '.join(given)})"
