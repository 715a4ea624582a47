"""Labelled rows from CSV files."""

from __future__ import annotations

import csv
import io
import math
from array import array
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from models.data.dataset import WEIGHT_RULE, Dataset, bad_weight
from models.data.labels import encode
from models.errors import InvalidError, describe, file_problem

__all__ = ["from_csv"]


def from_csv(content: bytes, label: str, weight: str | None = None) -> Dataset:
    """A dataset from a CSV file (RFC 4180) with a header row; ``label`` and ``weight`` name its special columns.

    If all labels are integers, they become ``int``, else they stay strings. Raises InvalidError with the row (the
    header is row 0) and column of the first invalid cell.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise file_problem(
            f"must be UTF-8. Received: byte {content[error.start]:#04x} at position {error.start}"
        ) from None
    lines = _records(text)
    header = next(lines, None)
    if header is None:
        raise file_problem("must begin with a row of column names. Received: nothing")
    place, features = _columns(header, label)
    values, labels = array("d"), list[str]()
    for row, cells in enumerate(lines, start=1):
        if len(cells) != len(header):
            raise file_problem(f"must have {len(header)} cells, like the header. Received: {len(cells)}", row)
        labels.append(cells.pop(place))
        if not labels[-1]:
            raise file_problem("must be a label. Received: an empty cell", row, label)
        try:
            numbers = list(map(float, cells))
        except ValueError:
            numbers = []
        if not numbers or not all(map(math.isfinite, numbers)) or "_" in "".join(cells):
            numbers = [_cell(cell, row, name) for cell, name in zip(cells, features, strict=True)]
        values.extend(numbers)
    if not labels:
        raise file_problem("must hold at least one row below the header. Received: none")
    matrix = np.frombuffer(values, np.float64).reshape(len(labels), len(features))
    dataset = Dataset(matrix, encode(_typed(labels), "text"), features)
    return dataset if weight is None else _with_weights(dataset, weight)


def _with_weights(dataset: Dataset, column: str) -> Dataset:
    """The dataset with one of its columns as the rows' weights."""
    if column not in dataset.features:
        known = ", ".join(dataset.features)
        raise InvalidError.at("/weight", f"must name a column of numbers: {known}. Received: {describe(column)}")
    if len(dataset.features) < 2:
        raise file_problem("must have at least one column beside labels and weights. Received: none", 0)
    place = dataset.features.index(column)
    weights = dataset.inputs[:, place].copy()
    bad = bad_weight(weights)
    if bad is not None:
        raise file_problem(f"{WEIGHT_RULE}. Received: {weights[bad]:g}", bad + 1, column)
    if not weights.any():
        raise file_problem("must not be 0 in every row", None, column)
    features = tuple(name for name in dataset.features if name != column)
    return replace(dataset, inputs=np.delete(dataset.inputs, place, axis=1), features=features, weights=weights)


def _records(text: str) -> Iterator[list[str]]:
    """The rows of a CSV file, without empty lines."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    row = 0
    try:
        for cells in reader:
            if cells:
                yield cells
                row += 1
    except csv.Error as error:
        raise file_problem(f"is not CSV: {error}", row) from None


def _columns(header: list[str], label: str) -> tuple[int, tuple[str, ...]]:
    names = [name.strip() for name in header]
    seen: set[str] = set()
    for column, name in enumerate(names):
        if not name or name in seen:
            what = f"column {column + 1} has {'no name' if not name else f'the same name as an earlier one, {name!r}'}"
            raise file_problem(f"every column must have a unique name. Received: {what}", 0)
        seen.add(name)
    if label not in names:
        raise InvalidError.at("/label", f"must name a column: {', '.join(names)}. Received: {describe(label)}")
    if len(names) < 2:
        raise file_problem("must have at least one column beside the labels. Received: none", 0)
    place = names.index(label)
    return place, tuple(names[:place] + names[place + 1 :])


def _cell(cell: str, row: int, column: str) -> float:
    try:
        number = float(cell)
    except ValueError:
        number = math.nan
    if not math.isfinite(number) or "_" in cell:
        received = describe(cell) if cell else "an empty cell"
        raise file_problem(f"must be a finite number. Received: {received}", row, column)
    return number


def _typed(labels: list[str]) -> list[Any]:
    try:
        integers = [int(label) for label in labels]
    except ValueError:
        return labels
    # "007" and "+7" are names, not numbers: only text that int() and str() reproduce is an integer. An integer beyond
    # JavaScript's range is a name too, because clients could not send it exactly.
    exact = all(str(number) == label for number, label in zip(integers, labels, strict=True))
    return integers if exact and all(abs(number) < 2**53 for number in integers) else labels
