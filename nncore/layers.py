"""Layers: frozen dataclasses that hold hyperparameters and no run state.

A layer has two faces. ``apply`` is inference: samples-first ``(n_samples, n_features)`` in, a new array out, safe from
any number of threads. ``plan`` is training: it is called once, gets all the memory it will ever use, and answers with
the calls of a forward and of a backward pass, which are then run for every batch.

Inside a plan, arrays are features-first ``(n_features, n_samples)``: NumPy reduces along the first axis about five
times faster than along a short last one, and a matrix product takes a transposed operand for free.

To add a layer: one class here, one line in ``LAYERS`` at the foot, one case in ``tests/nncore/cases.py``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, NamedTuple

import numpy as np

from nncore.arrays import Array, Workspace
from nncore.hyperparameters import check_hyperparameters, hyperparameter
from nncore.initializers import INITIALIZERS, Initializer

__all__ = ["LAYERS", "Calls", "Dense", "Layer", "LayerArrays", "LayerMemory", "ReLU", "Signal", "Softmax", "layer_type"]

Calls = list[Callable[[], object]]


class Signal(NamedTuple):
    """What passes between two layers of a plan, features-first.

    ``extended`` is ``values`` with one more row, of ones, below: a bias that rides in the matrix product costs
    nothing, a broadcast one costs more than an elementwise product. ``gradient`` is None where nobody needs it.
    """

    values: Array
    extended: Array
    gradient: Array | None


class LayerArrays(NamedTuple):
    """One layer's parameters or their gradients: by name, and all of them as one flat block in declared order."""

    named: Mapping[str, Array]
    block: Array


class LayerMemory(NamedTuple):
    """All that a layer's plan may use beside its signals.

    ``statistics`` are the layer's own arrays that no gradient reaches, ``generator`` is the training run's stream of
    noise, whose state is part of the training state: a plan keeps the object and draws from it in its calls.
    """

    parameters: LayerArrays
    gradients: LayerArrays
    statistics: Mapping[str, Array]
    workspace: Workspace
    generator: np.random.Generator


@dataclass(frozen=True)
class Layer(ABC):
    """One step of a network from ``(n_samples, inputs)`` to ``(n_samples, output_size(inputs))``."""

    #: The plan may write the output over the input: the backward pass needs the output alone.
    in_place: ClassVar[bool] = True
    #: Works on each number by itself and needs no hyperparameter: may stand between dense layers as their activation.
    elementwise: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_hyperparameters(self)

    def output_size(self, inputs: int) -> int:
        """Number of features that come out where ``inputs`` go in."""
        return inputs

    def parameter_shapes(self, inputs: int) -> dict[str, tuple[int, ...]]:
        """Shape of each parameter by name, in the order in which they lie in memory."""
        return {}

    def initial_parameters(self, inputs: int, generator: np.random.Generator) -> dict[str, Array]:
        """Fresh values for each parameter, float64."""
        return {}

    def initial_statistics(self, inputs: int) -> dict[str, Array]:
        """Fresh values, float64, for each array that is saved and served like a parameter but not trained."""
        return {}

    @property
    def regularized(self) -> bool:
        """Whether this layer adds a penalty to the loss."""
        return False

    def penalty(self, parameters: Mapping[str, Array]) -> float:
        """What this layer's regularization adds to the loss."""
        return 0.0

    @abstractmethod
    def apply(self, parameters: Mapping[str, Array], x: Array) -> Array:
        """The output for ``x`` of shape (n_samples, inputs), in a new array; ``x`` is left as it is.

        ``parameters`` holds the statistics too.
        """

    @abstractmethod
    def plan(self, memory: LayerMemory, x: Signal, y: Signal) -> tuple[Calls, Calls]:
        """The calls that fill ``y.values`` from ``x.values``, and those that fill gradients from ``y.gradient``.

        With ``in_place``, ``x`` and ``y`` are the same signal.
        """


