"""The fully connected layer."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np

from nncore.arrays import Array, Workspace
from nncore.hyperparameters import hyperparameter
from nncore.initializers import INITIALIZERS, Initializer
from nncore.layer import Calls, Layer, LayerArrays, LayerMemory, Signal

__all__ = ["Dense"]

#: Elements per block of the L1 penalty, which bounds the temporary memory that a step needs for it.
PIECE = 512
#: Minimum inputs per unit at which row-major input rows are multiplied in their own order and the result is transposed:
#: BLAS takes a sixth longer to read such rows as a transposed operand.
WIDE = 4


@dataclass(frozen=True)
class Dense(Layer):
    """Fully connected: ``y = x·W + b`` with W (inputs, units) and b (units,), or ``y = x·W`` without ``use_bias``.

    ``l1`` and ``l2`` add ``l1·Σ|W| + l2·ΣW²`` to the loss and ``l1·sign(W) + 2·l2·W`` to the gradient of W. The bias is
    not penalized. If ``max_norm`` is set, each update scales every unit's weights (a column of W) down to at most this
    2-norm (Srebro & Shraibman 2005; Hinton et al. 2012). ``rate`` multiplies the optimizer's learning rate for this
    layer, with its share of a decoupled weight decay.
    """

    units: int = hyperparameter(minimum=1, maximum=65_536, help="Number of outputs.")
    initializer: Initializer = hyperparameter(
        "he_normal", help="Distribution of the initial weights; the bias starts at 0."
    )
    initializer_value: float = hyperparameter(
        0.0, minimum=-1e6, maximum=1e6, help='Initial weight if the initializer is "constant"; ignored otherwise.'
    )
    use_bias: bool = hyperparameter(True, help="Whether to add a bias.")
    l1: float = hyperparameter(0.0, minimum=0.0, maximum=1e6, help="Coefficient of the L1 penalty l1·Σ|W|.")
    l2: float = hyperparameter(0.0, minimum=0.0, maximum=1e6, help="Coefficient of the L2 penalty l2·ΣW².")
    max_norm: float | None = hyperparameter(
        None, above=0.0, maximum=1e6, help="Maximum 2-norm of each unit's weights after an update. null: no limit."
    )
    rate: float = hyperparameter(
        1.0, minimum=0.0, maximum=1e6, help="Factor of the learning rate for this layer; 0: the layer does not learn."
    )

    in_place: ClassVar[bool] = False
    needs_output: ClassVar[bool] = False
    decaying: ClassVar[tuple[str, ...]] = ("weights",)

    @property
    def rate_factor(self) -> float:
        return self.rate

    def output_size(self, inputs: int) -> int:
        return self.units

    def parameter_shapes(self, inputs: int) -> dict[str, tuple[int, ...]]:
        weights = {"weights": (inputs, self.units)}
        return {**weights, "bias": (self.units,)} if self.use_bias else {**weights}

    def initial_parameters(self, inputs: int, generator: np.random.Generator) -> dict[str, Array]:
        weights = INITIALIZERS[self.initializer](generator, inputs, self.units, self.initializer_value)
        return {"weights": weights, "bias": np.zeros(self.units)} if self.use_bias else {"weights": weights}

    @property
    def regularized(self) -> bool:
        return self.l1 > 0.0 or self.l2 > 0.0

    def penalty(self, parameters: Mapping[str, Array]) -> float:
        weights = parameters["weights"].reshape(-1)
        penalty = self.l2 * float(weights @ weights) if self.l2 else 0.0
        if self.l1:
            pieces = range(0, weights.size, PIECE)
            penalty += self.l1 * math.fsum(float(np.abs(weights[start : start + PIECE]).sum()) for start in pieces)
        return penalty

    def constrain_calls(self, parameters: LayerArrays, workspace: Workspace) -> Calls:
        if self.max_norm is None:
            return []
        weights = parameters.named["weights"]
        squares, norms = workspace.scratch(weights.shape), np.empty(self.units, weights.dtype)
        limits = np.full(self.units, self.max_norm, weights.dtype)
        return [
            partial(np.multiply, weights, weights, out=squares),
            partial(np.add.reduce, squares, axis=0, out=norms),
            partial(np.sqrt, norms, out=norms),
            partial(np.maximum, norms, limits, out=norms),
            partial(np.divide, limits, norms, out=norms),
            partial(np.multiply, weights, norms, out=weights),
        ]

    def apply(self, parameters: Mapping[str, Array], x: Array) -> Array:
        y = x @ parameters["weights"]
        if self.use_bias:
            y += parameters["bias"]
        return y

    def plan(self, memory: LayerMemory, x: Signal, y: Signal) -> tuple[Calls, Calls]:
        weights, weights_gradient = memory.parameters.named["weights"], memory.gradients.named["weights"]
        # The bias directly follows the weights in memory, so both form one matrix. Its last row, the bias, is
        # multiplied by the input's row of ones.
        every_weight = memory.parameters.block.reshape(-1, self.units)
        every_gradient = memory.gradients.block.reshape(-1, self.units)
        rows = x.extended if self.use_bias else x.values
        assert y.gradient is not None
        forward: Calls = [partial(np.matmul, every_weight.T, rows, out=y.values)]
        if rows.strides[0] == rows.itemsize and len(rows) >= WIDE * self.units:
            by_sample = memory.workspace.scratch((rows.shape[1], self.units))
            forward = [
                partial(np.matmul, rows.T, every_weight, out=by_sample),
                partial(np.copyto, y.values, by_sample.T),
            ]
        backward: Calls = [partial(np.matmul, rows, y.gradient.T, out=every_gradient)]
        scratch = memory.workspace.scratch(weights.shape) if self.regularized else weights
        if self.l1:
            backward += [
                partial(np.sign, weights, out=scratch),
                partial(np.multiply, scratch, np.array(self.l1, weights.dtype), out=scratch),
                partial(np.add, weights_gradient, scratch, out=weights_gradient),
            ]
        if self.l2:
            backward += [
                partial(np.multiply, weights, np.array(2.0 * self.l2, weights.dtype), out=scratch),
                partial(np.add, weights_gradient, scratch, out=weights_gradient),
            ]
        if x.gradient is not None:
            backward.append(partial(np.matmul, weights, y.gradient, out=x.gradient))
        return forward, backward
