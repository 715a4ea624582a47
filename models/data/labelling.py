"""A table in memory made ready to be stored: its labels and weights named and checked, columns of no use set aside."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from difflib import get_close_matches

import numpy as np

from models.data.columns import Column, ColumnSpec
from models.data.conversion import coerce
from models.data.dataset import WEIGHT_RULE, bad_weight
from models.data.labels import Labels, classes_of
from models.data.limits import class_fault
from models.data.profile import TableWarning
from models.data.records import set_aside, with_column
from models.data.table import MemoryTable
from models.errors import InvalidError, Problem, describe, listed
from nncore.arrays import Array

__all__ = ["labelled", "require_column"]


def require_column(columns: Sequence[ColumnSpec], name: str, pointer: str) -> ColumnSpec:
    """The column of this name; raises InvalidError at ``pointer`` with the nearest name if there is none."""
    for column in columns:
        if column.name == name:
            return column
    names = [column.name for column in columns]
    near = get_close_matches(name[:100], names, 1, 0.6) or [each for each in names if each.lower() == name.lower()]
    hint = f"did you mean {describe(near[0])}? " if near else ""
    raise InvalidError.at(pointer, f"must name a column: {listed(names)}. {hint}Received: {describe(name)}")


def labelled(
    table: MemoryTable, label: str | None, weight: str | None = None, ignored: Collection[str] = (), pointer: str = ""
) -> tuple[MemoryTable, tuple[TableWarning, ...]]:
    """The table with its column of labels and of weights named, and what a client should look at.

    Rows without a label are left out. Columns of no use and the ``ignored`` ones are set aside, with the reason. Raises
    InvalidError with pointers ``pointer``/label, /weight and /ignore if a column is missing or holds something else.
    """
    for name in ignored:
        require_column(table.columns, name, f"{pointer}/ignore")
    warnings: list[TableWarning] = []
    if label is not None:
        if require_column(table.columns, label, f"{pointer}/label").kind == "text":
            table = with_column(table, label, coerce(table.read(label), "category"))
        table, left_out = _with_label(replace(table, label=label), f"{pointer}/label")
        if left_out:
            rows = "1 row has no label and is" if left_out == 1 else f"{left_out} rows have no label and are"
            warnings.append(TableWarning("rows_without_label", f"{rows} left out", label))
    if weight is not None:
        spec = require_column(table.columns, weight, f"{pointer}/weight")
        _check_weights(table.read(weight), spec, label, f"{pointer}/weight")
        table = replace(table, weight=weight)
    table = set_aside(table)
    columns = tuple(
        replace(column, reason="as asked") if column.name in ignored else column for column in table.columns
    )
    if all(column.name in (label, weight, *ignored) for column in columns):
        detail = "must leave at least one column beside labels and weights. Received: none"
        raise InvalidError.at(f"{pointer}/rows" if not ignored else f"{pointer}/ignore", detail)
    warnings += [
        TableWarning("column_set_aside", f"is not used: {column.reason}", column.name)
        for column in columns
        if column.reason is not None and column.name not in ignored
    ]
    return replace(table, columns=columns), tuple(warnings)


def _with_label(table: MemoryTable, pointer: str) -> tuple[MemoryTable, int]:
    """The rows that have a label, and how many have none; raises InvalidError unless there are two classes."""
    assert table.label is not None
    labels = classes_of(table.read(table.label), pointer)
    _require_two_classes(labels, pointer)
    fault = class_fault(labels.classes)
    if fault is not None:
        place, detail = fault
        row = None if place is None else int(np.argmax(labels.codes == place)) + 1
        raise InvalidError.of([Problem(pointer, detail, row, table.label)])
    kept = labels.codes >= 0
    left_out = int(np.count_nonzero(~kept))
    return (_rows_of(table, np.flatnonzero(kept)) if left_out else table), left_out


def _require_two_classes(labels: Labels, pointer: str) -> None:
    present = np.flatnonzero(np.bincount(labels.codes + 1)[1:])
    if len(present) < 2:
        only = f"only {describe(labels.classes[int(present[0])])}" if len(present) else "only missing labels"
        raise InvalidError.at(pointer, f"must name a column of at least two different classes. Received: {only}")


def _rows_of(table: MemoryTable, places: Array) -> MemoryTable:
    values = {name: column._replace(values=column.values[places]) for name, column in table.values.items()}
    return replace(table, rows=len(places), values=values)


def _check_weights(column: Column, spec: ColumnSpec, label: str | None, pointer: str) -> None:
    if column.kind != "number" or spec.name == label:
        received = (
            f"one of labels, {describe(spec.name)}"
            if spec.name == label
            else f"{describe(spec.name)}, of type {column.kind}"
        )
        raise InvalidError.at(pointer, f"must name a column of numbers. Received: {received}")
    gaps = column.missing()
    bad = int(np.argmax(gaps)) if gaps.any() else bad_weight(column.values)
    if bad is not None:
        received = "nothing" if gaps[bad] else f"{column.values[bad]:g}"
        problem = Problem(pointer, f"{WEIGHT_RULE} in every row. Received: {received}", bad + 1, spec.name)
        raise InvalidError.of([problem])
    if not column.values.any():
        raise InvalidError.at(pointer, "must not name a column that is 0 in every row")
