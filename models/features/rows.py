"""Rows as features, compact: what a column becomes is expanded for the rows of a batch only.

A one-hot column is kept as one place a row, a text as its few terms, a value in intervals as the value, all bins of a
number as one position. Only numbers that stay one number are kept as floats.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from copy import copy
from functools import partial

import numpy as np

from models.features.feature import Binned, Deferred, Encoded, Numbers, Places, Sparse
from nncore.arrays import Array
from nncore.batches import MatrixRows
from nncore.layer import Calls

__all__ = ["SMALL", "FeatureRows", "joined"]

#: Bytes of a matrix that may be kept in place of compact rows, because gathering its rows is faster.
SMALL = 2**25


def joined(pieces: Iterable[Encoded], dtype: np.dtype[np.generic]) -> Encoded:
    """The pieces of one feature, in their order, as one; numbers become ``dtype`` piece by piece."""
    kept = [
        piece._replace(values=piece.values.astype(dtype)) if isinstance(piece, (Numbers, Binned)) else piece
        for piece in pieces
    ]
    first = kept[0]
    if len(kept) == 1:
        return first
    match first:
        case Numbers():
            return Numbers(np.concatenate([piece[0] for piece in kept]))
        case Places():
            return Places(np.concatenate([piece[0] for piece in kept]))
        case Binned() | Deferred():
            return first._replace(values=np.concatenate([piece[0] for piece in kept]))
    lengths = np.concatenate([np.diff(piece[0]) for piece in kept])
    places, values = (np.concatenate([piece[part] for piece in kept]) for part in (1, 2))
    return Sparse(np.concatenate([[0], np.cumsum(lengths)]), places, values)


class FeatureRows:
    """The features of some rows, (n_rows, width) if they were expanded; a source of rows for a training run.

    ``blocks`` are the features in their order, each with its width. The rows can be pickled.
    """

    def __init__(self, blocks: Sequence[tuple[Encoded, int]], rows: int, dtype: np.dtype[np.generic]) -> None:
        self.samples, self.dtype = rows, dtype
        self.inputs = sum(width for _, width in blocks)
        numbers: list[Array] = []
        #: Of each kept number, the first column that it becomes, and how many they are.
        columns: list[int] = []
        widths: list[int] = []
        places: list[Array] = []
        self._sparse: list[tuple[int, int, Sparse]] = []
        self._deferred: list[tuple[int, int, Deferred]] = []
        start = 0
        for block, width in blocks:
            match block:
                case Numbers(values) | Binned(values):
                    own = [1] * values.shape[1]
                    if isinstance(block, Binned):
                        own[1] = block.bins
                    columns += (start + np.cumsum([0, *own[:-1]])).tolist()
                    widths += own
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
        self._columns = np.array(columns, np.intp)
        self._where = _slice_of(self._columns)
        self._places = np.stack(places, axis=1).astype(np.int32) if places else None
        several = max(widths, default=1) > 1
        self._bins = _Bins(self._columns, np.array(widths), self.inputs, dtype) if several else None

    @property
    def nbytes(self) -> int:
        """The memory that the rows take."""
        arrays = [self._numbers, *([] if self._places is None else [self._places])]
        arrays += [array for _, _, block in self._sparse for array in block]
        arrays += [block.values for _, _, block in self._deferred]
        return sum(array.nbytes for array in arrays)

    def without_bins(self) -> FeatureRows:
        """The same rows without the bins of numbers; the values themselves stay."""
        if self._bins is None:
            return self
        kept = ~self._bins.columns
        #: The place of each column among those that are kept, and of the one behind the last.
        moved = np.cumsum(np.append(False, kept))
        rows = copy(self)
        rows.inputs, rows._bins = int(moved[-1]), None
        alone = kept[self._columns]
        # An index would lay the numbers out column by column.
        rows._numbers, rows._columns = self._numbers.compress(alone, axis=1), moved[self._columns[alone]]
        rows._where = _slice_of(rows._columns)
        rows._places = None if self._places is None else moved.astype(np.int32)[self._places]
        rows._sparse = [(int(moved[start]), width, block) for start, width, block in self._sparse]
        rows._deferred = [(int(moved[start]), width, block) for start, width, block in self._deferred]
        return rows

    def gather(self, chosen: Array, out: Array) -> None:
        """Write the chosen rows into ``out``, (n_chosen, inputs + 1); its last column is 1 afterwards."""
        numbers = self._numbers.take(chosen, axis=0, mode="clip")
        if self._bins is not None:
            self._bins.write(numbers, out)
        else:
            if len(self._columns) < self.inputs:
                out.fill(0)
            out[:, self._where] = numbers
        with np.errstate(over="ignore", invalid="ignore"):  # The network's result shows an overflow.
            for start, width, deferred in self._deferred:
                out[:, start : start + width] = deferred.transform(deferred.values.take(chosen, mode="clip"))
        for start, _, sparse in self._sparse:
            _scatter(sparse, chosen, out[:, start:])
        if self._places is not None:
            found = self._places.take(chosen, axis=0, mode="clip")
            out[np.arange(len(chosen))[:, None], found] = 1
        out[:, -1] = 1

    def gather_calls(self, chosen: Array, out: Array) -> Calls:
        """Return the call of ``gather``."""
        return [partial(self.gather, chosen, out)]

    def expanded(self, start: int = 0, stop: int | None = None) -> Array:
        """The numbers of the rows from ``start`` to before ``stop``, (n_rows, inputs)."""
        return self._matrix(start, self.samples if stop is None else min(stop, self.samples))[:, :-1]

    def _matrix(self, start: int, stop: int) -> Array:
        out = np.empty((stop - start, self.inputs + 1), self.dtype)
        self.gather(np.arange(start, stop), out)
        return out

    def expand_if_small(self) -> FeatureRows | MatrixRows:
        """The rows as a matrix if that takes less than ``SMALL`` bytes, otherwise these rows."""
        size = self.samples * (self.inputs + 1) * self.dtype.itemsize
        return MatrixRows(self._matrix(0, self.samples)) if size < SMALL else self


class _Bins:
    """Writes kept numbers into a batch, all bins at once.

    Each kept number is repeated for its own columns and those up to the next one's. Then a bin's column is shifted by
    the bin's number and bounded by 0 and 1, and a column that is no number is bounded to 0. So each pass runs over
    whole rows, the column behind the last one included.
    """

    def __init__(self, starts: Array, widths: Array, inputs: int, dtype: np.dtype[np.generic]) -> None:
        self._counts = np.diff(np.concatenate([[0], starts[1:], [inputs + 1]]))
        self._shifts, self._low, self._high = np.zeros((3, inputs + 1), dtype)
        self._low[starts], self._high[starts] = -np.inf, np.inf
        #: Which columns are bins.
        self.columns = np.zeros(inputs, bool)
        for start, width in zip(starts.tolist(), widths.tolist(), strict=True):
            if width > 1:
                own = slice(start, start + width)
                self._shifts[own] = np.arange(width)
                self._low[own], self._high[own], self.columns[own] = 0, 1, True

    def write(self, numbers: Array, out: Array) -> None:
        """Write the rows with these kept numbers into ``out``, (n_rows, inputs + 1)."""
        spread = np.repeat(numbers, self._counts, axis=1)
        spread -= self._shifts
        np.maximum(spread, self._low, out=spread)
        np.minimum(spread, self._high, out=out)


def _slice_of(columns: Array) -> slice | Array:
    """The columns, as a slice if they are the first ones."""
    return slice(0, len(columns)) if np.array_equal(columns, np.arange(len(columns))) else columns


def _scatter(sparse: Sparse, chosen: Array, out: Array) -> None:
    """Write the few numbers of the chosen rows into ``out``, whose columns begin at the feature's first one."""
    starts, lengths = sparse.starts[chosen], sparse.starts[chosen + 1] - sparse.starts[chosen]
    # Of row i, the terms at starts[i] + 0, 1, …, lengths[i] - 1.
    offsets = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    terms = np.repeat(starts, lengths) + offsets
    out[np.repeat(np.arange(len(chosen)), lengths), sparse.places[terms]] = sparse.values[terms]
