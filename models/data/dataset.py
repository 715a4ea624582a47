"""Labelled rows: parsed from JSON or CSV, kept as HDF5.

/         attrs: format "trainyard-dataset", format_version 1, features (JSON), label_kind, created_at, name: empty for
          rows that came within a training request
/inputs   (n_rows, n_features) float32 where that holds every number exactly, else float64
/labels   (n_rows,) int64, indices into classes
/classes  UTF-8 JSON list, as bytes
/weights  (n_rows,) float64, how much each row counts; absent where all count alike
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from models.data.labels import Label, Labels, parse_labels
from models.data.rows import number_matrix
from models.errors import InvalidError, Problem, describe, file_fault
from nncore.arrays import Array

__all__ = ["Dataset", "from_rows"]


#: Weights of rows that are not 0; beyond these they would not be weights in float32.
SMALLEST_WEIGHT, LARGEST_WEIGHT = 1e-12, 1e12
WEIGHT_RULE = f"must be 0 or from {SMALLEST_WEIGHT:g} to {LARGEST_WEIGHT:g}"


@dataclass(frozen=True)
class Dataset:
    """Rows of numbers (n_rows, n_features), a label for each, the features' names and, where given, rows' weights."""

    inputs: Array
    labels: Labels
    features: tuple[str, ...]
    weights: Array | None = None

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(self.inputs)

    def require_two_classes(self, pointer: str, column: str | None = None) -> None:
        """Raise InvalidError where all rows carry one label: there is nothing to tell apart.

        The labels' place is ``pointer``, or the ``column`` of a CSV file.
        """
        present = np.unique(self.labels.codes)
        if len(present) < 2:
            only = describe(self.labels.classes[int(present[0])])
            detail = f"must hold at least two different classes. Received: only {only}"
            raise file_fault(detail, column=column) if column is not None else InvalidError.at(pointer, detail)

    def codes_for(self, classes: Sequence[Label], pointer: str) -> Array:
        """Each row's place in a model's ``classes``; raises InvalidError for the first label that has none.

        One-hot columns are matched by place. Labels from a CSV file are text, so there 7 also stands for "7".
        ``pointer`` is the place of the labels or, where it ends in "dataset", of the name of what holds them.
        """
        if self.labels.kind == "one_hot":
            if len(self.labels.classes) != len(classes):
                raise InvalidError.at(
                    pointer, f"one-hot rows must have {len(classes)} columns. Received: {len(self.labels.classes)}"
                )
            return self.labels.codes
        places = {label: place for place, label in enumerate(classes)}
        as_text = self.labels.kind == "text" and isinstance(classes[0], str)
        table = np.array([places.get(str(label) if as_text else label, -1) for label in self.labels.classes], np.intp)
        codes: Array = table[self.labels.codes]
        if (codes < 0).any():
            row = int(np.argmin(codes))
            known = ", ".join(map(describe, classes[:8])) + (", …" if len(classes) > 8 else "")
            received = describe(self.labels.classes[int(self.labels.codes[row])])
            place = pointer if pointer.endswith("dataset") else f"{pointer}/{row}"
            raise InvalidError.of([Problem(place, f"must be one of {known}. Received: {received}", row=row + 1)])
        return codes


def from_rows(inputs: Any, labels: Any, pointer: str = "", weights: Any = None) -> Dataset:
    """A dataset from parsed JSON; raises InvalidError for what is not rows of numbers with one label each.

    ``weights``, where given, is one number a row, 0 or more and not all 0.
    """
    matrix = number_matrix(inputs, f"{pointer}/inputs")
    parsed = parse_labels(labels, f"{pointer}/labels")
    if len(parsed.codes) != len(matrix):
        raise InvalidError.at(
            f"{pointer}/labels", f"must hold {len(matrix)} labels, one a row. Received: {len(parsed.codes)}"
        )
    features = tuple(f"feature_{index}" for index in range(matrix.shape[1]))
    return Dataset(matrix, parsed, features, _weights(weights, len(matrix), f"{pointer}/weights"))


def _weights(value: Any, rows: int, pointer: str) -> Array | None:
    if value is None:
        return None
    if not isinstance(value, list) or len(value) != rows:
        raise InvalidError.at(pointer, f"must be a list of {rows} numbers, one a row. Received: {describe(value)}")
    try:
        weights: Array = number_matrix([value], pointer)[0]
    except InvalidError as error:
        raise error.moved(f"{pointer}/0", pointer) from None
    bad = bad_weight(weights)
    if bad is not None:
        raise InvalidError.at(f"{pointer}/{bad}", f"{WEIGHT_RULE}. Received: {weights[bad]:g}")
    if not weights.any():
        raise InvalidError.at(pointer, "must not all be 0")
    return weights


def bad_weight(weights: Array) -> int | None:
    """The first row whose weight is none that every dtype can hold."""
    bad = (weights != 0) & ((weights < SMALLEST_WEIGHT) | (weights > LARGEST_WEIGHT))
    return int(np.argmax(bad)) if bad.any() else None
