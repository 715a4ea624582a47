"""What a column holds, summed up in one pass over its values with bounded memory.

The result depends on the values and their order alone, not on how they are cut into pieces: sums are taken over blocks
of ``BLOCK`` values, however many of them arrive at a time.
"""

from __future__ import annotations

from collections import Counter

import numpy as np

from models.data.columns import Column, ColumnKind
from nncore.arrays import Array

__all__ = [
    "DistinctSketch",
    "LevelSummary",
    "NumberSummary",
    "QuantileSample",
    "QuantileSketch",
    "Summary",
    "TextSummary",
    "summary_of",
]

#: Values that are summed up at a time.
BLOCK = 65_536
#: Values up to which quantiles are exact; beyond, a quantile's rank is off by at most about 0.1 %.
SKETCHED = 2 * BLOCK
#: Hashes that a sketch of distinct values keeps.
KEPT = 16_384


class QuantileSketch:
    """Quantiles of a stream of numbers: exact for up to ``SKETCHED`` of them, approximate beyond.

    If a level of the sketch is full, every second of its sorted values moves up one level, where it stands for two
    (Manku, Rajagopalan, Lindsay 1998). Odd and even places alternate, so that the errors do not add up.
    """

    def __init__(self) -> None:
        self._levels: list[list[Array]] = [[]]
        self._odd = False

    def add(self, values: Array) -> None:
        """Add numbers, at most ``BLOCK``; none of them is NaN."""
        self._levels[0].append(np.sort(values))
        level = 0
        while sum(map(len, self._levels[level])) > SKETCHED:
            merged = np.sort(np.concatenate(self._levels[level]), kind="stable")
            if level + 1 == len(self._levels):
                self._levels.append([])
            self._levels[level + 1].append(merged[int(self._odd) :: 2])
            self._levels[level], self._odd = [], not self._odd
            level += 1

    def weighted(self) -> tuple[Array, Array]:
        """The kept values in order, and how many numbers each stands for. Raises ValueError if there are none."""
        pieces = [(piece, 2.0**level) for level, group in enumerate(self._levels) for piece in group]
        if not pieces:
            raise ValueError("there are no quantiles of no numbers")
        values = np.concatenate([piece for piece, _ in pieces])
        weights = np.concatenate([np.full(len(piece), weight) for piece, weight in pieces])
        order = np.argsort(values, kind="stable")
        return values[order], weights[order]

    def quantiles(self, shares: Array) -> Array:
        """The values below which these shares (0 to 1) of the numbers lie, linearly interpolated as NumPy does.

        Raises ValueError if no number was added.
        """
        values, weights = self.weighted()
        # A value that stands for w numbers takes the w ranks behind those of the values below it.
        last = np.cumsum(weights) - 1
        rank = np.asarray(shares, np.float64) * last[-1]
        below = np.searchsorted(last, np.floor(rank), "left")
        above = np.searchsorted(last, np.ceil(rank), "left")
        low, high = values[below], values[above]
        share = rank - np.floor(rank)
        # The difference of two numbers may be infinite, and equal ones must stay what they are.
        found: Array = np.where(low == high, low, low * (1.0 - share) + high * share)
        return found


