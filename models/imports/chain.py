"""A network as a file from elsewhere is read: layers one after the other, each with its arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from models.errors import InvalidError
from nncore.arrays import Array
from nncore.layers import BatchNorm, Dense, Layer, LayerNorm, Softmax

__all__ = ["Chain", "Step", "refused"]

#: Layers while a file is read; those that only scale are merged afterwards.
MAXIMUM_STEPS = 1024
#: Units of a layer, as a definition may have them.
MAXIMUM_UNITS = 65_536
#: The layer that scales numbers as a file says.
_SCALING = BatchNorm()


def refused(place: str, wanted: str, received: object) -> InvalidError:
    """The refusal of what lies at ``place``, a JSON pointer into the file."""
    return InvalidError.at(place, f"{wanted}. Received: {received}")


class Step(NamedTuple):
    """A layer with its parameters and statistics by name, and its place in the file."""

    layer: Layer
    arrays: Mapping[str, Array]
    place: str


@dataclass(frozen=True, eq=False)
class Chain:
    """A network that reads rows of ``inputs`` numbers and whose last layer so far makes ``width`` of them.

    Methods return a longer chain. Those that take a ``place`` raise InvalidError there if the arrays do not fit.
    """

    inputs: int
    width: int
    steps: tuple[Step, ...] = ()

    @classmethod
    def begin(cls, inputs: int) -> Chain:
        """The chain before the first layer."""
        return cls(inputs, inputs)

    @property
    def last(self) -> Layer | None:
        """The last layer, None before the first one."""
        return self.steps[-1].layer if self.steps else None

    def then(self, place: str, layer: Layer, arrays: Mapping[str, Array] | None = None) -> Chain:
        """The chain with one more layer."""
        if len(self.steps) == MAXIMUM_STEPS:
            raise refused(place, f"the network must have at most {MAXIMUM_STEPS} layers", "more")
        step = Step(layer, arrays or {}, place)
        return replace(self, width=layer.output_size(self.width), steps=(*self.steps, step))

    def dense(self, place: str, weights: Array, bias: Array | None = None) -> Chain:
        """``x·W + b`` with W (width, units) and b of ``units`` numbers, in any shape that NumPy makes one row of."""
        if weights.ndim != 2 or weights.shape[0] != self.width or not weights.shape[1]:
            wanted = f"the weights must have the shape ({self.width}, units)"
            raise refused(place, wanted, f"shape {weights.shape}")
        units = weights.shape[1]
        if units > MAXIMUM_UNITS:
            raise refused(place, f"a layer must have at most {MAXIMUM_UNITS} units", units)
        if bias is None:
            return self.then(place, Dense(units, use_bias=False), {"weights": weights})
        return self.then(place, Dense(units), {"weights": weights, "bias": _row(place, bias, units)})

    def shifted(self, place: str, by: Array) -> Chain:
        """``x + by``: the bias of a layer that has none, else a layer that adds."""
        by = _row(place, by, self.width)
        if isinstance(self.last, Dense) and not self.last.use_bias:
            return self._instead(1, Dense(self.width), {**self.steps[-1].arrays, "bias": by})
        if isinstance(self.last, BatchNorm | LayerNorm) and not _moves_only(self.steps[-1].arrays):
            return self.scaled(place, np.zeros(1), np.ones(1), by)
        if isinstance(self.last, BatchNorm):
            arrays = self.steps[-1].arrays
            return self._instead(1, self.last, {**arrays, "running_mean": arrays["running_mean"] - by})
        return self.scaled(place, -by, np.ones(1))

    def scaled(self, place: str, center: Array, factor: Array, by: Array | None = None) -> Chain:
        """``(x - center)·factor + by``; each is one number, or one for each number of a row.

        A layer that scales already does this, too.
        """
        center, factor = _row(place, center, self.width), _row(place, factor, self.width)
        by = np.zeros(self.width) if by is None else _row(place, by, self.width)
        if isinstance(self.last, BatchNorm | LayerNorm):
            arrays = self.steps[-1].arrays
            beta = (arrays["beta"].astype(np.float64) - center) * factor + by
            gamma = arrays["gamma"].astype(np.float64) * factor
            return self._instead(1, self.last, {**arrays, "gamma": gamma, "beta": beta})
        arrays = {
            "gamma": factor,
            "beta": by,
            "running_mean": center,
            "running_variance": np.full(self.width, 1.0 - _SCALING.epsilon),
        }
        return self.then(place, _SCALING, arrays)

    def _instead(self, count: int, layer: Layer, arrays: Mapping[str, Array]) -> Chain:
        """The chain with one layer in place of the last ``count``."""
        step = Step(layer, arrays, self.steps[-count].place)
        return replace(self, steps=(*self.steps[:-count], step))

    def two_classes(self, place: str) -> Chain:
        """The probabilities of two classes by the logit z of the second one: the softmax of (-z/2, z/2)."""
        found = self._with_last_dense(place)
        arrays = {
            name: np.concatenate([array / -2, array / 2], axis=-1) for name, array in found.steps[-1].arrays.items()
        }
        return replace(found._instead(1, Dense(2, use_bias="bias" in arrays), arrays), width=2).then(place, Softmax())

    def softmax(self, place: str) -> Chain:
        """The probabilities of classes by their logits; a dense layer comes before them."""
        return self._with_last_dense(place).then(place, Softmax())

    def _with_last_dense(self, place: str) -> Chain:
        """The chain with a dense layer at its end: what only scales is merged into it, else the identity is added."""
        if isinstance(self.last, Dense):
            return self
        if isinstance(self.last, BatchNorm) and len(self.steps) > 1 and isinstance(self.steps[-2].layer, Dense):
            given, weights = self.steps[-2].arrays, self.steps[-2].arrays["weights"]
            scaling = {name: array.astype(np.float64) for name, array in self.steps[-1].arrays.items()}
            factor = scaling["gamma"] / np.sqrt(scaling["running_variance"] + self.last.epsilon)
            bias = (given.get("bias", np.zeros(1)) - scaling["running_mean"]) * factor + scaling["beta"]
            merged = {"weights": (weights * factor).astype(weights.dtype), "bias": bias}
            return self._instead(2, Dense(self.width), merged)
        if self.width > MAXIMUM_UNITS:
            raise refused(place, f"the layer before the softmax must have at most {MAXIMUM_UNITS} units", self.width)
        return self.then(place, Dense(self.width, use_bias=False), {"weights": np.eye(self.width, dtype="f4")})


def _moves_only(arrays: Mapping[str, Array]) -> bool:
    """Whether a layer that scales only subtracts so far."""
    return "running_mean" in arrays and bool((arrays["gamma"] == 1.0).all() and not arrays["beta"].any())


def _row(place: str, values: Array, width: int) -> Array:
    """Numbers as one row of ``width``; a single one is repeated."""
    flat = values.reshape(-1)
    if flat.size not in (1, width) or (values.ndim > 1 and values.shape[-1] != flat.size):
        raise refused(
            place, f"there must be one number, or one for each of the {width} in a row", f"shape {values.shape}"
        )
    return np.broadcast_to(flat, (width,))
