"""Networks: a stack of layers with its parameters and statistics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from nncore.arrays import Array, NamedVector
from nncore.layers import Layer, Softmax, layer_type
from nncore.streams import stream

__all__ = [
    "Dtype",
    "Network",
    "Predictor",
    "group_names",
    "initial_statistics",
    "layer_sizes",
    "parameter_shapes",
    "statistics_shapes",
]

Dtype = Literal["float32", "float64"]

#: Number of rows per forward pass, which limits the memory of a large prediction.
PREDICTION_ROWS = 1024


def layer_sizes(layers: Sequence[Layer], inputs: int) -> list[int]:
    """Return the number of features before the first layer and after each layer."""
    sizes = [inputs]
    for layer in layers:
        sizes.append(layer.output_size(sizes[-1]))
    return sizes


def group_names(layers: Sequence[Layer]) -> list[str]:
    """Return the name of each layer's group of parameters, ``index_type``."""
    return [f"{index}_{layer_type(layer)}" for index, layer in enumerate(layers)]


def parameter_shapes(layers: Sequence[Layer], inputs: int) -> dict[str, tuple[int, ...]]:
    """Return the shape of each parameter of a stack, by ``index_type/name``."""
    groups = zip(group_names(layers), layers, layer_sizes(layers, inputs), strict=False)
    return {
        f"{group}/{name}": shape
        for group, layer, size in groups
        for name, shape in layer.parameter_shapes(size).items()
    }


def initial_statistics(layers: Sequence[Layer], inputs: int) -> dict[str, Array]:
    """Return the initial value of each statistic of a stack, by ``index_type/name``."""
    groups = zip(group_names(layers), layers, layer_sizes(layers, inputs), strict=False)
    return {
        f"{group}/{name}": values
        for group, layer, size in groups
        for name, values in layer.initial_statistics(size).items()
    }


def statistics_shapes(layers: Sequence[Layer], inputs: int) -> dict[str, tuple[int, ...]]:
    """Return the shape of each statistic of a stack, by ``index_type/name``."""
    return {name: values.shape for name, values in initial_statistics(layers, inputs).items()}


class Predictor:
    """Predicts with the given parameters and statistics, which are not copied. Thread-safe.

    Raises ValueError for the first parameter or statistic that is missing, unexpected or has the wrong shape.
    """

    def __init__(self, layers: Sequence[Layer], inputs: int, parameters: Mapping[str, Array]) -> None:
        shapes = parameter_shapes(layers, inputs) | statistics_shapes(layers, inputs)
        for name in sorted(shapes.keys() ^ parameters.keys()):
            raise ValueError(f"{name}: {'missing' if name in shapes else 'not expected'}")
        for name, shape in shapes.items():
            if parameters[name].shape != shape:
                raise ValueError(f"{name}: expected shape {shape}, found {parameters[name].shape}")
        self.inputs = inputs
        groups: dict[str, dict[str, Array]] = {group: {} for group in group_names(layers)}
        for name in shapes:
            group, _, member = name.partition("/")
            groups[group][member] = parameters[name]
        #: Each layer with its parameters and statistics by name.
        self.steps = list(zip(layers, groups.values(), strict=True))
        self.dtype = next(iter(parameters.values())).dtype

    def predict_proba(self, x: Array) -> Array:
        """Return probabilities (n_samples, n_classes) for ``x`` (n_samples, inputs).

        A row whose activations overflow has NaN probabilities. Raises ValueError if ``x`` has the wrong shape.
        """
        if x.ndim != 2 or x.shape[1] != self.inputs:
            raise ValueError(f"x must have shape (n_samples, {self.inputs}). Received: {x.shape}")
        if len(x) <= PREDICTION_ROWS:
            return self._forward(x)
        starts = range(0, len(x), PREDICTION_ROWS)
        return np.concatenate([self._forward(x[start : start + PREDICTION_ROWS]) for start in starts])

    def _forward(self, x: Array) -> Array:
        y = np.asarray(x, self.dtype)
        with np.errstate(over="ignore", invalid="ignore"):  # The result shows an overflow as NaN.
            for layer, parameters in self.steps:
                y = layer.apply(parameters, y)
        return y


class Network:
    """A classifier: a stack of layers that ends in a softmax, with one vector of parameters and one of statistics.

    ``seed`` determines the initial weights. Raises ValueError if the last layer is not ``Softmax``, if no layer has
    parameters, if ``inputs`` is less than 1 or if ``dtype`` is not supported.
    """

    def __init__(self, layers: Sequence[Layer], inputs: int, seed: int = 0, dtype: Dtype = "float32") -> None:
        if not layers or not isinstance(layers[-1], Softmax):
            received = type(layers[-1]).__name__ if layers else "no layers"
            raise ValueError(f"the last layer must be Softmax(). Received: {received}")
        if inputs < 1:
            raise ValueError(f"inputs must be at least 1. Received: {inputs}")
        if dtype not in ("float32", "float64"):
            raise ValueError(f"dtype must be 'float32' or 'float64'. Received: {dtype!r}")
        self.layers, self.inputs, self.dtype = tuple(layers), inputs, np.dtype(dtype)
        self.sizes = layer_sizes(self.layers, inputs)
        self.classes = self.sizes[-1]
        self.groups = group_names(self.layers)
        self.parameters = NamedVector.zeros(parameter_shapes(self.layers, inputs), self.dtype)
        if not self.parameters:
            raise ValueError("the stack needs at least one layer with parameters, such as Dense. Received: none")
        generator = stream(seed, "weights")
        for group, layer, size in zip(self.groups, self.layers, self.sizes, strict=False):
            for name, value in layer.initial_parameters(size, generator).items():
                self.parameters[f"{group}/{name}"][...] = value
        statistics = initial_statistics(self.layers, inputs)
        self.statistics = NamedVector.zeros({name: each.shape for name, each in statistics.items()}, self.dtype)
        self.statistics.fill_from(statistics)
        self._predictor = Predictor(self.layers, inputs, {**self.parameters, **self.statistics})

    def predict_proba(self, x: Array) -> Array:
        """Return probabilities (n_samples, n_classes) for ``x`` (n_samples, inputs).

        Raises ValueError if ``x`` has the wrong shape.
        """
        return self._predictor.predict_proba(x)

    def penalty(self, parameters: NamedVector | None = None) -> float:
        """Return the penalty that regularization adds to the loss, for ``parameters`` or the network's own."""
        vector = self.parameters if parameters is None else parameters
        return sum(layer.penalty(vector.group(group)) for group, layer in zip(self.groups, self.layers, strict=True))

    @property
    def regularized(self) -> bool:
        """Whether any layer adds a penalty to the loss."""
        return any(layer.regularized for layer in self.layers)
