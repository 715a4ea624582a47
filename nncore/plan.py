"""The plan of a training step: every call of a forward and a backward pass, bound to its memory once and run often.

On small networks a step's price is its number of Python calls, on large ones its passes over memory. A plan looks
nothing up, creates no view and allocates nothing while it runs.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import numpy as np

from nncore.arrays import Array, NamedVector, Workspace
from nncore.layers import Calls, LayerArrays, LayerMemory, Signal
from nncore.losses import CategoricalCrossentropy, Loss
from nncore.network import Network

__all__ = ["BatchPlan", "LabelledRows"]


class LabelledRows(NamedTuple):
    """Rows with a last column of ones, (n_samples, inputs + 1), class numbers and, if they have any, weights."""

    rows: Array
    labels: Array
    weights: Array | None


class BatchPlan:
    """One training step up to the gradients, for a fixed number of samples.

    Fill ``rows`` (n_samples, inputs + 1; the last column ones), ``labels`` (n_samples,) and, where ``weighted``,
    ``weights`` (n_samples,), then ``run``: the gradients of the mean loss lie in the vector given, and ``loss_sum`` and
    ``hits`` tell the batch's score. ``data`` may be given instead, for a batch that is always the same.

    Plans that share a workspace share its memory: call ``take_over`` when another one ran in between.
    """

    def __init__(
        self,
        network: Network,
        gradients: NamedVector,
        samples: int,
        workspace: Workspace,
        generator: np.random.Generator,
        loss: Loss | None = None,
        data: LabelledRows | None = None,
        *,
        weighted: bool = False,
    ) -> None:
        workspace.rewind()
        self.samples, self.fixed = samples, data is not None
        self.rows, self.labels, self.weights = data or LabelledRows(
            workspace.array((samples, network.inputs + 1)),
            workspace.array((samples,), np.intp),
            workspace.array((samples,)) if weighted else None,
        )
        self._ones: list[Array] = []
        if data is None:
            self._ones.append(self.rows[:, -1])
        x = Signal(self.rows[:, :-1].T, self.rows.T, None)
        forward: Calls = []
        backward: list[Calls] = []
        kept = True  # Somebody needs the values of x: the data's owner, or a layer in its backward pass.
        # The softmax at the end is fused with the loss.
        for group, layer, size in zip(network.groups[:-1], network.layers[:-1], network.sizes[1:-1], strict=True):
            y = x
            if kept or not layer.in_place:
                y = self._signal(size, samples, workspace, x.gradient if layer.in_place else None)
            layer_forward, layer_backward = layer.plan(
                LayerMemory(
                    LayerArrays(network.parameters.group(group), network.parameters.block(group)),
                    LayerArrays(gradients.group(group), gradients.block(group)),
                    network.statistics.group(group),
                    workspace,
                    generator,
                ),
                x,
                y,
            )
            forward += layer_forward
            backward.append(layer_backward)
            x, kept = y, layer.needs_output
        if kept:
            y = self._signal(network.classes, samples, workspace, x.gradient)
            forward.append(partial(np.copyto, y.values, x.values))
            x = y
        self._loss = (loss or CategoricalCrossentropy()).plan_fused(x, self.labels, workspace, self.weights)
        self.calls: Calls = forward + self._loss.forward + self._loss.backward
        for layer_backward in reversed(backward):
            self.calls += layer_backward
        self.take_over()

    def _signal(self, features: int, samples: int, workspace: Workspace, gradient: Array | None) -> Signal:
        """New values, and the gradient given or a new one."""
        extended = workspace.array((features + 1, samples))
        self._ones.append(extended[-1])
        return Signal(extended[:-1], extended, workspace.array((features, samples)) if gradient is None else gradient)

    def take_over(self) -> None:
        """Set the rows of ones, which another plan over the same workspace has written over."""
        for ones in self._ones:
            ones.fill(1)

    def run(self) -> None:
        """Compute the batch's loss and the gradients of its mean."""
        for call in self.calls:
            call()

    @property
    def loss_sum(self) -> float:
        """Sum of the losses of the batch's samples, each by its weight, without penalties."""
        return -float(self._loss.total)

    @property
    def hits(self) -> int:
        """Number of samples whose most probable class was the true one."""
        return int(np.count_nonzero(self._loss.hits))
