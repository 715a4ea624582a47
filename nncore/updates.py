"""Updates: from the gradients of a batch to new parameters, by an optimizer and by what goes with every optimizer."""

from __future__ import annotations

import math

import numpy as np

from nncore.arrays import Array, NamedVector
from nncore.network import Network
from nncore.optimizers import Optimizer

__all__ = ["Updates"]

#: Elements of an optimizer's vectors that are updated at a time once they outgrow the processor's caches.
PIECE = 65_536
WHOLE = 524_288


class Updates:
    """The vectors of an optimizer over one network, and how a batch's gradients change them and the parameters.

    ``vectors`` holds the optimizer's moments and, where it asks for them, ``average``, the moving average of the
    parameters, and ``accumulated``, the sum of the gradients of batches that wait for their update. ``count`` is the
    number of updates made.
    """

    def __init__(self, network: Network, optimizer: Optimizer, gradients: NamedVector) -> None:
        self.optimizer, self.count = optimizer, 0
        self._parameters, self._gradients = network.parameters, gradients
        shapes = network.parameters.shapes
        self.vectors = {name: NamedVector.zeros(shapes, network.dtype) for name in optimizer.vectors}
        if optimizer.average is not None:
            self.vectors["average"].vector[:] = network.parameters.vector
        self._pieces = self._cut_into_pieces()

    @property
    def evaluated(self) -> NamedVector:
        """The parameters that are evaluated and served: the moving average where there is one."""
        return self._parameters if self.optimizer.average is None else self.vectors["average"]

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
        optimizer, count, decay = self.optimizer, self.count, self.optimizer.average
        for parameters, gradients, moments, scratch in self._pieces:
            optimizer.update(parameters, gradients, moments, scratch, count, rate)
            if decay is not None:
                average = moments["average"]
                np.subtract(parameters, average, out=scratch)
                np.multiply(scratch, 1.0 - decay, out=scratch)
                np.add(average, scratch, out=average)
        self.count += 1
        return True

    def _clip(self) -> bool:
        """Bound the gradients' elements, then their norm."""
        gradients, bound, longest = self._gradients.vector, self.optimizer.clip_value, self.optimizer.clip_norm
        if bound is not None:
            np.clip(gradients, -bound, bound, out=gradients)
        if longest is None:
            return True
        norm = math.sqrt(float(gradients @ gradients))
        if norm > longest:
            np.multiply(gradients, longest / norm, out=gradients)
        return math.isfinite(norm)

    def _cut_into_pieces(self) -> list[tuple[Array, Array, dict[str, Array], Array]]:
        """Views of all vectors for one optimizer call each."""
        size = self._parameters.vector.size
        piece = size if size <= WHOLE else PIECE
        scratch = np.empty(min(piece, size), self._parameters.vector.dtype)
        return [
            (
                self._parameters.vector[start : start + piece],
                self._gradients.vector[start : start + piece],
                {name: each.vector[start : start + piece] for name, each in self.vectors.items()},
                scratch[: min(piece, size - start)],
            )
            for start in range(0, size, piece)
        ]
