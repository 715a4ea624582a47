"""What a layer is: a frozen dataclass that holds hyperparameters and no run state.

A layer has two faces. ``apply`` is inference: samples-first ``(n_samples, n_features)`` in, a new array out, safe from
any number of threads. ``plan`` is training: it is called once, gets all the memory it will ever use, and answers with
the calls of a forward and of a backward pass, which are then run for every batch.

Inside a plan, arrays are features-first ``(n_features, n_samples)``: NumPy reduces along the first axis about five
times faster than along a short last one, and a matrix product takes a transposed operand for free.

The layers themselves are listed in ``nncore.layers``.
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

    #: The plan writes the output over the input where it can, and turns ``y.gradient`` into that of ``x`` in place.
    in_place: ClassVar[bool] = True
    #: The backward pass reads ``y.values``: a layer that follows must not write over them.
    needs_output: ClassVar[bool] = True
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

    def constrain_calls(self, parameters: LayerArrays, workspace: Workspace) -> Calls:
        """The calls that bring the parameters back within this layer's constraints, to be run after each update."""
        return []

    @abstractmethod
    def apply(self, parameters: Mapping[str, Array], x: Array) -> Array:
        """The output for ``x`` of shape (n_samples, inputs), in a new array; ``x`` is left as it is.

        ``parameters`` holds the statistics too.
        """

    @abstractmethod
    def plan(self, memory: LayerMemory, x: Signal, y: Signal) -> tuple[Calls, Calls]:
        """The calls that fill ``y.values`` from ``x.values``, and those that fill gradients from ``y.gradient``.

        With ``in_place``, ``y.gradient`` is the very array of ``x.gradient``, and ``y.values`` that of ``x.values``
        unless somebody else needs those. Where ``x.gradient`` is None, only parameters need gradients.
        """
