"""Rows as features, compact: what a column becomes is expanded for the rows of a batch only.

A one-hot column is kept as one place a row, a text as its few terms, a value in intervals as the value. Only numbers
that stay one number are kept as floats.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from models.features.feature import Deferred, Encoded, Numbers, Places, Sparse
from nncore.arrays import Array

__all__ = ["FeatureRows", "joined"]


def joined(pieces: Iterable[Encoded], dtype: np.dtype[np.generic]) -> Encoded:
    """The pieces of one feature, in their order, as one; numbers become ``dtype`` piece by piece."""
    kept = [Numbers(piece.values.astype(dtype)) if isinstance(piece, Numbers) else piece for piece in pieces]
    first = kept[0]
    if len(kept) == 1:
        return first
    match first:
        case Numbers():
            return Numbers(np.concatenate([piece[0] for piece in kept]))
        case Places():
            return Places(np.concatenate([piece[0] for piece in kept]))
        case Deferred():
            return first._replace(values=np.concatenate([piece[0] for piece in kept]))
    lengths = np.concatenate([np.diff(piece[0]) for piece in kept])
    places, values = (np.concatenate([piece[part] for piece in kept]) for part in (1, 2))
    return Sparse(np.concatenate([[0], np.cumsum(lengths)]), places, values)


class FeatureRows:
    """The features of some rows, (n_rows, width) if they were expanded; a source of rows for a training run.

    ``blocks`` are the features in their order, each with its width.
    """

    def __init__(self, blocks: Sequence[tuple[Encoded, int]], rows: int, dtype: np.dtype[np.generic]) -> None:
        self.samples, self.dtype = rows, dtype
        self.inputs = sum(width for _, width in blocks)
        columns: list[int] = []
        numbers: list[Array] = []
        places: list[Array] = []
        self._sparse: list[tuple[int, int, Sparse]] = []
        self._deferred: list[tuple[int, int, Deferred]] = []
        start = 0
        for block, width in blocks:
            match block:
                case Numbers(values):
                    columns += range(start, start + width)
                    numbers.append(values.astype(dtype, copy=False))
                case Places(found):
                    # Rows without a 1 write theirs into the column behind the last one, which is restored.
                    places.append(np.where(found < 0, self.inputs, found + start))
                case Sparse():
                    self._sparse.append((start, width, block))
                case Deferred():
                    self._deferred.append((start, width, block))
            start += width
        self._numbers = np.concatenate(numbers, axis=1) if numbers else np.zeros((rows, 0), dtype)
        self._columns: slice | Array = np.array(columns, np.intp)
        if columns == list(range(len(columns))):
            self._columns = slice(0, len(columns))
        self._places = np.stack(places, axis=1).astype(np.int32) if places else None

    @property
    def nbytes(self) -> int:
        """The memory that the rows take."""
        arrays = [self._numbers, *([] if self._places is None else [self._places])]
        arrays += [array for _, _, block in self._sparse for array in block]
        arrays += [block.values for _, _, block in self._deferred]
        return sum(array.nbytes for array in arrays)

    def gather(self, chosen: Array, out: Array) -> None:
        """Write the chosen rows into ``out``, (n_chosen, inputs + 1); its last column is 1 afterwards."""
        if self._numbers.shape[1] < self.inputs:
            out.fill(0)
        out[:, self._columns] = self._numbers.take(chosen, axis=0, mode="clip")
        with np.errstate(over="ignore", invalid="ignore"):  # The network's result shows an overflow.
            for start, width, deferred in self._deferred:
                out[:, start : start + width] = deferred.transform(deferred.values.take(chosen, mode="clip"))
        for start, _, sparse in self._sparse:
            _scatter(sparse, chosen, out[:, start:])
        if self._places is not None:
            found = self._places.take(chosen, axis=0, mode="clip")
            out[np.arange(len(chosen))[:, None], found] = 1
        out[:, -1] = 1

    def expanded(self, start: int = 0, stop: int | None = None) -> Array:
        """The numbers of the rows from ``start`` to before ``stop``, (n_rows, inputs)."""
        chosen = np.arange(start, self.samples if stop is None else min(stop, self.samples))
        out = np.empty((len(chosen), self.inputs + 1), self.dtype)
        self.gather(chosen, out)
        return out[:, :-1]


def _scatter(sparse: Sparse, chosen: Array, out: Array) -> None:
    """Write the few numbers of the chosen rows into ``out``, whose columns begin at the feature's first one."""
    starts, lengths = sparse.starts[chosen], sparse.starts[chosen + 1] - sparse.starts[chosen]
    # Of row i, the terms at starts[i] + 0, 1, …, lengths[i] - 1.
    offsets = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    terms = np.repeat(starts, lengths) + offsets
    out[np.repeat(np.arange(len(chosen)), lengths), sparse.places[terms]] = sparse.values[terms]