class QuantileSample(QuantileSketch):
    """Quantiles of a stream of numbers from a sample: exact for up to ``SKETCHED``, then off by about 0.3 % in rank.

    It sorts once, at the end, and is many times faster than a sketch. Each kept number stands for a group of its
    neighbours; its place in the group changes from group to group, in case that the rows have a period.
    """

    def __init__(self) -> None:
        super().__init__()
        self._kept: list[Array] = []
        self._group, self._seen = 1, 0

    def add(self, values: Array) -> None:
        groups = np.arange(-(-self._seen // self._group), -(-(self._seen + len(values)) // self._group) + 1)
        places = groups * self._group + groups * 7919 % self._group - self._seen
        self._kept.append(values[places[(places >= 0) & (places < len(values))]] if self._group > 1 else values)
        self._seen += len(values)
        while sum(map(len, self._kept)) > SKETCHED:
            self._kept = [np.concatenate(self._kept)[::2]]
            self._group *= 2

    def weighted(self) -> tuple[Array, Array]:
        if not self._seen:
            raise ValueError("there are no quantiles of no numbers")
        values = np.sort(np.concatenate(self._kept))
        return values, np.full(len(values), self._seen / len(values))


class NumberSummary:
    """Numbers or times: count, missing values, extremes, mean, standard deviation and quantiles.

    Times are summed up as microseconds. Moments of blocks are combined as Chan, Golub and LeVeque (1983) do.
    ``sampled``: quantiles come from a sample, which is faster. ``few`` are the different values in order as long as
    there are at most ``listed``, then None.
    """

    def __init__(self, *, sampled: bool = False, listed: int = 0) -> None:
        self.count = self.missing = 0
        self.minimum, self.maximum = np.inf, -np.inf
        self.mean = 0.0
        self._squares = 0.0
        self._waiting: list[Array] = []
        self._sketch = QuantileSample() if sampled else QuantileSketch()
        self.few: Array | None = np.empty(0)
        self._listed = listed

    def add(self, column: Column) -> None:
        """Add the values of a column in some rows."""
        gaps = column.missing()
        self.missing += int(np.count_nonzero(gaps))
        self._waiting.append(column.values[~gaps].astype(np.float64))
        while sum(map(len, self._waiting)) >= BLOCK:
            together = np.concatenate(self._waiting)
            self._add_block(together[:BLOCK])
            self._waiting = [together[BLOCK:]]

    def _add_block(self, values: Array) -> None:
        if not len(values):
            return
        self._sketch.add(values)
        if self.few is not None:
            together = sorted_unique(np.concatenate([self.few, values])) if self._listed else values
            self.few = together if len(together) <= self._listed else None
        self.minimum, self.maximum = min(self.minimum, float(values.min())), max(self.maximum, float(values.max()))
        with np.errstate(over="ignore", invalid="ignore"):  # Moments of the largest numbers are infinite.
            mean = float(values.mean())
            squares = float(np.square(values - mean).sum())
        count, total = self.count, self.count + len(values)
        shift = mean - self.mean
        self._squares += squares + shift * shift * count * len(values) / total
        self.mean += shift * len(values) / total
        self.count = total

    def close(self) -> None:
        """Take the last values in; called once, before results are read."""
        rest, self._waiting = self._waiting, []
        if rest:
            self._add_block(np.concatenate(rest))

    @property
    def deviation(self) -> float:
        """The standard deviation of the numbers themselves (divided by their count); 0 if there are none."""
        return float(np.sqrt(self._squares / self.count)) if self.count else 0.0

    def quantiles(self, shares: Array) -> Array:
        """Quantiles of the values that are not missing; raises ValueError if there are none."""
        return self._sketch.quantiles(shares)

    def weighted(self) -> tuple[Array, Array]:
        """Values in order, and how many each stands for: all values if these are few, otherwise a selection.

        Raises ValueError if there are none.
        """
        return self._sketch.weighted()

    def counts(self, edges: Array) -> Array:
        """How many values lie between each two edges, the last one included, as ``np.histogram`` counts.

        Raises ValueError if there are none.
        """
        values, weights = self.weighted()
        below = np.concatenate([[0.0], np.cumsum(weights)])
        places = np.searchsorted(values, edges, "left")
        places[-1] = np.searchsorted(values, edges[-1], "right")
        found: Array = np.diff(np.round(below[places])).astype(np.int64)
        return found


class DistinctSketch:
    """The number of different values: exact up to ``KEPT`` of them, off by about 0.8 % beyond.

    Keeps the smallest of the values' hashes (Bar-Yossef et al. 2002).
    """

    def __init__(self) -> None:
        self._kept = np.empty(0, np.uint64)
        self._waiting: list[Array] = []

    def add(self, keys: Array) -> None:
        """Add 64-bit keys, (n,) of uint64: equal values have equal keys. They need not be evenly distributed."""
        mixed = _mixed(keys)
        if len(self._kept) == KEPT:
            mixed = mixed[mixed < self._kept[-1]]
        self._waiting.append(mixed)
        if sum(map(len, self._waiting)) > KEPT:
            self._merge()

    def _merge(self) -> None:
        self._kept = sorted_unique(np.concatenate([self._kept, *self._waiting]))[:KEPT]
        self._waiting = []

    def add_numbers(self, values: Array) -> None:
        """Add numbers; -0 is 0."""
        self.add((values.astype(np.float64) + 0.0).view(np.uint64))

    @property
    def count(self) -> int:
        """The number of different values that were added."""
        self._merge()
        if len(self._kept) < KEPT:
            return len(self._kept)
        return round((KEPT - 1) / (float(self._kept[-1]) / 2.0**64))


def _mixed(keys: Array) -> Array:
    """Keys spread evenly over 64 bits, one to one, after the finalizer of SplitMix64 (Steele et al. 2014)."""
    mixed: Array = keys ^ (keys >> np.uint64(30))
    mixed *= np.uint64(0xBF58476D1CE4E5B9)
    mixed ^= mixed >> np.uint64(27)
    mixed *= np.uint64(0x94D049BB133111EB)  # Its last step changes the low bits only, and here the high ones count.
    return mixed


def sorted_unique(values: Array) -> Array:
    """The different values in order. Not np.unique, which imports numpy.ma."""
    values = np.sort(values)
    keep = np.ones(len(values), bool)
    np.not_equal(values[1:], values[:-1], out=keep[1:])
    found: Array = values[keep]
    return found


class LevelSummary:
    """Categories or booleans: how often each level occurs, and missing values."""

    def __init__(self) -> None:
        self.count = self.missing = 0
        self.counts: Counter[str] = Counter()

    def add(self, column: Column) -> None:
        """Add the values of a column in some rows."""
        gaps = column.missing()
        codes = column.values[~gaps]
        self.missing += int(np.count_nonzero(gaps))
        self.count += len(codes)
        found = np.bincount(codes, minlength=len(column.levels))
        for place in np.flatnonzero(found).tolist():
            self.counts[column.levels[place]] += int(found[place])

    def close(self) -> None:
        """Nothing is waiting."""


class TextSummary:
    """Texts: how many there are, how many are missing, and the sum of their lengths in characters."""

    def __init__(self) -> None:
        self.count = self.missing = self.characters = 0

    def add(self, column: Column) -> None:
        """Add the values of a column in some rows."""
        lengths = [len(text) for text in column.values]
        self.missing += lengths.count(0)
        self.count += len(lengths) - lengths.count(0)
        self.characters += sum(lengths)

    def close(self) -> None:
        """Nothing is waiting."""


Summary = NumberSummary | LevelSummary | TextSummary

_SUMMARIES: dict[ColumnKind, type[Summary]] = {
    "number": NumberSummary,
    "datetime": NumberSummary,
    "category": LevelSummary,
    "boolean": LevelSummary,
    "text": TextSummary,
}


def summary_of(kind: ColumnKind) -> Summary:
    """An empty summary for columns of a kind."""
    return _SUMMARIES[kind]()
