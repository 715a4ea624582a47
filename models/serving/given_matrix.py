"""Matrices of numbers that arrive as arrays, as clients give the rows of a model."""

from __future__ import annotations

import numpy as np

from models.errors import InvalidError, describe
from models.serving.served_model import ServedModel
from nncore.arrays import Array

__all__ = ["matrix_rows", "require_matrix"]


def require_matrix(served: ServedModel, pointer: str) -> None:
    """Raise InvalidError if a model's rows cannot come as a matrix."""
    if not served.takes_matrix:
        raise InvalidError.at(pointer, 'is for models of numbers alone; write "rows": [{column: value, …}, …]')


def matrix_rows(served: ServedModel, numbers: Array, pointer: str) -> Array:
    """What the network reads for rows of numbers (n_rows, n_columns) of any type, in the order of the model's columns.

    A row may also have the numbers of the columns that the model sets aside. NaN is a missing value if the model reads
    a table, and refused if it does not. Raises InvalidError, with the place of a row or number below ``pointer``.
    """
    require_matrix(served, pointer)
    plan = served.plan
    rows, length = numbers.shape
    if not rows:
        raise InvalidError.at(pointer, "must hold at least one row. Received: none")
    whole = plan is not None and plan.is_whole(length)
    if length != served.inputs and not whole:
        detail = f"must hold {served.inputs} numbers, one per input of the model. Received: {length}"
        raise InvalidError.at(f"{pointer}/0", detail)
    dtype = served.dtype if plan is None or plan.plain else np.dtype(np.float64)
    matrix = numbers
    if numbers.dtype != dtype:
        with np.errstate(over="ignore", invalid="ignore"):
            matrix = numbers.astype(dtype)
    if not np.isfinite(matrix).all():
        _require_finite(numbers, matrix, pointer, gaps=plan is not None and not plan.plain)
    if plan is None:
        return matrix
    if whole:
        matrix = matrix[:, plan.places]
    return plan.matrix(matrix)


def _require_finite(numbers: Array, matrix: Array, pointer: str, *, gaps: bool) -> None:
    """Raise InvalidError for the first number that is infinite or too large, or NaN unless it is a missing value."""
    bad = np.isinf(matrix) if gaps else ~np.isfinite(matrix)
    if bad.any():
        row, column = np.argwhere(bad)[0].tolist()
        value = numbers[row, column].item()
        what = f"is too large for {matrix.dtype}" if np.isfinite(value) else "must be a finite number"
        raise InvalidError.at(f"{pointer}/{row}/{column}", f"{what}. Received: {describe(value)}")
