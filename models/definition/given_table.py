"""A table that a request gives for a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from models.data.columns import ColumnSpec
from models.data.dataset import Dataset
from models.data.labels import MISSING_LABEL, UNKNOWN_LABEL, Label, Labels, classes_of, match
from models.data.matrix_table import table_of
from models.data.profile import TableDetails
from models.data.sketch import sketch_of
from models.data.table import MemoryTable, Table
from models.errors import InvalidError, Problem, describe, escaped, listed, near
from models.features.feature import Feature
from models.features.fitted import used
from nncore.arrays import Array

__all__ = ["GivenTable", "Outline", "Place", "label_of", "matrix_as_table"]

#: Classes that a message names.
NAMED = 8


@dataclass(frozen=True)
class Place:
    """The place of rows in a request: the JSON pointer of the part that gives them.

    With ``stored``, that part names a stored dataset; otherwise it contains the rows.
    """

    pointer: str
    stored: bool

    @property
    def name(self) -> str:
        """The place of the dataset's name, or of the rows."""
        return f"{self.pointer}/dataset" if self.stored else f"{self.pointer}/rows"

    def moved(self, error: InvalidError) -> InvalidError:
        """An error about values of columns, with pointers to what the client wrote."""
        return error.with_problems([replace(problem, pointer=self._of(problem)) for problem in error.problems])

    def _of(self, problem: Problem) -> str:
        if self.stored or problem.row is None or problem.column is None:
            return self.name
        return f"{self.name}/{problem.row - 1}/{escaped(problem.column)}"


def label_of(label: str | None, own: str | None, columns: Sequence[ColumnSpec], place: Place) -> str:
    """The label column that a request names, or that of the dataset.

    Raises InvalidError with the columns if neither names one, or if there is no such column.
    """
    names = [column.name for column in columns]
    chosen = label or own
    if chosen is None:
        known = listed(names, 50)
        raise InvalidError.at(f"{place.pointer}/label", f"is required: which column holds the classes? One of {known}")
    if chosen not in names:
        detail = f"must name a column{near(chosen, names)}. Received: {describe(chosen)}"
        raise InvalidError.at(f"{place.pointer}/label", detail)
    return chosen


def codes_in(labels: Labels, classes: Sequence[Label], place: Place) -> Array:
    """The class number of each row, (n_rows,), ``MISSING_LABEL`` for rows without a label.

    Raises InvalidError for the first label that is not a class.
    """
    found = match(labels.classes, classes)
    codes: Array = np.append(found, MISSING_LABEL)[labels.codes]
    if (codes == UNKNOWN_LABEL).any():
        row = int(np.argmax(codes == UNKNOWN_LABEL))
        raise _unknown(labels.classes[int(labels.codes[row])], classes, place, row + 1)
    return codes


def _unknown(label: Label, classes: Sequence[Label], place: Place, row: int | None = None) -> InvalidError:
    known = listed(map(describe, classes), NAMED)
    return InvalidError.of([Problem(place.name, f"must be one of {known}. Received: {describe(label)}", row=row)])


class Outline:
    """What a check needs of a table, from its details alone: no row is read.

    ``classes`` are those of the label column, ``counts`` (n_classes,) their rows.
    """

    def __init__(self, details: TableDetails, label: str | None, place: Place) -> None:
        self.details, self.place = details, place
        self.label = label_of(label, details.label, details.columns, place)
        index = next(index for index, column in enumerate(details.columns) if column.name == self.label)
        profile = details.profile[index]
        self.sketch = sketch_of(details)
        if details.columns[index].kind == "text":
            detail = "must name a column of classes. Received: one of texts; types can make it a category"
            raise InvalidError.at(f"{place.pointer}/label", detail)
        listed = profile.get("values", profile.get("levels", []))
        column = self.sketch.read(self.label)
        if column.kind == "number":
            column = column._replace(values=np.array([each["value"] for each in listed], np.float64))
            if not listed and profile["distinct"]:
                column = column._replace(values=np.arange(profile["distinct"], dtype=np.float64))
        labels = classes_of(column, f"{place.pointer}/label")
        self.classes, self.counts = labels.classes, np.zeros(len(labels.classes), np.int64)
        if column.kind == "number":
            self.counts[labels.codes] = [each["count"] for each in listed]
        else:
            # Levels beyond those that a profile lists have at least one row.
            by_level = {each["value"]: each["count"] for each in listed}
            lacking = 0 if len(by_level) < profile["distinct"] == len(column.levels) else 1
            for code, place_of in zip(column.values.tolist(), labels.codes.tolist(), strict=True):
                if code >= 0:
                    self.counts[place_of] = by_level.get(column.levels[code], lacking)
        self.missing = int(profile["missing"])

    @property
    def rows(self) -> int:
        """The number of rows that have a label."""
        return int(self.counts.sum())

    def codes_for(self, classes: Sequence[Label]) -> Array:
        """The class numbers of all rows with a label, (n_rows,), sorted by class.

        Raises InvalidError for a label that is not a class, and if all rows have the same label.
        """
        found = match(self.classes, classes)
        for place, count in enumerate(self.counts.tolist()):
            if count and found[place] == UNKNOWN_LABEL:
                raise _unknown(self.classes[place], classes, self.place)
        return np.repeat(found, self.counts)

    def require_two_classes(self) -> None:
        """Raise InvalidError if fewer than two classes have rows: a classifier needs two."""
        present = np.flatnonzero(self.counts)
        if len(present) < 2:
            only = f"only {describe(self.classes[int(present[0])])}" if len(present) else "none"
            place = self.place.name if self.details.label == self.label else f"{self.place.pointer}/label"
            raise InvalidError.at(place, f"must hold at least two different classes. Received: {only}")


@dataclass(frozen=True)
class GivenTable:
    """A table, its label column, and its place in a request."""

    table: Table
    label: str
    place: Place

    @cached_property
    def labels(self) -> Labels:
        """The labels of all rows."""
        return classes_of(self.table.read(self.label), f"{self.place.pointer}/label")

    def codes_for(self, classes: Sequence[Label]) -> Array:
        """The class number of each row, (n_rows,), ``MISSING_LABEL`` for rows without a label.

        Raises InvalidError for the first label that is not a class.
        """
        return codes_in(self.labels, classes, self.place)

    def weights(self) -> Array | None:
        """The rows' weights, (n_rows,); None if all count the same."""
        weight = self.table.weight
        return None if weight is None else self.table.read(weight).values.astype(np.float64)


def matrix_as_table(dataset: Dataset, features: Sequence[Feature], place: Place) -> MemoryTable:
    """A matrix as a table for a model with features: by the names of its columns, or if it has none, by their order.

    Raises InvalidError if the columns have no names and are not as many numbers as the model has features.
    """
    if dataset.named:
        return table_of(dataset)
    wanted = used(features)
    words = [feature.column for feature in wanted if feature.reads != "number"]
    pointer = place.name if place.stored else f"{place.pointer}/inputs"
    if words:
        detail = f"must be rows with the columns' names, because {describe(words[0])} is not a number"
        raise InvalidError.at(pointer, f"{detail}. Received: rows of numbers")
    if len(wanted) != dataset.inputs.shape[1]:
        detail = f"must have {len(wanted)} columns, one per feature. Received: {dataset.inputs.shape[1]}"
        raise InvalidError.at(pointer, detail)
    return table_of(replace(dataset, features=tuple(feature.column for feature in wanted)))
