"""Updates: apply an optimizer, gradient clipping, constraints and the moving average after each batch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np

from nncore.arrays import ALIGNMENT, Array, NamedVector, Workspace, aligned
from nncore.kernels.choice import kernels
from nncore.kernels.kinds import Kind
from nncore.layers import Calls, LayerArrays
from nncore.network import Network
from nncore.optimizer import UpdateMemory
from nncore.optimizers import Optimizer
from nncore.pieces import best_piece

__all__ = ["Updates"]

#: Elements up to which one thread updates a vector, if there are several.
ALONE = 1_048_576


class Updates:
    """Holds an optimizer's vectors for one network and applies its updates.

    ``vectors`` holds the optimizer's moments. If the optimizer uses them, it also holds ``average``, the moving average
    of the parameters, and ``accumulated``, the sum of the gradients since the last update. ``count`` is the number of
    updates so far. ``threads`` threads share the work on large vectors; the results do not depend on their number.
    ``kind`` says how the calls of an update run.
    """

    def __init__(
        self,
        network: Network,
        optimizer: Optimizer,
        gradients: NamedVector,
        threads: int = 1,
        kind: Kind = "numpy",
    ) -> None:
        self.optimizer, self.count, self._kind = optimizer, 0, kind
        self._clips = optimizer.clip_value is not None or optimizer.clip_norm is not None
        self._parameters, self._gradients = network.parameters, gradients
        shapes = network.parameters.shapes
        #: The moving average of the statistics; None if the parameters are not averaged.
        self.averaged_statistics: NamedVector | None = None
        self._statistics = network.statistics
        self.vectors = {name: NamedVector.zeros(shapes, network.dtype) for name in optimizer.vectors}
        if optimizer.average is not None:
            self.vectors["average"].vector[:] = network.parameters.vector
            self.averaged_statistics = NamedVector(network.statistics.shapes, network.statistics.vector.copy())
        self._share = np.zeros((), network.dtype)
        workspace = Workspace(network.dtype)
        #: The calls of the layers' constraints, and of the moving average if they come before it.
        self._after = [
            call
            for group, layer in zip(network.groups, network.layers, strict=True)
            for call in layer.constrain_calls(
                LayerArrays(network.parameters.group(group), network.parameters.block(group)), workspace
            )
        ]
        constrained = bool(self._after)
        #: For each stretch of the vectors with one factor of the learning rate, the cells that hold its factors.
        self._factors: list[tuple[float, list[Array]]] = []
        #: For each thread that has work, its calls.
        self._shares: list[Calls] = []
        decaying = [
            network.parameters.extent(f"{group}/{name}")
            for group, layer in zip(network.groups, network.layers, strict=True)
            for name in layer.decaying
        ]
        compiled = kernels(kind)
        for factor, start, stop in _stretches(network):
            cells = [np.zeros((), network.dtype) for _ in optimizer.factors(0, 0.0)]
            self._factors.append((factor, cells))
            for number, share in enumerate(self._cut_into_pieces(start, stop, threads, decaying)):
                if number == len(self._shares):
                    self._shares.append([])
                for piece in share:
                    calls = optimizer.plan(piece, cells)
                    if optimizer.average is not None:
                        averaging = _average_calls(piece, self._share)
                        if constrained:
                            self._after += averaging
                        else:
                            calls += averaging
                    self._shares[number] += compiled(calls, [piece.gradients, piece.scratch], ())
        self._after = compiled(self._after, workspace.scratches, workspace.constants)
        # Threads help because NumPy and compiled code release the GIL while they compute.
        self._pool = ThreadPoolExecutor(len(self._shares) - 1) if len(self._shares) > 1 else None

    @property
    def evaluated(self) -> NamedVector:
        """The parameters for evaluation and serving: the moving average, or the parameters without one."""
        return self._parameters if self.optimizer.average is None else self.vectors["average"]

    @property
    def evaluated_statistics(self) -> NamedVector:
        """The statistics that belong to ``evaluated``."""
        return self._statistics if self.averaged_statistics is None else self.averaged_statistics

    def accumulate(self, rows: int) -> None:
        """Add the gradients of a batch's mean loss, times its number of ``rows``, to the accumulated gradients."""
        gradients = self._gradients.vector
        np.multiply(gradients, rows, out=gradients)
        accumulated = self.vectors["accumulated"].vector
        np.add(accumulated, gradients, out=accumulated)

    def average_accumulated(self, rows: int) -> None:
        """Replace the gradients by the accumulated ones divided by ``rows``, their total number of rows; start over."""
        accumulated = self.vectors["accumulated"].vector
        np.multiply(accumulated, 1.0 / rows, out=self._gradients.vector)
        accumulated.fill(0)

    def apply(self, rate: float) -> bool:
        """Update the parameters with learning rate ``rate``.

        Returns False, without an update, if gradients are clipped by norm and the norm is not finite.
        """
        if self._clips and not self._clip():
            return False
        share = self.optimizer.average_share_at(self.count)
        self._share[()] = share
        for multiple, cells in self._factors:
            for cell, factor in zip(cells, self.optimizer.factors(self.count, rate * multiple), strict=True):
                cell[()] = factor
        if self._pool is None:
            _run(self._shares[0])
        else:
            first, *rest = self._shares
            others = [self._pool.submit(_run_quietly, share) for share in rest]
            _run(first)
            for other in others:
                other.result()
        _run(self._after)
        if self.averaged_statistics:
            average = self.averaged_statistics.vector
            average += share * (self._statistics.vector - average)
        self.count += 1
        return True

    def _clip(self) -> bool:
        """Clip the gradients by value, then by norm; return False if the norm is not finite."""
        gradients, bound, longest = self._gradients.vector, self.optimizer.clip_value, self.optimizer.clip_norm
        if bound is not None:
            np.clip(gradients, -bound, bound, out=gradients)
        if longest is None:
            return True
        norm = _norm(gradients)
        if norm > longest and math.isfinite(norm):
            np.multiply(gradients, longest / norm, out=gradients)
        return math.isfinite(norm)

    def _cut_into_pieces(
        self, first: int, last: int, threads: int, decaying: Sequence[tuple[int, int]]
    ) -> list[list[UpdateMemory]]:
        """Return, for each thread that has work, its pieces of all vectors from ``first`` to before ``last``.

        ``decaying`` are the stretches of the parameters that decay even if biases are spared.
        """
        size, dtype = last - first, self._parameters.vector.dtype
        sharing = 1 if size <= ALONE // threads else threads
        # A compiled update is one pass over memory; the passes of NumPy's calls are over pieces.
        piece = size if self._kind == "llvm" else best_piece(self.optimizer, dtype, size)
        count = sharing * math.ceil(size / (sharing * piece))
        # The same number of pieces per thread; each piece starts at a cache line.
        piece = math.ceil(size / count / ALIGNMENT) * ALIGNMENT
        starts = range(first, last, piece)
        shares: list[list[UpdateMemory]] = []
        for number in range(min(threads, len(starts))):
            scratch = aligned(piece, dtype)
            shares.append(
                [
                    UpdateMemory(
                        self._parameters.vector[start:stop],
                        self._gradients.vector[start:stop],
                        {name: each.vector[start:stop] for name, each in self.vectors.items()},
                        scratch[: stop - start],
                        tuple(
                            self._parameters.vector[max(begin, start) : min(end, stop)]
                            for begin, end in decaying
                            if begin < stop and start < end
                        ),
                    )
                    for start, stop in ((start, min(start + piece, last)) for start in starts[number::threads])
                ]
            )
        return shares


