"""Updates: from the gradients of a batch to new parameters, by an optimizer and by what goes with every optimizer."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from itertools import chain

import numpy as np

from nncore.arrays import Array, NamedVector, Workspace
from nncore.layers import LayerArrays
from nncore.network import Network
from nncore.optimizers import Optimizer

__all__ = ["Updates"]

#: Elements of an optimizer's vectors that are updated at a time once they outgrow the processor's caches.
PIECE = 65_536
WHOLE = 524_288


#: Views of parameters, gradients and every other vector, and memory to work in.
Piece = tuple[Array, Array, dict[str, Array], Array]


class Updates:
    """The vectors of an optimizer over one network, and how a batch's gradients change them and the parameters.

    ``vectors`` holds the optimizer's moments and, where it asks for them, ``average``, the moving average of the
    parameters, and ``accumulated``, the sum of the gradients of batches that wait for their update. ``count`` is the
    number of updates made. Large vectors are worked on by ``threads`` at a time; the bits do not depend on how many.
    """

    def __init__(self, network: Network, optimizer: Optimizer, gradients: NamedVector, threads: int = 1) -> None:
        self.optimizer, self.count = optimizer, 0
        self._parameters, self._gradients = network.parameters, gradients
        shapes = network.parameters.shapes
        #: The moving average of the statistics, which must go with that of the parameters; None where there is neither.
        self.averaged_statistics: NamedVector | None = None
        self._statistics = network.statistics
        self.vectors = {name: NamedVector.zeros(shapes, network.dtype) for name in optimizer.vectors}
        if optimizer.average is not None:
            self.vectors["average"].vector[:] = network.parameters.vector
            self.averaged_statistics = NamedVector(network.statistics.shapes, network.statistics.vector.copy())
        # NumPy lets go of the interpreter's lock while it computes.
        self._shares = self._cut_into_shares(threads)
        self._pool = ThreadPoolExecutor(len(self._shares) - 1) if len(self._shares) > 1 else None
        workspace = Workspace(network.dtype)
        self._constraints = [
            call
            for group, layer in zip(network.groups, network.layers, strict=True)
            for call in layer.constrain_calls(
                LayerArrays(network.parameters.group(group), network.parameters.block(group)), workspace
            )
        ]

    @property
    def evaluated(self) -> NamedVector:
        """The parameters that are evaluated and served: the moving average where there is one."""
        return self._parameters if self.optimizer.average is None else self.vectors["average"]

    @property
    def evaluated_statistics(self) -> NamedVector:
        """The statistics that go with ``evaluated``."""
        return self._statistics if self.averaged_statistics is None else self.averaged_statistics

    def accumulate(self, rows: int) -> None:
        """Keep a batch's gradients, of its mean loss over ``rows`` rows, for an update to come."""
        gradients = self._gradients.vector
        np.multiply(gradients, rows, out=gradients)
        accumulated = self.vectors["accumulated"].vector
        np.add(accumulated, gradients, out=accumulated)

    def average_accumulated(self, rows: int) -> None:
        """Turn the gradients kept, of ``rows`` rows in all, into those of one batch."""
        accumulated = self.vectors["accumulated"].vector
        np.multiply(accumulated, 1.0 / rows, out=self._gradients.vector)
        accumulated.fill(0)

    def apply(self, rate: float) -> bool:
        """Change the parameters by the gradients; False where these are not finite, and nothing was changed."""
        if not self._clip():
            return False
        first, *rest = self._shares
        others = [self._pool.submit(self._update_quietly, share, rate) for share in rest] if self._pool else []
        self._update(first, rate)
        for other in others:
            other.result()
        for call in self._constraints:
            call()
        if self.optimizer.average is not None:
            self._average(1.0 - self.optimizer.average)
        self.count += 1
        return True

    def _update(self, pieces: list[Piece], rate: float) -> None:
        for parameters, gradients, moments, scratch in pieces:
            self.optimizer.update(parameters, gradients, moments, scratch, self.count, rate)

    def _update_quietly(self, pieces: list[Piece], rate: float) -> None:
        with np.errstate(all="ignore"):  # The caller's does not reach into another thread.
            self._update(pieces, rate)

    def _average(self, share: float) -> None:
        """Move the average towards the parameters by a share of the way."""
        for parameters, _, moments, scratch in chain.from_iterable(self._shares):
            np.subtract(parameters, moments["average"], out=scratch)
            np.multiply(scratch, share, out=scratch)
            np.add(moments["average"], scratch, out=moments["average"])
        if self.averaged_statistics:
            average = self.averaged_statistics.vector
            average += share * (self._statistics.vector - average)

    def _clip(self) -> bool:
        """Bound the gradients' elements, then their norm."""
        gradients, bound, longest = self._gradients.vector, self.optimizer.clip_value, self.optimizer.clip_norm
        if bound is not None:
            np.clip(gradients, -bound, bound, out=gradients)
        if longest is None:
            return True
        norm = _norm(gradients)
        if norm > longest and math.isfinite(norm):
            np.multiply(gradients, longest / norm, out=gradients)
        return math.isfinite(norm)

    def _cut_into_shares(self, threads: int) -> list[list[Piece]]:
        """The pieces of all vectors, one optimizer call each, dealt out to as many threads as there is work for."""
        size, dtype = self._parameters.vector.size, self._parameters.vector.dtype
        piece = size if size <= WHOLE else PIECE
        starts = range(0, size, piece)
        shares: list[list[Piece]] = []
        for number in range(min(threads, len(starts))):
            scratch = np.empty(piece, dtype)
            shares.append(
                [
                    (
                        self._parameters.vector[start : start + piece],
                        self._gradients.vector[start : start + piece],
                        {name: each.vector[start : start + piece] for name, each in self.vectors.items()},
                        scratch[: min(piece, size - start)],
                    )
                    for start in starts[number::threads]
                ]
            )
        return shares


def _norm(vector: Array) -> float:
    """The 2-norm, also where its square is beyond the vector's range."""
    square = float(vector @ vector)
    if math.isfinite(square):
        return math.sqrt(square)
    largest = max(float(vector.max()), -float(vector.min()))
    return float(np.linalg.norm(vector / largest)) * largest if math.isfinite(largest) else math.inf
