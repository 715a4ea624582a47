"""Initial weights of a dense layer, drawn in float64 so that both precisions start from the same numbers.

he_normal: He et al. 2015, variance 2/n_inputs, from a normal cut at two standard deviations as Keras does: the far
tail makes no better starts and some much worse (docs/decisions/0001-he-normal-is-truncated.md).
glorot_uniform: Glorot & Bengio 2010, U(±√(6/(n_inputs + n_units))).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import numpy as np

from nncore.arrays import Array

__all__ = ["INITIALIZERS", "Initializer"]

Initializer = Literal["he_normal", "glorot_uniform", "standard_normal", "zeros"]


#: Standard deviation of a standard normal cut at ±2.
_TRUNCATED_DEVIATION = 0.879_625_661_034_239_78


def _he_normal(generator: np.random.Generator, inputs: int, units: int) -> Array:
    weights = generator.standard_normal((inputs, units))
    while (outside := np.abs(weights) > 2.0).any():
        weights[outside] = generator.standard_normal(np.count_nonzero(outside))
    return weights * (math.sqrt(2.0 / inputs) / _TRUNCATED_DEVIATION)


def _glorot_uniform(generator: np.random.Generator, inputs: int, units: int) -> Array:
    limit = math.sqrt(6.0 / (inputs + units))
    return generator.uniform(-limit, limit, (inputs, units))


def _standard_normal(generator: np.random.Generator, inputs: int, units: int) -> Array:
    return generator.standard_normal((inputs, units))


def _zeros(generator: np.random.Generator, inputs: int, units: int) -> Array:
    return np.zeros((inputs, units))


INITIALIZERS: dict[Initializer, Callable[[np.random.Generator, int, int], Array]] = {
    "he_normal": _he_normal,
    "glorot_uniform": _glorot_uniform,
    "standard_normal": _standard_normal,
    "zeros": _zeros,
}
