"""The plan of a training step: the calls of the forward and the backward pass, bound to their arrays once.

The cost of a step is dominated by Python calls on small networks and by passes over memory on large ones. While a plan
runs, it looks up no name, creates no view and allocates no memory.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np

from nncore.arrays import Array, NamedVector, Workspace
from nncore.kernels.choice import kernels
from nncore.kernels.kinds import Kind
from nncore.layers import Calls, LayerArrays, LayerMemory, Signal
from nncore.losses import CategoricalCrossentropy, Loss
from nncore.network import Network

__all__ = ["BatchPlan", "LabelledRows"]


class LabelledRows(NamedTuple):
    """Rows (n_samples, inputs + 1) with a last column of ones, class numbers and optional weights (n_samples,)."""

    rows: Array
    labels: Array
    weights: Array | None


class BatchPlan:
    """The loss and gradients of one batch with a fixed number of samples.

    ``run`` stores the gradients of the mean loss in ``gradients`` and sets ``loss_sum`` and ``hits``. The batch is in
    ``rows`` (n_samples, inputs + 1; the last column is ones), ``labels`` (n_samples,) and, if ``weighted``, ``weights``
    (n_samples,). They are filled before ``run``, or by the calls that ``gather`` returns for them, with which ``run``
    begins. If the batch is always the same, pass it as ``data`` instead.

    Plans with the same workspace share its memory. Call ``take_over`` before ``run`` if another plan ran in between.
    ``kind`` says how the calls run (see ``nncore.kernels.kinds``).
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
        gather: Callable[[LabelledRows], Calls] | None = None,
        kind: Kind = "numpy",
    ) -> None:
        workspace.rewind()
        self.samples, self.fixed = samples, data is not None
        batch = data or LabelledRows(
            workspace.array((samples, network.inputs + 1)),
            workspace.array((samples,), np.intp),
            workspace.array((samples,)) if weighted else None,
        )
        self.rows, self.labels, self.weights = batch
        self._ones: list[Array] = []
        if data is None:
            self._ones.append(self.rows[:, -1])
        x = Signal(self.rows[:, :-1].T, self.rows.T, None)
        forward: Calls = []
        backward: list[Calls] = []
        kept = True  # x must not be overwritten: it is the data, or a layer's backward pass reads it.
        # The last layer, the softmax, is fused with the loss.
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
        calls: Calls = [*(gather(batch) if gather and data is None else []), *forward]
        calls += self._loss.forward + self._loss.backward
        for layer_backward in reversed(backward):
            calls += layer_backward
        self.calls = kernels(kind)(calls, workspace.scratches, workspace.constants)
        self.take_over()

    def _signal(self, features: int, samples: int, workspace: Workspace, gradient: Array | None) -> Signal:
        """Allocate a signal; its gradient is ``gradient`` if given."""
        extended = workspace.array((features + 1, samples))
        self._ones.append(extended[-1])
        return Signal(extended[:-1], extended, workspace.array((features, samples)) if gradient is None else gradient)

    def take_over(self) -> None:
        """Restore the rows of ones, which another plan with the same workspace may have overwritten."""
        for ones in self._ones:
            ones.fill(1)

    def run(self) -> None:
        """Compute the batch's loss and the gradients of its mean."""
        for call in self.calls:
            call()

    @property
    def loss_sum(self) -> float:
        """Weighted sum of the losses of the batch's samples, without penalties."""
        return -float(self._loss.total)

    @property
    def hits(self) -> int:
        """Number of correctly classified samples."""
        return int(np.count_nonzero(self._loss.hits))
