"""Numbers and labels out of parsed JSON, without a schema walking over them.

``numpy.array`` alone would take ``"1"`` for 1, ``true`` for 1 and ``null`` for NaN; here they are refused, by place.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from models.errors import InvalidError, describe
from nncore.arrays import Array

__all__ = ["MATRIX", "WEIGHTS", "Array", "number_matrix"]


# What these look like on the wire, as JSON schemas.
MATRIX: dict[str, Any] = {"type": "array", "items": {"type": "array", "items": {"type": "number"}}}

WEIGHTS: dict[str, Any] = {"type": "array", "items": {"type": "number", "minimum": 0}}


def number_matrix(value: Any, pointer: str, dtype: npt.DTypeLike = np.float64, width: int | None = None) -> Array:
    """An array (n_rows, n_columns) from a list of rows of numbers.

    Raises InvalidError for anything else: no rows, ragged rows, a width other than ``width``, something that is not a
    number, a number too large for ``dtype``.
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
            wanted = f"{expected} numbers, as {'the model takes' if width else 'the first row has'}"
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
