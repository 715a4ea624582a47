"""The short way from rows of a prediction to numbers: complete rows of numbers, words and truths, without columns.

It makes the same bits as the way of training rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from operator import itemgetter
from typing import Any, TypeGuard

import numpy as np

from models.features.category import Boolean, Category
from models.features.feature import Feature, Learned
from models.features.fitted import FittedFeatures
from models.features.number import Number
from models.features.report import RowReport, out_of_ranges
from models.features.scales import RobustBins, RobustClip, soft_clip
from nncore.arrays import Array

__all__ = ["QuickRows"]

_TYPES = {int, float}


class QuickRows:
    """Makes numbers of rows whose numbers are scaled, bent or cut into bins, and none of whose values is missing."""

    def __init__(
        self, numbers: _Numbers, levels: Sequence[_Levels], truths: Sequence[tuple[str, int]], *, seen: bool
    ) -> None:
        self.numbers, self._levels, self._truths = numbers, levels, truths
        #: Whether no value that goes the short way can be one that training has not seen.
        self._seen = seen
        self._size = len(numbers.names) + len(levels) + len(truths)
        self._get = _getter(numbers.names)

    @classmethod
    def of(cls, fitted: FittedFeatures, dtype: np.dtype[np.generic]) -> QuickRows | None:
        """The short way for some features, None if one of them cannot take it."""
        numbers, levels, truths = list[tuple[Number, Learned, int]](), list[_Levels](), list[tuple[str, int]]()
        start, seen = 0, True
        for (feature, learned), width in zip(fitted.pairs(), fitted.widths, strict=True):
            if _is_quick(feature):
                numbers.append((feature, learned, start))
            elif isinstance(feature, Category):
                levels.append(_Levels(feature, learned, start))
            elif isinstance(feature, Boolean):
                truths.append((feature.column, start))
                seen = seen and bool(learned["counts"].all())
            elif width:
                return None
            start += width
        return cls(_Numbers(numbers, start, dtype), levels, truths, seen=seen)

    def records(self, rows: Sequence[Any]) -> Array | None:
        """The numbers of complete rows; None if a row is something else."""
        found = self._read(rows)
        return None if found is None else found[0]

    def reported_records(self, rows: Sequence[Any]) -> tuple[Array, list[RowReport]] | None:
        """The numbers of complete rows, and what is unusual about them; None if a row is something else."""
        found = self._read(rows) if self._seen else None
        if found is None:
            return None
        out, values = found
        return out, out_of_ranges(values, self.numbers.ranges, self.numbers.names)

    def _read(self, rows: Sequence[Any]) -> tuple[Array, Array] | None:
        """The numbers of complete rows, and their values that are numbers (n_rows, n_names)."""
        try:
            if any(type(row) is not dict or len(row) != self._size for row in rows):
                return None
            cells = list(map(self._get, rows))
            kinds = set(map(type, chain.from_iterable(cells)))
            if not kinds <= _TYPES or not cells:
                return None
            values = np.array(cells, np.float64)
            out = self.numbers.of(values)
            if self._levels or self._truths:
                for place, row in enumerate(rows):
                    self._mark(row, out[place])
        except (KeyError, TypeError, OverflowError):
            return None
        return out, values

    def _mark(self, row: dict[str, Any], out: Array) -> None:
        """Mark the levels and truths of a row; raises KeyError or TypeError if there is no such level."""
        for levels in self._levels:
            column, number = levels.marks[row[levels.column]]
            out[column] = number
        for name, column in self._truths:
            if not isinstance(row[name], bool):
                raise TypeError
            out[column] = row[name]


class _Levels:
    """The column and the number in it that each known level of a category becomes."""

    def __init__(self, feature: Category, learned: Learned, start: int) -> None:
        known, _, _ = feature.places(learned)
        self.column = feature.column
        signed = feature.is_signed(learned)
        self.marks = {
            level: (start, 2.0 * place - 1.0) if signed else (start + place, 1.0) for level, place in known.items()
        }


class _Numbers:
    """All numbers of a row at once.

    Each number that the network reads is ``(value - center) / scale`` of one of the row's values. Then some are bent,
    and bins are bounded to 0 and 1.
    """

    def __init__(
        self, features: Iterable[tuple[Number, Learned, int]], width: int, dtype: np.dtype[np.generic]
    ) -> None:
        self.names: list[str] = []
        ranges: list[Array] = []
        self._width, self._dtype = width, dtype
        sources, columns, bent, parts = list[int](), list[int](), list[int](), [np.empty((5, 0))]
        for source, (feature, learned, start) in enumerate(features):
            self.names.append(feature.column)
            ranges.append(learned["range"])
            if not feature.width(learned):
                continue
            rule, bins = feature.rule, feature.rule.bins(learned)
            if isinstance(rule, RobustClip):
                bent.append(len(sources))
            sources += [source] * (1 + bins)
            columns += range(start, start + 1 + bins)
            center, scale = (learned.get(name, [default])[0] for name, default in (("center", 0.0), ("scale", 1.0)))
            parts.append(np.array([[center], [scale], [0.0], [-np.inf], [np.inf]]))
            if isinstance(rule, RobustBins) and bins:
                parts.append(np.array([*rule.parts(learned), np.arange(bins), np.zeros(bins), np.ones(bins)]))
        self._center, self._scale, self._shift, low, high = np.concatenate(parts, axis=1)
        #: The smallest and the largest value of each in training, (2, n_names).
        self.ranges = np.array(ranges).reshape(-1, 2).T
        #: What is taken from a number after its shift, and its bounds; None without bins.
        self._bounds = tuple(each.astype(dtype) for each in (self._shift, low, high)) if self._shift.any() else None
        self._bent = np.array(bent, np.intp)
        #: None if each value becomes one number, in their order.
        self._sources = None if sources == list(range(len(self.names))) else np.array(sources, np.intp)
        self._columns = None if columns == list(range(width)) else np.array(columns, np.intp)

    def of(self, values: Array) -> Array:
        """The numbers of rows with these values (n_rows, n_names), none of them missing; 0 for other features."""
        with np.errstate(over="ignore", invalid="ignore"):  # The network's result shows an overflow.
            values = values if self._sources is None else values.take(self._sources, axis=1)
            numbers: Array = (values - self._center) / self._scale
            if len(self._bent):
                numbers[:, self._bent] = soft_clip(numbers[:, self._bent])
            if self._bounds is not None:
                # A bin is what is above its number in a position, which is rounded as that of a training row is.
                shift, low, high = self._bounds
                numbers += self._shift
                numbers = numbers.astype(self._dtype)
                numbers -= shift
                np.maximum(numbers, low, out=numbers)
                np.minimum(numbers, high, out=numbers)
            if self._columns is None:
                return numbers.astype(self._dtype, copy=False)
            out = np.zeros((len(numbers), self._width), self._dtype)
            out[:, self._columns] = numbers
        return out


def _is_quick(feature: Feature) -> TypeGuard[Number]:
    """Whether a number is scaled in a way that the short way knows."""
    return isinstance(feature, Number) and (feature.rule.affine or isinstance(feature.rule, RobustClip))


def _getter(names: Sequence[str]) -> Callable[[dict[str, Any]], tuple[Any, ...]]:
    """A function that returns the values under these names as a tuple."""
    if len(names) > 1:
        return itemgetter(*names)
    return lambda row: tuple([row[name] for name in names])
