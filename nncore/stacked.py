"""Prediction by several networks of one stack: for few rows, one batched product a layer computes all of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np

from nncore.arrays import Array
from nncore.layers import Dense, Dropout, GaussianNoise, Layer, Softmax
from nncore.network import Predictor, group_names

__all__ = ["StackedPredictor"]

#: Maximum number of rows for products of all members at once. For more rows, Python's share of the time is small, and
#: the activations of one member fit into a nearer cache than those of all.
FEW_ROWS = 32
#: Maximum bytes of a member's arrays for such products, which need a copy of all members. With more, reading the arrays
#: takes most of the time either way.
STACKED_BYTES = 2**20


class StackedPredictor:
    """Predicts with several sets of parameters and statistics, ``members``, of one stack of layers. Thread-safe.

    The members' arrays are not copied, but those of dense layers are kept a second time, stacked, if a member has at
    most ``STACKED_BYTES``. Raises ValueError if there are no members, or for the first array that is missing,
    unexpected or has the wrong shape.
    """

    def __init__(self, layers: Sequence[Layer], inputs: int, members: Sequence[Mapping[str, Array]]) -> None:
        if not members:
            raise ValueError("a stacked predictor needs at least one member. Received: none")
        #: One for each member.
        self.predictors = [Predictor(layers, inputs, member) for member in members]
        self.inputs, self.dtype = inputs, self.predictors[0].dtype
        #: The most rows that all members predict together.
        self._few_rows, self._steps = 0, []
        if sum(array.nbytes for array in members[0].values()) <= STACKED_BYTES:
            self._few_rows = FEW_ROWS
            self._steps = [
                _step(layer, [_group(member, group) for member in members])
                for group, layer in zip(group_names(layers), layers, strict=True)
                if not isinstance(layer, (Dropout, GaussianNoise))  # They do nothing at prediction.
            ]

    def predict_proba(self, x: Array) -> Array:
        """Return each member's probabilities (n_members, n_samples, n_classes) for ``x`` (n_samples, inputs).

        They are those of a ``Predictor`` of each member, up to rounding. Raises ValueError if ``x`` has another shape.
        """
        if x.ndim != 2 or x.shape[1] != self.inputs:
            raise ValueError(f"x must have shape (n_samples, {self.inputs}). Received: {x.shape}")
        y = np.asarray(x, self.dtype)
        if len(x) > self._few_rows:
            return np.stack([predictor.predict_proba(y) for predictor in self.predictors])
        y = np.broadcast_to(y, (len(self.predictors), *y.shape))
        with np.errstate(over="ignore", invalid="ignore"):  # The result shows an overflow as NaN.
            for step in self._steps:
                y = step(y)
        return y


def _group(member: Mapping[str, Array], group: str) -> dict[str, Array]:
    """The arrays of one layer, by name without the group."""
    return {name.partition("/")[2]: array for name, array in member.items() if name.partition("/")[0] == group}


def _step(layer: Layer, members: Sequence[Mapping[str, Array]]) -> Callable[[Array], Array]:
    """Return the function from a layer's inputs (n_members, n_samples, inputs) to its outputs, for all members."""
    if layer.elementwise or isinstance(layer, Softmax):
        return partial(layer.apply, {})
    if not isinstance(layer, Dense):
        return partial(_one_after_the_other, layer, members)
    weights = np.stack([member["weights"] for member in members])
    bias = np.stack([member["bias"] for member in members])[:, np.newaxis] if layer.use_bias else None
    return partial(_dense, weights, bias)


def _dense(weights: Array, bias: Array | None, x: Array) -> Array:
    y: Array = np.matmul(x, weights)
    if bias is not None:
        y += bias
    return y


def _one_after_the_other(layer: Layer, members: Sequence[Mapping[str, Array]], x: Array) -> Array:
    return np.stack([layer.apply(member, each) for member, each in zip(members, x, strict=True)])
