"""Labelled rows: parsed from JSON or CSV, kept as HDF5.

/         attrs: format "trainyard-dataset", format_version 1, features (JSON), label_kind, created_at, name (empty for
          the rows of a training request)
/inputs   (n_rows, n_features), float32 if it represents every number exactly, else float64
/labels   (n_rows,) int64, indices into classes
/classes  UTF-8 JSON list, as bytes
/weights  (n_rows,) float64, how much each row counts; absent if all rows count the same
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from models.data.labels import Label, Labels, match, parse_labels
from models.data.rows import number_matrix
from models.errors import InvalidError, Problem, describe, file_problem, listed
from nncore.arrays import Array

__all__ = ["Dataset", "from_rows"]


#: Limits of rows' weights other than 0; float32 cannot represent weights far beyond them.
SMALLEST_WEIGHT, LARGEST_WEIGHT = 1e-12, 1e12
WEIGHT_RULE = f"must be 0 or from {SMALLEST_WEIGHT:g} to {LARGEST_WEIGHT:g}"


@dataclass(frozen=True)
class Dataset:
    """Rows of numbers (n_rows, n_features), one label per row, the features' names and optional rows' weights.

    ``came_from`` has the place of each row among those that came, if rows without a label were left out; ``left_out``
    is their number.
    """

    inputs: Array
    labels: Labels
    features: tuple[str, ...]
    weights: Array | None = None
    came_from: Array | None = field(default=None, repr=False)
    left_out: int = 0

    @property
    def named(self) -> bool:
        """Whether the columns have names, rather than numbers for names."""
        return self.features != numbered(len(self.features))

    def place_of(self, row: int) -> int:
        """The place of a row among those that came."""
        return row if self.came_from is None else int(self.came_from[row])

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(self.inputs)

    def require_two_classes(self, pointer: str, column: str | None = None) -> None:
        """Raise InvalidError if all rows have the same label: a classifier needs two classes.

        The error's place is ``pointer``, or the ``column`` of a CSV file.
        """
        # Not np.unique, which imports numpy.ma: 12 ms at the start of every job.
        present = np.flatnonzero(np.bincount(self.labels.codes))
        if len(present) < 2:
            only = describe(self.labels.classes[int(present[0])])
            detail = f"must hold at least two different classes. Received: only {only}"
            raise file_problem(detail, column=column) if column is not None else InvalidError.at(pointer, detail)

    def codes_for(self, classes: Sequence[Label], pointer: str) -> Array:
        """Each row's index into a model's ``classes``. Raises InvalidError for the first label that is not a class.

        One-hot columns are matched by position, other labels by value (``models.data.labels``).
        ``pointer`` is the place of the labels or, if it ends in "dataset", the place of the dataset's name.
        """
        if self.labels.kind == "one_hot":
            if len(self.labels.classes) != len(classes):
                raise InvalidError.at(
                    pointer, f"one-hot rows must have {len(classes)} columns. Received: {len(self.labels.classes)}"
                )
            return self.labels.codes
        codes: Array = match(self.labels.classes, classes)[self.labels.codes]
        if (codes < 0).any():
            row = int(np.argmin(codes))
            known = listed(map(describe, classes), 8)
            received = describe(self.labels.classes[int(self.labels.codes[row])])
            row = self.place_of(row)
            place = pointer if pointer.endswith("dataset") else f"{pointer}/{row}"
            raise InvalidError.of([Problem(place, f"must be one of {known}. Received: {received}", row=row + 1)])
        return codes


def from_rows(inputs: Any, labels: Any, pointer: str = "", weights: Any = None) -> Dataset:
    """A dataset from parsed JSON. Raises InvalidError unless it holds rows of numbers with one label per row.

    ``weights``, if given, has one number per row, at least 0 and not all 0.
    """
    matrix = number_matrix(inputs, f"{pointer}/inputs")
    parsed = parse_labels(labels, f"{pointer}/labels")
    if len(parsed.codes) != len(matrix):
        raise InvalidError.at(
            f"{pointer}/labels", f"must hold {len(matrix)} labels, one per row. Received: {len(parsed.codes)}"
        )
    dataset = Dataset(matrix, parsed, numbered(matrix.shape[1]), _weights(weights, len(matrix), f"{pointer}/weights"))
    return _labelled(dataset, f"{pointer}/weights")


def numbered(count: int) -> tuple[str, ...]:
    """The names of columns that have none."""
    return tuple(f"feature_{index}" for index in range(count))


def _labelled(dataset: Dataset, pointer: str) -> Dataset:
    """The rows that have a label; ``pointer`` is the place of the weights."""
    codes = dataset.labels.codes
    if codes.min() >= 0:
        return dataset
    kept = np.flatnonzero(codes >= 0)
    weights = None if dataset.weights is None else dataset.weights[kept]
    if weights is not None and not weights.any():
        raise InvalidError.at(pointer, "must not all be 0 in the rows that have a label")
    labels = dataset.labels._replace(codes=codes[kept])
    return Dataset(dataset.inputs[kept], labels, dataset.features, weights, kept, len(codes) - len(kept))


def _weights(value: Any, rows: int, pointer: str) -> Array | None:
    if value is None:
        return None
    if not isinstance(value, list) or len(value) != rows:
        raise InvalidError.at(pointer, f"must be a list of {rows} numbers, one per row. Received: {describe(value)}")
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
    """Index of the first row with a weight outside the limits, or None."""
    bad = (weights != 0) & ((weights < SMALLEST_WEIGHT) | (weights > LARGEST_WEIGHT))
    return int(np.argmax(bad)) if bad.any() else None