@dataclass(frozen=True)
class Dense(Layer):
    """Fully connected: ``y = x·W + b``, W of shape (inputs, units), b of shape (units,).

    ``l2`` adds ``l2·ΣW²`` to the loss and ``2·l2·W`` to the gradient of W; the bias is not penalized.
    """

    units: int = hyperparameter(minimum=1, maximum=65_536, help="Number of outputs.")
    initializer: Initializer = hyperparameter("he_normal", help="Distribution of the initial weights; biases are 0.")
    l2: float = hyperparameter(0.0, minimum=0.0, maximum=1e6, help="Weight of the penalty l2·ΣW².")

    in_place: ClassVar[bool] = False

    def output_size(self, inputs: int) -> int:
        return self.units

    def parameter_shapes(self, inputs: int) -> dict[str, tuple[int, ...]]:
        return {"weights": (inputs, self.units), "bias": (self.units,)}

    def initial_parameters(self, inputs: int, generator: np.random.Generator) -> dict[str, Array]:
        weights = INITIALIZERS[self.initializer](generator, inputs, self.units)
        return {"weights": weights, "bias": np.zeros(self.units)}

    @property
    def regularized(self) -> bool:
        return self.l2 > 0.0

    def penalty(self, parameters: Mapping[str, Array]) -> float:
        weights = parameters["weights"].reshape(-1)
        return self.l2 * float(weights @ weights)

    def apply(self, parameters: Mapping[str, Array], x: Array) -> Array:
        y = x @ parameters["weights"]
        y += parameters["bias"]
        return y

    def plan(self, memory: LayerMemory, x: Signal, y: Signal) -> tuple[Calls, Calls]:
        weights, weights_gradient = memory.parameters.named["weights"], memory.gradients.named["weights"]
        # The bias lies right behind the weights, so both are one matrix whose last row meets the input's row of ones.
        extended_weights = memory.parameters.block.reshape(-1, self.units)
        extended_gradient = memory.gradients.block.reshape(-1, self.units)
        assert y.gradient is not None
        forward: Calls = [partial(np.matmul, extended_weights.T, x.extended, out=y.values)]
        backward: Calls = [partial(np.matmul, x.extended, y.gradient.T, out=extended_gradient)]
        if self.l2:
            scratch = memory.workspace.scratch(weights.shape)
            backward.append(partial(np.multiply, weights, 2.0 * self.l2, out=scratch))
            backward.append(partial(np.add, weights_gradient, scratch, out=weights_gradient))
        if x.gradient is not None:
            backward.append(partial(np.matmul, weights, y.gradient, out=x.gradient))
        return forward, backward


@dataclass(frozen=True)
class ReLU(Layer):
    """Rectified linear: ``y = max(0, x)``; the gradient is 0 where ``x ≤ 0``."""

    elementwise: ClassVar[bool] = True

    def apply(self, parameters: Mapping[str, Array], x: Array) -> Array:
        return np.maximum(x, 0)

    def plan(self, memory: LayerMemory, x: Signal, y: Signal) -> tuple[Calls, Calls]:
        assert y.gradient is not None
        # An array of zeros, since NumPy compares with a scalar about four times slower.
        zeros, mask = memory.workspace.zeros(y.values.shape), memory.workspace.scratch(y.values.shape)
        integer, sign = (np.int32, 31) if mask.dtype == np.float32 else (np.int64, 63)
        shift = np.array(sign, integer)
        gradient_bits, mask_bits = y.gradient.view(integer), mask.view(integer)
        forward: Calls = [partial(np.maximum, x.values, zeros, out=y.values)]
        # 0 - y has its sign bit set only where y > 0; spread over the word it keeps or clears the gradient's bits.
        # A boolean mask would be converted to floats in passing, which takes about half as long again.
        backward: Calls = [
            partial(np.subtract, zeros, y.values, out=mask),
            partial(np.right_shift, mask_bits, shift, out=mask_bits),
            partial(np.bitwise_and, gradient_bits, mask_bits, out=gradient_bits),
        ]
        return forward, backward


@dataclass(frozen=True)
class Softmax(Layer):
    """``S_ij = exp(z_ij - max_l z_il) / Σ_l exp(z_il - max_l z_il)``, with its exact backward.

    ``∂S_ij/∂z_ik = S_ij(δ_jk - S_ik)``, applied to an incoming gradient g as the Jacobian-vector product
    ``∂L/∂z = S∘g - S∘Σ_j g_ij S_ij``.
    """

    def apply(self, parameters: Mapping[str, Array], x: Array) -> Array:
        y: Array = x - np.maximum.reduce(x, axis=1, keepdims=True)
        np.exp(y, out=y)
        y /= np.add.reduce(y, axis=1, keepdims=True)
        return y

    def forward_calls(self, x: Array, y: Array, workspace: Workspace) -> Calls:
        """The calls that fill ``y`` from ``x``, both (n_classes, n_samples); they may be the same array."""
        row = workspace.array((x.shape[1],))
        return [
            partial(np.maximum.reduce, x, axis=0, out=row),
            partial(np.subtract, x, row, out=y),
            partial(np.exp, y, out=y),
            partial(np.add.reduce, y, axis=0, out=row),
            partial(np.divide, y, row, out=y),
        ]

    def plan(self, memory: LayerMemory, x: Signal, y: Signal) -> tuple[Calls, Calls]:
        assert y.gradient is not None
        forward = self.forward_calls(x.values, y.values, memory.workspace)
        product, row = memory.workspace.scratch(y.values.shape), memory.workspace.array((y.values.shape[1],))
        backward: Calls = [
            partial(np.multiply, y.gradient, y.values, out=y.gradient),
            partial(np.add.reduce, y.gradient, axis=0, out=row),
            partial(np.multiply, y.values, row, out=product),
            partial(np.subtract, y.gradient, product, out=y.gradient),
        ]
        return forward, backward


LAYERS: dict[str, type[Layer]] = {
    "dense": Dense,
    "relu": ReLU,
    "softmax": Softmax,
}


def layer_type(layer: Layer) -> str:
    """The name under which a layer's class stands in ``LAYERS``."""
    return next(name for name, member in LAYERS.items() if member is type(layer))
