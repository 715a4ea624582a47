"""What a network reads of a table's rows, made in pieces so that memory stays bounded however long the table is."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace

import numpy as np

from models.data.columns import ColumnSpec
from models.data.table import CHUNK, Stretch, Table
from models.errors import InvalidError, Problem
from models.features.fitted import require_columns
from models.serving.served_model import ServedModel
from nncore.arrays import Array

__all__ = ["TableInputs"]

#: Numbers that are in memory at a time, of the columns or of what they become.
CELLS = 4_000_000


class TableInputs:
    """A table as a network reads it: by the names of its columns, or if the model has no names, in their order.

    ``others`` are columns that are no inputs, such as the labels. Raises InvalidError with all columns that are
    missing, or if a model without names does not fit the columns of numbers.
    """

    def __init__(self, network: ServedModel, table: Table, others: Collection[str] = ()) -> None:
        self._network, self._table = network, table
        #: The columns that the model reads, in their order.
        self.columns: list[str] = []
        if network.plan is not None:
            require_columns(network.plan.fitted.features, table)
            self.columns = network.plan.columns
        else:
            self.columns = _in_order(table, others, network.inputs)
        width = max(network.definition.inputs, len(table.columns), 1)
        #: Rows that are made at a time.
        self.step = max(1, min(CHUNK, CELLS // width))

    def piece(self, start: int, stop: int, chosen: Array | None = None) -> Array:
        """The numbers of the rows from ``start`` to before ``stop``, or of those ``chosen`` among them, ascending.

        Raises InvalidError with row and column of the first value of each column that the model cannot take.
        """
        stretch = Stretch(self._table, start, stop - start)
        rows = None if chosen is None else chosen - start
        try:
            if self._network.plan is None:
                return self._numbers(stretch, rows)
            return self._network.plan.fitted.encode(stretch, rows, self._network.dtype).expanded()
        except InvalidError as error:
            problems = [replace(each, row=None if each.row is None else each.row + start) for each in error.problems]
            raise error.with_problems(problems) from None

    def pieces(self, rows: Array) -> Iterator[tuple[Array, Array]]:
        """Pieces of the rows with these numbers, ascending: the numbers of the rows, and what the network reads."""
        for start in range(0, self._table.rows, self.step):
            stop = min(start + self.step, self._table.rows)
            first, last = np.searchsorted(rows, (start, stop)).tolist()
            if last > first:
                chosen = rows[first:last]
                yield chosen, self.piece(start, stop, None if last - first == stop - start else chosen)

    def _numbers(self, stretch: Stretch, rows: Array | None) -> Array:
        """The columns in their order as they are."""
        count = stretch.rows if rows is None else len(rows)
        matrix = np.empty((count, len(self.columns)), np.float64)
        largest, problems = np.finfo(self._network.dtype).max, []
        for place, name in enumerate(self.columns):
            values = stretch.read(name).values
            matrix[:, place] = values if rows is None else values[rows]
            bad = ~(np.abs(matrix[:, place]) <= largest)
            if bad.any():
                row = int(np.argmax(bad))
                missing = np.isnan(matrix[row, place])
                wanted = "must not be missing" if missing else f"must fit into {self._network.dtype}"
                number = row if rows is None else int(rows[row])
                problems.append(Problem("", wanted, row=number + 1, column=name))
        if problems:
            raise InvalidError.of(problems)
        return matrix


def _in_order(table: Table, others: Collection[str], inputs: int) -> list[str]:
    """The columns of numbers that a model without names reads: all of them, or those that are not set aside."""
    columns = [column for column in table.columns if column.name not in others and column.kind == "number"]
    for found in (columns, [column for column in columns if column.reason is None]):
        if len(found) == inputs:
            return _names(found)
    detail = f"must have {inputs} columns of numbers, which the model takes in their order"
    words = [column for column in table.columns if column.name not in others and column.kind != "number"]
    also = f" and {len(words)} of another type" if words else ""
    raise InvalidError.of([Problem("", f"{detail}. Received: {len(columns)}{also}")])


def _names(columns: list[ColumnSpec]) -> list[str]:
    return [column.name for column in columns]
