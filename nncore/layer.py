"""The layer interface: a frozen dataclass that holds hyperparameters and no state.

``apply`` is for inference. It takes samples-first arrays ``(n_samples, n_features)``, returns a new array and is
thread-safe. ``plan`` is for training. It is called once with all the memory the layer needs and returns the calls of
the forward and the backward pass, which then run for every batch.

Inside a plan, arrays are features-first ``(n_features, n_samples)``. NumPy reduces along the first axis about five
times faster than along a short last axis, and a matrix product accepts a transposed operand at no cost.

All layers are listed in ``nncore.layers``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np

from nncore.arrays import Array, Workspace
from nncore.hyperparameters import check_hyperparameters

__all__ = ["Call", "Calls", "Layer", "LayerArrays", "LayerMemory", "Signal"]

Call = Callable[[], object]
Calls = list[Call]


class Signal(NamedTuple):
    """The activations between two layers of a plan and their gradient, features-first.

    ``extended`` is ``values`` followed by a row of ones. With it, the bias is part of the matrix product and costs
    nothing, while a broadcast addition costs more than an elementwise product. ``gradient`` is None if it is not
    needed.
    """

    values: Array
    extended: Array
    gradient: Array | None


class LayerArrays(NamedTuple):
    """A layer's parameters or gradients, by name and as one flat block in the order of ``parameter_shapes``."""

    named: Mapping[str, Array]
    block: Array


class LayerMemory(NamedTuple):
    """The memory that a layer's plan may use in addition to its signals.

    ``statistics`` are arrays that are updated without gradients, such as running means. ``generator`` is the run's
    noise stream. Its state is part of the training state, so a plan must draw from this object and not from a copy.
    """

    parameters: LayerArrays
    gradients: LayerArrays
    statistics: Mapping[str, Array]
    workspace: Workspace
    generator: np.random.Generator


@dataclass(frozen=True)
class Layer(ABC):
    """Base class of all layers, which map ``(n_samples, inputs)`` to ``(n_samples, output_size(inputs))``."""

    #: Whether the output may overwrite the input; the plan then turns ``y.gradient`` into that of ``x`` in place.
    in_place: ClassVar[bool] = True
    #: Whether the backward pass reads ``y.values``, so that the next layer must not overwrite them.
    needs_output: ClassVar[bool] = True
    #: Names of the parameters to which weight decay applies even if an optimizer spares biases.
    decaying: ClassVar[tuple[str, ...]] = ()
    #: Whether the layer is elementwise and has no required hyperparameter, so that it can be a definition's activation.
    elementwise: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_hyperparameters(self)

    def output_size(self, inputs: int) -> int:
        """Return the number of output features for ``inputs`` input features."""
        return inputs

    def parameter_shapes(self, inputs: int) -> dict[str, tuple[int, ...]]:
        """Return the shape of each parameter by name, in their order in memory."""
        return {}

    def initial_parameters(self, inputs: int, generator: np.random.Generator) -> dict[str, Array]:
        """Return the initial value of each parameter by name, in float64."""
        return {}

    def initial_statistics(self, inputs: int) -> dict[str, Array]:
        """Return the initial value of each statistic by name, in float64.

        Statistics are saved and used for predictions like parameters, but not trained.
        """
        return {}

    @property
    def rate_factor(self) -> float:
        """The factor of the learning rate for this layer's parameters."""
        return 1.0

    @property
    def regularized(self) -> bool:
        """Whether this layer adds a penalty to the loss."""
        return False

    def penalty(self, parameters: Mapping[str, Array]) -> float:
        """Return the penalty that this layer's regularization adds to the loss."""
        return 0.0

    def constrain_calls(self, parameters: LayerArrays, workspace: Workspace) -> Calls:
        """Return the calls that enforce this layer's constraints on its parameters; they run after each update."""
        return []

    @abstractmethod
    def apply(self, parameters: Mapping[str, Array], x: Array) -> Array:
        """Return the output for ``x`` of shape (n_samples, inputs) in a new array, without changing ``x``.

        ``parameters`` also contains the statistics.
        """

    @abstractmethod
    def plan(self, memory: LayerMemory, x: Signal, y: Signal) -> tuple[Calls, Calls]:
        """Return the calls of the forward and of the backward pass.

        The forward pass fills ``y.values`` from ``x.values``. The backward pass computes the gradients of the
        parameters and of ``x`` from ``y.gradient``. If ``in_place`` is set, ``y.gradient`` and ``x.gradient`` are the
        same array, and so are ``y.values`` and ``x.values`` unless ``x.values`` is needed later. If ``x.gradient`` is
        None, only the parameters need gradients.
        """
