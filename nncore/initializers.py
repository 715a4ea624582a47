"""Initial weights of a dense layer, drawn in float64 so that float32 and float64 networks start from the same values.

- he_normal, he_uniform: variance 2/n_inputs (He et al. 2015).
- glorot_normal, glorot_uniform: variance 2/(n_inputs + n_units) (Glorot & Bengio 2010).
- lecun_normal, lecun_uniform: variance 1/n_inputs (LeCun et al. 1998); recommended for SELU.
- orthogonal: a uniformly distributed matrix with orthonormal columns, or orthonormal rows if there are more units than
  inputs (Saxe et al. 2014).
- standard_normal, zeros, constant: normal with variance 1, all 0, all equal to a value.

he_normal, glorot_normal and lecun_normal are truncated at two standard deviations before they are scaled to their
variance, as in Keras. Values further out make no start better and some much worse
(docs/decisions/0001-he-normal-is-truncated.md).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import numpy as np

from nncore.arrays import Array

__all__ = ["INITIALIZERS", "Initializer"]

Initializer = Literal[
    "he_normal",
    "he_uniform",
    "glorot_normal",
    "glorot_uniform",
    "lecun_normal",
    "lecun_uniform",
    "orthogonal",
    "standard_normal",
    "zeros",
    "constant",
]

#: Takes a generator, the number of inputs, the number of units, and the value for ``constant``.
Draw = Callable[[np.random.Generator, int, int, float], Array]

#: Standard deviation of a standard normal distribution truncated at ±2.
_TRUNCATED_DEVIATION = 0.879_625_661_034_239_78


def _cut_normal(variance: Callable[[int, int], float]) -> Draw:
    def draw(generator: np.random.Generator, inputs: int, units: int, value: float) -> Array:
        weights = generator.standard_normal((inputs, units))
        while (outside := np.abs(weights) > 2.0).any():
            weights[outside] = generator.standard_normal(np.count_nonzero(outside))
        return weights * (math.sqrt(variance(inputs, units)) / _TRUNCATED_DEVIATION)

    return draw


def _uniform(triple_variance: Callable[[int, int], float]) -> Draw:
    """Return a draw from U(±√(3·variance))."""

    def draw(generator: np.random.Generator, inputs: int, units: int, value: float) -> Array:
        limit = math.sqrt(triple_variance(inputs, units))
        return generator.uniform(-limit, limit, (inputs, units))

    return draw


def _orthogonal(generator: np.random.Generator, inputs: int, units: int, value: float) -> Array:
    q, r = np.linalg.qr(generator.standard_normal((max(inputs, units), min(inputs, units))))
    # QR alone is not uniformly distributed; multiplying by the signs of R's diagonal makes it so (Mezzadri 2007).
    q *= np.copysign(1.0, np.diagonal(r))
    return q if inputs >= units else np.ascontiguousarray(q.T)


def _standard_normal(generator: np.random.Generator, inputs: int, units: int, value: float) -> Array:
    return generator.standard_normal((inputs, units))


def _zeros(generator: np.random.Generator, inputs: int, units: int, value: float) -> Array:
    return np.zeros((inputs, units))


def _constant(generator: np.random.Generator, inputs: int, units: int, value: float) -> Array:
    return np.full((inputs, units), value)


INITIALIZERS: dict[Initializer, Draw] = {
    "he_normal": _cut_normal(lambda inputs, units: 2.0 / inputs),
    "he_uniform": _uniform(lambda inputs, units: 6.0 / inputs),
    "glorot_normal": _cut_normal(lambda inputs, units: 2.0 / (inputs + units)),
    "glorot_uniform": _uniform(lambda inputs, units: 6.0 / (inputs + units)),
    "lecun_normal": _cut_normal(lambda inputs, units: 1.0 / inputs),
    "lecun_uniform": _uniform(lambda inputs, units: 3.0 / inputs),
    "orthogonal": _orthogonal,
    "standard_normal": _standard_normal,
    "zeros": _zeros,
    "constant": _constant,
}
