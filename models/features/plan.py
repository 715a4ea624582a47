"""How the rows of a prediction become features: compiled once a version.

Rows of numbers, words and truths, complete and of the expected types, take a short way without columns. All others take
the way of training rows: by columns, with every fault at its place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import numpy as np

from models.data.columns import MISSING_CODE, MISSING_TIME, Column, ColumnKind, ColumnSpec
from models.data.conversion import coerce
from models.data.records import from_lists, from_records
from models.data.table import MemoryTable, Table
from models.errors import Faults, InvalidError, Problem, escaped, listed, near
from models.features.fitted import FittedFeatures, used
from models.features.number import Number
from models.features.quick import QuickRows
from models.features.report import RowReport, out_of_ranges
from nncore.arrays import Array

__all__ = ["ServingPlan"]

_GAPS: dict[ColumnKind, tuple[Any, str]] = {
    "number": (np.nan, "float64"),
    "category": (MISSING_CODE, "int32"),
    "boolean": (MISSING_CODE, "int8"),
    "datetime": (MISSING_TIME, "int64"),
    "text": ("", "object"),
}


class ServingPlan:
    """Makes the numbers (n_rows, width) that a network reads from rows as clients give them.

    ``label`` is a column that rows may have besides those of the features.
    """

    def __init__(self, fitted: FittedFeatures, label: str | None, dtype: np.dtype[np.generic]) -> None:
        self.fitted, self.dtype, self.width = fitted, dtype, fitted.width
        features = used(fitted.features)
        self.columns = [feature.column for feature in features]
        #: The kind of each column that the features read.
        self.kinds: dict[str, ColumnKind] = {feature.column: feature.reads for feature in features}
        self._allowed = {feature.column for feature in fitted.features} | ({label} if label is not None else set())
        #: Whether rows may come as a matrix of numbers, one a feature.
        self.takes_matrix = all(isinstance(feature, Number) for feature in features)
        #: Whether the network reads such a matrix as it is.
        self.plain = self.takes_matrix and all(
            isinstance(feature, Number) and feature.scale == "none" and not learned["gaps"][0]
            for feature, learned in fitted.pairs()
            if feature.column in self.kinds
        )
        self._quick = QuickRows.of(fitted, dtype)
        ranges = [learned["range"] for feature, learned in fitted.pairs() if isinstance(feature, Number)]
        self._ranges = np.array(ranges).T
        #: The places of the features' columns among all columns, those that are set aside included.
        self.places = [place for place, feature in enumerate(fitted.features) if feature.column in self.kinds]

    def is_whole(self, length: int | None) -> bool:
        """Whether a row of so many numbers has one for each column, those that are set aside included."""
        return length == len(self.fitted.features) > len(self.columns)

    def allows(self, name: str) -> bool:
        """Whether rows may have a column of this name: a feature reads it, or it is set aside."""
        return name in self._allowed

    def matrix(self, inputs: Array) -> Array:
        """The numbers of rows (n_rows, n_features) of float64, a column for each feature in their order.

        NaN is a missing value, unless the network reads the numbers as they are.
        """
        if self.plain:
            return inputs
        if self._quick is not None and not np.isnan(inputs).any():
            return self._quick.numbers.of(inputs)
        values = {name: Column("number", inputs[:, place]) for place, name in enumerate(self.columns)}
        specs = tuple(ColumnSpec(name, "number") for name in self.columns)
        return self.table(MemoryTable(len(inputs), specs, values))

    def records(self, rows: Any, pointer: str = "/rows") -> Array:
        """The numbers of a list of objects, values by column; raises InvalidError with the first faults."""
        if self._quick is not None and isinstance(rows, list):
            found = self._quick.records(rows)
            if found is not None:
                return found
        return self._of_records(self.table_of_records(rows, pointer), pointer)

    def reported_records(self, rows: Any, pointer: str = "/rows") -> tuple[Array, list[RowReport]]:
        """As ``records``, with what is unusual about the values of each row."""
        if self._quick is not None and isinstance(rows, list):
            found = self._quick.reported_records(rows)
            if found is not None:
                return found
        table = self.table_of_records(rows, pointer)
        return self._of_records(table, pointer), self.report(table)

    def _of_records(self, table: MemoryTable, pointer: str) -> Array:
        return self._at(table, lambda row, name: f"{pointer}/{row}/{escaped(name)}")

    def lists(self, columns: Any, rows: Any) -> Array:
        """The numbers of lists of values, with their columns' names; raises InvalidError with the first faults."""
        return self._of_lists(self.table_of_lists(columns, rows), columns)

    def reported_lists(self, columns: Any, rows: Any) -> tuple[Array, list[RowReport]]:
        """As ``lists``, with what is unusual about the values of each row."""
        table = self.table_of_lists(columns, rows)
        return self._of_lists(table, columns), self.report(table)

    def _of_lists(self, table: MemoryTable, columns: Any) -> Array:
        return self._at(table, lambda row, name: f"/rows/{row}/{columns.index(name)}")

    def report_matrix(self, inputs: Array) -> list[RowReport]:
        """What is unusual about rows (n_rows, n_features) of a model that takes a matrix."""
        return out_of_ranges(inputs, self._ranges, self.columns)

    def table_of_records(self, rows: Any, pointer: str = "/rows") -> MemoryTable:
        """Objects as a table with a column for each feature; missing keys are missing values."""
        if not isinstance(rows, list) or not rows or any(type(row) is not dict for row in rows):
            return from_records(rows, pointer, limited=False)  # It has all messages about the form of rows.
        self._require_known(
            (partial(_member, pointer, place, name), name) for place, row in enumerate(rows) for name in row
        )
        kept = [{name: row[name] for name in row if name in self.kinds} for row in rows]
        if not any(kept):
            return self._complete(MemoryTable(len(rows), (), {}))
        return self._complete(from_records(kept, pointer, self.kinds, limited=False))

    def table_of_lists(self, columns: Any, rows: Any) -> MemoryTable:
        """Lists of values as a table with a column for each feature; other columns are left out."""
        if isinstance(columns, list):
            self._require_known(
                (partial(_member, "/columns", place), name) for place, name in enumerate(columns) if type(name) is str
            )
        return self._complete(from_lists(columns, rows, "", self.kinds, limited=False))

    def table(self, table: Table) -> Array:
        """The numbers of a table's rows; raises InvalidError with row and column of the first faults."""
        return self.fitted.encode(table, None, self.dtype).expanded()

    def report(self, table: Table) -> list[RowReport]:
        """What is unusual about the values of each row."""
        reports = [RowReport([], [], []) for _ in range(table.rows)]
        for feature, learned in self.fitted.pairs():
            if feature.column in self.kinds:
                found = feature.report(coerce(table.read(feature.column), feature.reads), learned)
                for row in np.flatnonzero(found.missing).tolist():
                    reports[row].missing.append(feature.column)
                for row in np.flatnonzero(found.unseen).tolist():
                    reports[row].unseen.append(feature.column)
                for row in np.flatnonzero(found.out_of_range).tolist():
                    reports[row].out_of_range.append(feature.column)
        return reports

    def _require_known(self, names: Iterable[tuple[Callable[[], str], str]]) -> None:
        """Raise InvalidError with the names, each with its pointer, that are no columns of the model."""
        faults = Faults()
        for place, name in names:
            if name not in self._allowed and name.strip() not in self._allowed:
                if faults.full:
                    faults.count()
                else:
                    detail = f"is not a column of the model{near(name, self.columns)}; columns are"
                    faults.add(place(), f"{detail} {listed(self.columns)}")
        faults.check()

    def _complete(self, table: MemoryTable) -> MemoryTable:
        """The table with a column for each feature, those that it lacks without values."""
        values = dict(table.values)
        for name, kind in self.kinds.items():
            if name not in values:
                gap, dtype = _GAPS[kind]
                values[name] = Column(kind, np.full(table.rows, gap, np.dtype(dtype)))
        specs = tuple(ColumnSpec(name, values[name].kind, values[name].levels) for name in self.kinds)
        return MemoryTable(table.rows, specs, values)

    def _at(self, table: MemoryTable, pointer: Callable[[int, str], str]) -> Array:
        try:
            return self.table(table)
        except InvalidError as error:
            problems = [
                Problem(
                    pointer((problem.row or 1) - 1, problem.column or ""), problem.detail, problem.row, problem.column
                )
                for problem in error.problems
            ]
            raise error.with_problems(problems) from None


def _member(pointer: str, *names: int | str) -> str:
    """The JSON pointer to a member."""
    return "/".join([pointer, *map(escaped, names)])
