"""Rows in CSV (RFC 4180), as MLflow and SageMaker send them: with the names of columns or, if all are numbers, without.

Cells are read as the model's columns, not by what they look like: so the same row in JSON is answered alike.
"""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from typing import Any

from models.data.rows import Array
from models.data.words import is_missing, number_of
from models.errors import Faults, InvalidError, Problem, describe, file_problem, file_problems, listed
from models.serving.served_model import ServedModel
from service.serving.inference import RowOverflowError
from service.web.protocols.json_rows import in_order, matrix, named_lists

__all__ = ["CsvRows"]


class CsvRows:
    """The rows of a text, split into cells.

    ``header`` says whether the first row has the names of the columns. If it is None, it has them unless its cells are
    numbers, some of which may be missing. Raises InvalidError with the line if the text is no CSV or has no rows.
    """

    def __init__(self, text: str, *, header: bool | None = None) -> None:
        reader = csv.reader(io.StringIO(text, newline=""), strict=True)
        rows, self._lines = list[list[str]](), list[int]()
        try:
            for row in reader:
                if row:  # Not an empty line.
                    rows.append(row)
                    self._lines.append(reader.line_num)
        except csv.Error as error:
            raise file_problem(f"is not CSV: {error}", line=reader.line_num) from None
        named = bool(rows) and (not _are_numbers(rows[0]) if header is None else header)
        #: The names of the columns; None if there are none.
        self.names = rows.pop(0) if named and rows else None
        if named:
            del self._lines[:1]
        self.rows = rows
        if not rows:
            raise file_problem("must have at least one row" + (" under the names of columns" if self.names else ""))
        if self.names is not None and not self.names[0].strip():
            # The index of a data frame has no name.
            self.names, self.rows = self.names[1:], [row[1:] for row in rows]

    def numbers(self, served: ServedModel) -> Array:
        """What the network reads; raises InvalidError with row, line and column of the first faults."""
        plan = served.plan
        if plan is None:
            return self._at_place(served, None)
        names = in_order(plan, len(self.rows[0])) if self.names is None else self.names
        if names is None:
            detail = (
                f"must have the names of columns, or a value for each of them in this order: {listed(plan.columns)}"
            )
            raise file_problem(f"{detail}. Received: {len(self.rows[0])} values", row=1, line=self._lines[0])
        return self._at_place(served, names)

    def overflow(self, error: RowOverflowError) -> InvalidError:
        """The error of a row that overflows, with its row and line."""
        return file_problem(error.reason, row=error.row + 1, line=self._lines[error.row])

    def _at_place(self, served: ServedModel, names: list[str] | None) -> Array:
        """The numbers of the rows, of named columns or of a model without columns; faults have their places."""
        problems: list[Problem] = []
        try:
            if names is None:
                return matrix(self._matrix(served.inputs), served, "")
            assert served.plan is not None
            return named_lists(names, self.rows, served.plan, _place)
        except InvalidError as error:
            for each in error.problems:
                _, row, column = each.pointer.split("/") if each.pointer.count("/") == 2 else ("", "", "")
                problems.append(self._problem(each, row, column, names or self.names))
            raise file_problems(problems, error.total) from None

    def _problem(self, problem: Problem, row: str, column: str, names: list[str] | None) -> Problem:
        """A fault of a row, counted from 0, and a column, counted from 0, either of which may be empty."""
        name = None
        if column:
            place = int(column)
            name = names[place] if names is not None and place < len(names) else f"{place + 1}"
        if not row:
            return replace(problem, pointer="", row=0 if column else None, column=name)
        return replace(problem, pointer="", row=int(row) + 1, column=name, line=self._lines[int(row)])

    def _matrix(self, width: int) -> list[list[float]]:
        """The cells as numbers, ``width`` a row."""
        faults = Faults()
        rows: list[list[Any]] = []
        for place, row in enumerate(self.rows):
            if len(row) != width:
                faults.add(f"/{place}/", f"must have {width} cells, one for each input. Received: {len(row)}")
                continue
            rows.append([number_of(cell) for cell in row])
            for column, number in enumerate(rows[-1]):
                if number is None:
                    missing = is_missing(row[column])
                    what = "must not be missing" if missing else "must be a number"
                    faults.add(f"/{place}/{column}", f"{what}. Received: {describe(row[column])}")
        faults.check()
        return rows


def _place(row: int | None, column: int | None) -> str:
    return f"/{'' if row is None else row}/{'' if column is None else column}"


def _are_numbers(cells: list[str]) -> bool:
    """Whether cells are numbers, of which some may be missing."""
    numbers = [number_of(cell) for cell in cells if not is_missing(cell)]
    return bool(numbers) and None not in numbers
