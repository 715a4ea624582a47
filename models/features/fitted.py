"""Features with what they have learned from the training rows."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from models.data.columns import Column
from models.data.conversion import ConversionError, coerce
from models.data.table import CHUNK, Table
from models.errors import LISTED, InvalidError, Problem, describe
from models.features.feature import ArrayForm, Encoded, Feature, GapError, Learned
from models.features.features import Ignored, feature_type
from models.features.rows import FeatureRows, joined
from nncore.arrays import Array

__all__ = ["FittedFeatures", "group_name", "used"]

#: The form of a learned truth, such as whether values were missing.
FLAG = ArrayForm("uint8", 1)


def used(features: Sequence[Feature]) -> list[Feature]:
    """The features that become numbers, without columns that are set aside."""
    return [feature for feature in features if not isinstance(feature, Ignored)]


def group_name(index: int, column: str) -> str:
    """The name of a feature's group of arrays in a checkpoint: its place and what is plain of its column's name."""
    plain = re.sub(r"[^A-Za-z0-9_.-]+", "_", column)[:40]
    return f"{index}_{plain}"


@dataclass(frozen=True, eq=False)
class FittedFeatures:
    """Features in their order, each with its learned arrays."""

    features: tuple[Feature, ...]
    learned: tuple[Learned, ...]

    @classmethod
    def fit(cls, features: Sequence[Feature], table: Table, rows: Array | None = None) -> FittedFeatures:
        """Learn from some rows of a table (row numbers in ascending order), or from all of them.

        Each column is read once, in pieces. Raises InvalidError with all columns that are missing, and with the first
        value of each column that its feature cannot take.
        """
        require_columns(features, table)
        learned, problems = list[Learned](), list[Problem]()
        for feature in features:
            try:
                learned.append({} if isinstance(feature, Ignored) else feature.learn(_pieces(feature, table, rows)))
            except (GapError, ConversionError) as error:
                problems.append(problem_of(feature, error, rows))
        if problems:
            raise InvalidError.of(problems)
        return cls(tuple(features), tuple(learned))

    @cached_property
    def widths(self) -> tuple[int, ...]:
        """How many numbers each feature becomes."""
        return tuple(feature.width(learned) for feature, learned in self.pairs())

    @property
    def width(self) -> int:
        """How many numbers the network reads."""
        return sum(self.widths)

    @cached_property
    def bin_columns(self) -> Array:
        """Which of the numbers are bins that stand beside the value itself, (width,) of bool."""
        columns = [feature.bin_columns(learned) for feature, learned in self.pairs()]
        return np.concatenate([np.zeros(0, bool), *columns])

    def pairs(self) -> Iterator[tuple[Feature, Learned]]:
        """Each feature with its learned arrays."""
        return zip(self.features, self.learned, strict=True)

    def names(self) -> list[str]:
        """A name for each number that the network reads."""
        return [name for feature, learned in self.pairs() for name in feature.names(learned)]

    def encode(self, table: Table, rows: Array | None, dtype: np.dtype[np.generic]) -> FeatureRows:
        """Some rows of a table (row numbers in ascending order) as features, or all of them.

        Raises InvalidError with all columns that are missing, and with the first value of each column that its feature
        cannot take.
        """
        require_columns(self.features, table)
        blocks, problems = list[tuple[Encoded, int]](), list[Problem]()
        for (feature, learned), width in zip(self.pairs(), self.widths, strict=True):
            if width == 0:
                continue
            try:
                with np.errstate(over="ignore", invalid="ignore"):  # The network's result shows an overflow.
                    blocks.append((joined(_encoded(feature, learned, table, rows), dtype), width))
            except (GapError, ConversionError) as error:
                problems.append(problem_of(feature, error, rows))
        if problems:
            raise InvalidError.of(problems)
        return FeatureRows(blocks, table.rows if rows is None else len(rows), dtype)

    def arrays(self) -> dict[str, Array]:
        """The learned arrays by ``group/name``, as a checkpoint holds them."""
        return {
            f"{group_name(index, feature.column)}/{name}": array
            for index, (feature, learned) in enumerate(self.pairs())
            for name, array in learned.items()
        }

    @classmethod
    def of(cls, features: Sequence[Feature], arrays: Mapping[str, Array]) -> FittedFeatures:
        """The features from arrays by ``group/name``; raises ValueError unless these are just what was learned."""
        learned = []
        left = dict(arrays)
        for index, feature in enumerate(features):
            group = group_name(index, feature.column)
            own = {}
            for name, form in feature.forms().items():
                array = left.pop(f"{group}/{name}", None)
                if array is None:
                    raise ValueError(f"/features/{group}/{name}: expected {form.dtype}, found nothing")
                if array.ndim != 1 or array.dtype != form.dtype or form.length not in (None, len(array)):
                    length = "any length" if form.length is None else f"length {form.length}"
                    wanted, found = f"{form.dtype} of {length}", f"{array.dtype} of {array.shape}"
                    raise ValueError(f"/features/{group}/{name}: expected {wanted}, found {found}")
                if form == FLAG and array[0] > 1:
                    raise ValueError(f"/features/{group}/{name}: expected 0 or 1. Received: {array[0]}")
                if array.dtype.kind == "f" and not np.isfinite(array).all():
                    raise ValueError(f"/features/{group}/{name}: expected finite numbers, found others")
                own[name] = array
            try:
                feature.check(own)
            except ValueError as error:
                raise ValueError(f"/features/{group}: {error}") from None
            learned.append(own)
        for name in sorted(left):
            raise ValueError(f"/features/{name}: expected nothing, found {left[name].dtype} of {left[name].shape}")
        return cls(tuple(features), tuple(learned))

    def describe(self) -> list[dict[str, Any]]:
        """Each feature's width and what was learned, as the API shows it."""
        return [
            {"column": feature.column, "type": feature_type(feature), "width": width, **feature.describe(learned)}
            for (feature, learned), width in zip(self.pairs(), self.widths, strict=True)
        ]


