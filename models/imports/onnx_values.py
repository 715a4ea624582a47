"""What a name in an ONNX graph stands for while the graph is read.

A value is an array that the graph has as a constant (``Array``), the network up to there (``Chain``), a function of
each of its numbers (``Curve``), one of several inputs (``Column``), a part of a layer normalization (``Moment``), or
the class with the largest number (``Labels``).

A file may have an activation in several nodes, such as ``x·σ(x)`` or ``x/2·(1 + erf(x/√2))``. A ``Curve`` holds the
function's values at many points. It becomes the layer that has the same values there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from models.data.labels import Label
from models.errors import listed
from models.imports.chain import Chain, refused
from nncore.arrays import Array
from nncore.layers import ELU, GELU, SELU, Layer, LeakyReLU, ReLU, Sigmoid, SiLU, Softplus, Tanh

__all__ = [
    "POINTS",
    "Column",
    "Curve",
    "Input",
    "Labels",
    "Moment",
    "Value",
    "curve_of",
    "described",
    "is_logistic",
    "settled",
]

_FAR = np.logspace(1.1, 6, 40)
#: The points at which functions are compared.
POINTS: Array = np.concatenate([-_FAR[::-1], np.linspace(-12.0, 12.0, 1201), _FAR])
_ONE, _MINUS_ONE, _ZERO = (int(np.argmin(np.abs(POINTS - point))) for point in (1.0, -1.0, 0.0))
#: How far values may differ, absolutely or of the larger one: constants of a file are float32 numbers.
TOLERANCE = 2e-6

_FIXED: tuple[Layer, ...] = (ReLU(), Tanh(), Sigmoid(), Softplus(), SELU(), SiLU(), GELU(), GELU("tanh"))
NAMES = ("relu", "leaky_relu", "elu", "selu", "gelu", "silu", "tanh", "sigmoid", "softplus")


@dataclass(frozen=True, eq=False)
class Curve:
    """A function of each number of a chain by its values at ``POINTS``; ``place`` is the node that made it."""

    chain: Chain
    values: Array
    place: str

    @cached_property
    def settled(self) -> Chain:
        """The chain with the layer that has the curve's values. Raises InvalidError if there is none."""
        chain, values, place = self.chain, self.values, self.place
        rise, start = values[_ONE] - values[_ZERO], values[_ZERO]
        if _equal(values, rise * POINTS + start):
            if start == 0.0 and rise == 1.0:
                return chain
            if rise == 1.0:
                return chain.shifted(place, np.array([start]))
            return chain.scaled(place, np.zeros(1), np.array([rise]), np.array([start]))
        for layer in (*_FIXED, *_fitted(values)):
            known = _values(layer)
            if _equal(values, known):
                return chain.then(place, layer)
            factor = rise / (known[_ONE] - known[_ZERO])
            by = start - factor * known[_ZERO]
            if _equal(values, factor * known + by):
                return chain.then(place, layer).scaled(place, np.zeros(1), np.array([factor]), np.array([by]))
        wanted = f"each number must go through one of the activations {listed(NAMES)}"
        shown = ", ".join(f"{values[at]:.4g} at {POINTS[at]:.4g}" for at in (_MINUS_ONE, _ZERO, _ONE))
        raise refused(place, wanted, f"a function that is {shown}")


class Input(NamedTuple):
    """The rows as the graph reads them, with the sizes of each; ``flat`` is the chain of their numbers in order."""

    flat: Chain
    sizes: tuple[int, ...]


class Column(NamedTuple):
    """The input of this number among several of one column each."""

    place: int


class Moment(NamedTuple):
    """What a layer normalization of several nodes makes of a row x on its way.

    ``what`` is the "mean" of the row, the "centered" row, its "square", the "variance", "more" with ``epsilon`` added,
    and its root, the "deviation".
    """

    chain: Chain
    what: str
    epsilon: float = 0.0


class Labels(NamedTuple):
    """The class with the largest number, or its label if ``classes`` are there."""

    chain: Chain
    classes: Sequence[Label] | None = None


Value = Array | Chain | Curve | Input | Column | Moment | Labels


def curve_of(value: Chain | Curve, place: str) -> Curve:
    """A value as a function of the numbers of its chain."""
    return value if isinstance(value, Curve) else Curve(value, POINTS, place)


def is_logistic(curve: Curve) -> bool:
    """Whether it is the logistic function."""
    return _equal(curve.values, _values(Sigmoid()))


def settled(value: Chain | Curve) -> Chain:
    """The chain of a value, of a curve with its layer; the same one each time."""
    return value if isinstance(value, Chain) else value.settled


def _fitted(values: Array) -> list[Layer]:
    """The activations with a hyperparameter, which is read off the values, also if these are scaled."""
    found, rise = list[Layer](), values[_ONE] - values[_ZERO]
    for kind, at in ((LeakyReLU, _MINUS_ONE), (ELU, 0)):
        try:
            with np.errstate(all="ignore"):
                found.append(kind(float((values[_ZERO] - values[at]) / rise)))
        except ValueError:  # beyond its bounds
            continue
    return found


def _values(layer: Layer) -> Array:
    with np.errstate(all="ignore"):
        return layer.apply({}, POINTS[:, None])[:, 0]


def _equal(one: Array, other: Array) -> bool:
    return bool(np.isfinite(one).all()) and bool(
        (np.abs(one - other) <= TOLERANCE * np.maximum(1.0, np.abs(other))).all()
    )


def described(value: object) -> str:
    """A value for an error message."""
    if isinstance(value, np.ndarray):
        return f"a constant of shape {value.shape}"
    if isinstance(value, Chain | Curve):
        return "what the network computes"
    if isinstance(value, Moment):
        return f"the {value.what} of rows"
    return "labels" if isinstance(value, Labels) else "the graph's input"
