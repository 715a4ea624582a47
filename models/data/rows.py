"""Matrices of numbers from parsed JSON, checked without a schema for speed.

``numpy.array`` alone would read ``"1"`` and ``true`` as 1 and ``null`` as NaN; here they are refused with their place.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt

from models.errors import InvalidError, describe
from nncore.arrays import Array

__all__ = ["MATRIX", "WEIGHTS", "Array", "NumberRows", "number_matrix", "packed_matrix", "packer", "row_length"]


# JSON schemas of these values.
MATRIX: dict[str, Any] = {"type": "array", "items": {"type": "array", "items": {"type": "number"}}}

WEIGHTS: dict[str, Any] = {"type": "array", "items": {"type": "number", "minimum": 0}}


@dataclass(frozen=True, eq=False)
class NumberRows:
    """A list of rows from a large body, of which the numbers are in an array and the first fault is noted.

    ``numbers`` (n_rows, length) are those of all rows if there is no fault, as float64. ``count`` is the number of
    rows, ``length`` that of the first one. ``uneven`` is the first row that is empty, is no list or differs from the
    first one in length, with its length or what was received for it; ``no_number`` the first cell that is none, by row
    and column, with what was received.
    """

    numbers: Array
    count: int
    length: int
    uneven: tuple[int, int | str] | None = None
    no_number: tuple[int, int, str] | None = None

    def __repr__(self) -> str:
        """The rows as ``describe`` shows a list."""
        return f"a list of {self.count}"

    def matrix(self, pointer: str, dtype: npt.DTypeLike, width: int | None) -> Array:
        """The array that ``number_matrix`` makes of these rows; raises as it does."""
        uneven = self.uneven
        if width is not None and width != self.length and (uneven is None or uneven[0] > 0):
            uneven = 0, self.length
        if uneven is not None:
            row, received = uneven
            if isinstance(received, str):
                raise InvalidError.at(f"{pointer}/{row}", f"must be a row of numbers. Received: {received}")
            raise _of_length(f"{pointer}/{row}", received, width or self.length, of_model=bool(width))
        if self.no_number is not None:
            row, column, received = self.no_number
            raise InvalidError.at(f"{pointer}/{row}/{column}", f"must be a number. Received: {received}")
        with np.errstate(over="ignore"):
            matrix = self.numbers.astype(dtype, copy=False)
        if not np.isfinite(matrix).all():
            row, column = np.argwhere(np.abs(self.numbers) > np.finfo(matrix.dtype).max)[0].tolist()
            detail = f"is too large for {matrix.dtype}. Received: {describe(self.numbers[row, column].item())}"
            raise InvalidError.at(f"{pointer}/{row}/{column}", detail)
        return matrix


def row_length(rows: Any) -> int | None:
    """The number of values in the first row of what may be a list of rows; None if it is none."""
    if isinstance(rows, NumberRows):
        return rows.length
    return len(rows[0]) if isinstance(rows, list) and rows and isinstance(rows[0], list) else None


def number_matrix(value: Any, pointer: str, dtype: npt.DTypeLike = np.float64, width: int | None = None) -> Array:
    """An array (n_rows, n_columns) from a list of rows of numbers, or from what was read of a large one.

    Raises InvalidError if there are no rows, rows differ in length or from ``width``, a cell is not a number, or a
    number is too large for ``dtype``.
    """
    if isinstance(value, NumberRows):
        return value.matrix(pointer, dtype, width)
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
            raise _of_length(f"{pointer}/{number}", len(row), expected, of_model=bool(width))
        kinds.update(map(type, row))
    if not kinds <= {int, float}:
        _refuse_first(value, pointer, lambda cell: type(cell) not in (int, float), "must be a number")
    with np.errstate(over="ignore"):
        matrix = np.array(value, dtype)
    if not np.isfinite(matrix).all():
        largest = float(np.finfo(matrix.dtype).max)
        _refuse_first(value, pointer, lambda cell: abs(cell) > largest, f"is too large for {matrix.dtype}")
    return matrix


def packed_matrix(value: Any, dtype: np.dtype[Any], width: int) -> Array | None:
    """The array that ``number_matrix`` makes of a list of rows, in a third of the time; None if it might refuse them.

    The rows must not hold truths, which would be read as 1 and 0.
    """
    if type(value) is not list or not value or any(type(row) is not list or len(row) != width for row in value):
        return None
    pack = packer(len(value) * width, dtype.char)
    try:
        # It takes integers and floats alone.
        content = pack(*value[0]) if len(value) == 1 else pack(*chain.from_iterable(value))
    except (struct.error, TypeError, OverflowError):
        return None
    matrix = np.frombuffer(content, dtype).reshape(len(value), width)
    return matrix if np.isfinite(matrix).all() else None


@lru_cache(maxsize=1_000)
def packer(count: int, kind: str) -> Callable[..., bytes]:
    """A function that packs so many numbers, as C's float (f) or double (d)."""
    return struct.Struct(f"{count}{kind}").pack


def _of_length(pointer: str, received: int, expected: int, *, of_model: bool) -> InvalidError:
    wanted = f"{expected} numbers, {'one per input of the model' if of_model else 'like the first row'}"
    return InvalidError.at(pointer, f"must hold {wanted if received else 'numbers'}. Received: {received}")


def _refuse_first(rows: list[list[Any]], pointer: str, bad: Any, complaint: str) -> None:
    for i, row in enumerate(rows):
        for j, cell in enumerate(row):
            if bad(cell):
                raise InvalidError.at(f"{pointer}/{i}/{j}", f"{complaint}. Received: {describe(cell)}")
