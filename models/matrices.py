"""Numbers and labels out of parsed JSON, without a schema walking over them.

``numpy.array`` alone would take ``"1"`` for 1, ``true`` for 1 and ``null`` for NaN; here they are refused, by place.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from models.errors import InvalidError
from nncore.arrays import Array

__all__ = ["CLASS_LIST", "LABELS", "MATRIX", "WEIGHTS", "Array", "Label", "Labels", "number_matrix", "parse_labels"]

Label = int | str

# What these look like on the wire, as JSON schemas.
MATRIX: dict[str, Any] = {"type": "array", "items": {"type": "array", "items": {"type": "number"}}}
LABELS: dict[str, Any] = {
    "description": "One label a row: integers, strings, or one-hot rows.",
    "oneOf": [
        {"type": "array", "items": {"type": "integer"}},
        {"type": "array", "items": {"type": "string"}},
        {"type": "array", "items": {"type": "array", "items": {"type": "integer", "enum": [0, 1]}}},
    ],
}
CLASS_LIST: dict[str, Any] = {"type": "array", "items": {"oneOf": [{"type": "string"}, {"type": "integer"}]}}

WEIGHTS: dict[str, Any] = {"type": "array", "items": {"type": "number", "minimum": 0}}

#: How labels were given: as JSON values, as text in a CSV file, or as one-hot rows.
LabelKind = Literal["values", "text", "one_hot"]


class Labels(NamedTuple):
    """Class numbers of shape (n_samples,), and the class that each number stands for."""

    codes: Array
    classes: tuple[Label, ...]
    kind: LabelKind


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


def parse_labels(value: Any, pointer: str) -> Labels:
    """Class numbers from integers, strings, or one-hot rows; classes are sorted, one-hot columns are ``0…n-1``.

    Raises InvalidError naming the first label that is none of these.
    """
    if not isinstance(value, list) or not value:
        raise InvalidError.at(pointer, f"must be a list of labels, one a row. Received: {describe(value)}")
    kinds = set(map(type, value))
    if kinds == {list}:
        return _one_hot_labels(value, pointer)
    if kinds not in ({int}, {str}):
        first = type(value[0])
        good = first if first in (int, str) else int
        place = next(index for index, label in enumerate(value) if type(label) is not good)
        wanted = {int: "an integer", str: "a string"}[good]
        like = " like the first one" if place else ", a string or a one-hot row"
        raise InvalidError.at(f"{pointer}/{place}", f"must be {wanted}{like}. Received: {describe(value[place])}")
    return encode(value, "values")


def encode(labels: list[Any], kind: LabelKind) -> Labels:
    """Number the sorted distinct labels, and each label by them."""
    classes = sorted(set(labels))
    numbers = {label: code for code, label in enumerate(classes)}
    return Labels(np.fromiter((numbers[label] for label in labels), np.intp, len(labels)), tuple(classes), kind)


def _one_hot_labels(value: list[Any], pointer: str) -> Labels:
    matrix = number_matrix(value, pointer)
    good = ((matrix == 0) | (matrix == 1)).all(axis=1) & ((matrix == 1).sum(axis=1) == 1)
    if not good.all():
        row = int(np.argmin(good))
        raise InvalidError.at(f"{pointer}/{row}", f"must hold one 1 and otherwise 0. Received: {describe(value[row])}")
    return Labels(np.argmax(matrix, axis=1), tuple(range(matrix.shape[1])), "one_hot")


def describe(value: Any) -> str:
    """A short picture of a received value for an error message."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case dict():
            return "an object"
        case list():
            return (
                f"a list of {len(value)}"
                if len(value) > 8 or any(type(x) in (list, dict, str) for x in value)
                else repr(value)
            )
        case str():
            return repr(value if len(value) <= 60 else value[:57] + "…")
    return repr(value)