def require_columns(features: Sequence[Feature], table: Table) -> None:
    """Raise InvalidError with each column that the features read and the table lacks."""
    known = {column.name for column in table.columns}
    lacking = [feature.column for feature in used(features) if feature.column not in known]
    if lacking:
        raise InvalidError.of(
            [Problem("", f"must have the column {describe(name)}", column=name) for name in lacking[:LISTED]],
            len(lacking),
        )


def problem_of(feature: Feature, error: GapError | ConversionError, rows: Array | None = None) -> Problem:
    """The problem of a value; the error's row counts from 0, in ``rows`` if they are given."""
    row = error.row if rows is None else int(rows[error.row])
    if isinstance(error, GapError):
        detail = 'must not be missing: the feature has "missing": "refuse"'
    else:
        detail = f"must be {error.wanted}. Received: {describe(error.received)}"
    return Problem("", detail, row=row + 1, column=feature.column)


def _encoded(feature: Feature, learned: Learned, table: Table, rows: Array | None) -> Iterator[Encoded]:
    """A feature's numbers for some rows, piece by piece; the row of an error counts the rows that were asked for."""
    done = 0
    for piece in _pieces(feature, table, rows):
        try:
            yield feature.encode(piece, learned)
        except GapError as error:
            error.row += done
            raise
        done += len(piece.values)


def _pieces(feature: Feature, table: Table, rows: Array | None) -> Iterator[Column]:
    """The values of a feature's column in some rows, as the feature reads them.

    The row of an error counts the rows that were asked for.
    """
    done = 0
    for start in range(0, table.rows, CHUNK):
        stop = min(start + CHUNK, table.rows)
        column = table.read(feature.column, start, stop)
        if rows is not None:
            first, last = np.searchsorted(rows, (start, stop)).tolist()
            if last - first < stop - start:
                column = column._replace(values=column.values[rows[first:last] - start])
        try:
            yield coerce(column, feature.reads)
        except ConversionError as error:
            error.row += done
            raise
        done += len(column.values)
