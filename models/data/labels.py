"""Labels: parsed from JSON and numbered by class."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np

from models.data.rows import number_matrix
from models.errors import InvalidError, describe
from nncore.arrays import Array

__all__ = ["CLASS_LIST", "LABELS", "Label", "Labels", "parse_labels"]


Label = int | str
LABELS: dict[str, Any] = {
    "description": "One label per row: integers, strings, or one-hot rows.",
    "oneOf": [
        {"type": "array", "items": {"type": "integer"}},
        {"type": "array", "items": {"type": "string"}},
        {"type": "array", "items": {"type": "array", "items": {"type": "integer", "enum": [0, 1]}}},
    ],
}
CLASS_LIST: dict[str, Any] = {"type": "array", "items": {"oneOf": [{"type": "string"}, {"type": "integer"}]}}
#: The form of the labels: JSON values, text in a CSV file, or one-hot rows.
LabelKind = Literal["values", "text", "one_hot"]


class Labels(NamedTuple):
    """Class codes of shape (n_samples,), and the class of each code."""

    codes: Array
    classes: tuple[Label, ...]
    kind: LabelKind


def parse_labels(value: Any, pointer: str) -> Labels:
    """Parse integers, strings, or one-hot rows. Classes are sorted; those of one-hot columns are ``0…n-1``.

    Raises InvalidError for the first label of another type.
    """
    if not isinstance(value, list) or not value:
        raise InvalidError.at(pointer, f"must be a list of labels, one per row. Received: {describe(value)}")
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
    """Sort the distinct labels into classes, and encode each label as the index of its class."""
    classes = sorted(set(labels))
    numbers = {label: code for code, label in enumerate(classes)}
    return Labels(np.fromiter((numbers[label] for label in labels), np.intp, len(labels)), tuple(classes), kind)


def _one_hot_labels(value: list[Any], pointer: str) -> Labels:
    matrix = number_matrix(value, pointer)
    good = ((matrix == 0) | (matrix == 1)).all(axis=1) & ((matrix == 1).sum(axis=1) == 1)
    if not good.all():
        row = int(np.argmin(good))
        raise InvalidError.at(f"{pointer}/{row}", f"must hold one 1, and 0 elsewhere. Received: {describe(value[row])}")
    return Labels(np.argmax(matrix, axis=1), tuple(range(matrix.shape[1])), "one_hot")
