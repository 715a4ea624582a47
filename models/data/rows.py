"""Matrices of numbers from parsed JSON, checked without a schema for speed.

``numpy.array`` alone would read ``"1"`` and ``true`` as 1 and ``null`` as NaN; here they are refused with their place.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from models.errors import InvalidError, describe
from nncore.arrays import Array

__all__ = ["MATRIX", "WEIGHTS", "Array", "number_matrix"]


# JSON schemas of these values.
MATRIX: dict[str, Any] = {"type": "array", "items": {"type": "array", "items": {"type": "number"}}}

WEIGHTS: dict[str, Any] = {"type": "array", "items": {"type": "number", "minimum": 0}}


def number_matrix(value: Any, pointer: str, dtype: npt.DTypeLike = np.float64, width: int | None = None) -> Array:
    """An array (n_rows, n_columns) from a list of rows of numbers.

    Raises InvalidError if there are no rows, rows differ in length or from ``width``, a cell is not a number, or a
    number is too large for ``dtype``.
    """
    if not isinstance(value, list):
        raise InvalidError.at(pointer, f"must be a list of rows of numbers. Received: {describe(value)}")
    if not value:
        raise InvalidError.at(pointer, "must hold at least one row. Received: an empty list")
    expected = width
    kinds: set[type] = set()
    for number, row in enumerate(value):
        if type(row) is not list:
            raise InvalidError.at(f"{pointer}/{number}", f"must be a row of numbers. Received: {describe(row)}")
        if expected is None:
            expected = len(row)
        if len(row) != expected or not row:
            wanted = f"{expected} numbers, {'one per input of the model' if width else 'like the first row'}"
            raise InvalidError.at(
                f"{pointer}/{number}", f"must hold {wanted if row else 'numbers'}. Received: {len(row)}"
            )
        kinds.update(map(type, row))
    if not kinds <= {int, float}:
        _refuse_first(value, pointer, lambda cell: type(cell) not in (int, float), "must be a number")
    with np.errstate(over="ignore"):
        matrix = np.array(value, dtype)
    if not np.isfinite(matrix).all():
        largest = float(np.finfo(matrix.dtype).max)
        _refuse_first(value, pointer, lambda cell: abs(cell) > largest, f"is too large for {matrix.dtype}")
    return matrix


def _refuse_first(rows: list[list[Any]], pointer: str, bad: Any, complaint: str) -> None:
    for i, row in enumerate(rows):
        for j, cell in enumerate(row):
            if bad(cell):
                raise InvalidError.at(f"{pointer}/{i}/{j}", f"{complaint}. Received: {describe(cell)}")