def _stretches(network: Network) -> list[tuple[float, int, int]]:
    """Return the longest stretches of the parameters with one factor of the learning rate, with their ends."""
    found: list[tuple[float, int, int]] = []
    for group, layer in zip(network.groups, network.layers, strict=True):
        for name in network.parameters.group(group):
            start, stop = network.parameters.extent(f"{group}/{name}")
            if found and found[-1][0] == layer.rate_factor:
                start = found.pop()[1]
            found.append((layer.rate_factor, start, stop))
    return found


def _run(calls: Calls) -> None:
    for call in calls:
        call()


def _run_quietly(calls: Calls) -> None:
    with np.errstate(all="ignore"):  # The caller's errstate does not apply to other threads.
        _run(calls)


def _average_calls(piece: UpdateMemory, share: Array) -> Calls:
    """Return the calls of ``average = average + share·(parameters - average)``."""
    average, scratch = piece.moments["average"], piece.scratch
    return [
        partial(np.subtract, piece.parameters, average, out=scratch),
        partial(np.multiply, scratch, share, out=scratch),
        partial(np.add, average, scratch, out=average),
    ]


def _norm(vector: Array) -> float:
    """Return the 2-norm, even if its square overflows."""
    square = float(vector @ vector)
    if math.isfinite(square):
        return math.sqrt(square)
    largest = max(float(vector.max()), -float(vector.min()))
    return float(np.linalg.norm(vector / largest)) * largest if math.isfinite(largest) else math.inf
