"""Labelled rows: parsed from JSON or CSV, kept as HDF5.

/         attrs: format "trainyard-dataset", format_version 1, features (JSON), label_kind, created_at, name: empty for
          rows that came within a training request
/inputs   (n_rows, n_features) float32 where that holds every number exactly, else float64
/labels   (n_rows,) int64, indices into classes
/classes  UTF-8 JSON list, as bytes
/weights  (n_rows,) float64, how much each row counts; absent where all count alike
"""

from __future__ import annotations

import csv
import errno
import io
import json
import math
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from models.errors import InvalidError, Problem
from models.files import FileRecord, write_durably
from models.images import Put, hdf5_image
from models.matrices import Label, Labels, describe, encode, number_matrix, parse_labels
from nncore.arrays import Array

__all__ = [
    "Dataset",
    "DatasetLabel",
    "from_csv",
    "from_rows",
    "is_inline",
    "load_dataset",
    "load_label",
    "save_dataset",
]

#: Weights of rows that are not 0; beyond these they would not be weights in float32.
SMALLEST_WEIGHT, LARGEST_WEIGHT = 1e-12, 1e12
WEIGHT_RULE = f"must be 0 or from {SMALLEST_WEIGHT:g} to {LARGEST_WEIGHT:g}"

FORMAT, FORMAT_VERSION = "trainyard-dataset", 1


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
            raise _fault(detail, column=column) if column is not None else InvalidError.at(pointer, detail)

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
    bad = _bad_weight(weights)
    if bad is not None:
        raise InvalidError.at(f"{pointer}/{bad}", f"{WEIGHT_RULE}. Received: {weights[bad]:g}")
    if not weights.any():
        raise InvalidError.at(pointer, "must not all be 0")
    return weights


def _bad_weight(weights: Array) -> int | None:
    """The first row whose weight is none that every dtype can hold."""
    bad = (weights != 0) & ((weights < SMALLEST_WEIGHT) | (weights > LARGEST_WEIGHT))
    return int(np.argmax(bad)) if bad.any() else None


def from_csv(content: bytes, label: str, weight: str | None = None) -> Dataset:
    """A dataset from a CSV file (RFC 4180) with a header row; ``label`` and ``weight`` name columns of these.

    Labels become integers where all of them are, else strings. Raises InvalidError naming row (the header is row 0)
    and column of the first bad cell.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _fault(f"must be UTF-8. Received: byte {content[error.start]:#04x} at position {error.start}") from None
    lines = _records(text)
    header = next(lines, None)
    if header is None:
        raise _fault("must begin with a row of column names. Received: nothing")
    place, features = _columns(header, label)
    values, labels = array("d"), list[str]()
    for row, cells in enumerate(lines, start=1):
        if len(cells) != len(header):
            raise _fault(f"must have {len(header)} cells, as the header has. Received: {len(cells)}", row)
        labels.append(cells.pop(place))
        if not labels[-1]:
            raise _fault("must be a label. Received: an empty cell", row, label)
        try:
            numbers = list(map(float, cells))
        except ValueError:
            numbers = []
        if not numbers or not all(map(math.isfinite, numbers)) or "_" in "".join(cells):
            numbers = [_cell(cell, row, name) for cell, name in zip(cells, features, strict=True)]
        values.extend(numbers)
    if not labels:
        raise _fault("must hold at least one row below the header. Received: none")
    matrix = np.frombuffer(values, np.float64).reshape(len(labels), len(features))
    dataset = Dataset(matrix, encode(_typed(labels), "text"), features)
    return dataset if weight is None else _with_weights(dataset, weight)


def _with_weights(dataset: Dataset, column: str) -> Dataset:
    """The dataset with one of its columns taken for the rows' weights."""
    if column not in dataset.features:
        known = ", ".join(dataset.features)
        raise InvalidError.at("/weight", f"must name a column of numbers: {known}. Received: {describe(column)}")
    if len(dataset.features) < 2:
        raise _fault("must have at least one column beside labels and weights. Received: none", 0)
    place = dataset.features.index(column)
    weights = dataset.inputs[:, place].copy()
    bad = _bad_weight(weights)
    if bad is not None:
        raise _fault(f"{WEIGHT_RULE}. Received: {weights[bad]:g}", bad + 1, column)
    if not weights.any():
        raise _fault("must not be 0 in every row", None, column)
    features = tuple(name for name in dataset.features if name != column)
    return replace(dataset, inputs=np.delete(dataset.inputs, place, axis=1), features=features, weights=weights)


def _records(text: str) -> Iterator[list[str]]:
    """The rows of a CSV file; empty lines are passed over."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    row = 0
    try:
        for cells in reader:
            if cells:
                yield cells
                row += 1
    except csv.Error as error:
        raise _fault(f"is not CSV: {error}", row) from None


def _columns(header: list[str], label: str) -> tuple[int, tuple[str, ...]]:
    names = [name.strip() for name in header]
    seen: set[str] = set()
    for column, name in enumerate(names):
        if not name or name in seen:
            what = f"column {column + 1} has {'no name' if not name else f'the same name as an earlier one, {name!r}'}"
            raise _fault(f"every column must have a name of its own. Received: {what}", 0)
        seen.add(name)
    if label not in names:
        raise InvalidError.at("/label", f"must name a column: {', '.join(names)}. Received: {describe(label)}")
    if len(names) < 2:
        raise _fault("must have at least one column beside the labels. Received: none", 0)
    place = names.index(label)
    return place, tuple(names[:place] + names[place + 1 :])


def _cell(cell: str, row: int, column: str) -> float:
    try:
        number = float(cell)
    except ValueError:
        number = math.nan
    if not math.isfinite(number) or "_" in cell:
        received = describe(cell) if cell else "an empty cell"
        raise _fault(f"must be a finite number. Received: {received}", row, column)
    return number


def _fault(detail: str, row: int | None = None, column: str | None = None) -> InvalidError:
    where = [f"row {row}"] if row is not None else []
    where += [f"column {column!r}"] if column is not None else []
    return InvalidError(
        "validation_failed",
        f"{', '.join(where) or 'the file'}: {detail}",
        [Problem("", detail, row=row, column=column)],
    )


def _typed(labels: list[str]) -> list[Any]:
    try:
        integers = [int(label) for label in labels]
    except ValueError:
        return labels
    # "007" or "+7" are names, not numbers: only what prints back alike is taken for an integer. And an integer that
    # JavaScript cannot hold is a name too.
    exact = all(str(number) == label for number, label in zip(integers, labels, strict=True))
    return integers if exact and all(abs(number) < 2**53 for number in integers) else labels


@dataclass(frozen=True)
class DatasetLabel:
    """What a dataset's file says of itself: its name, None for rows within a training request, and when it came."""

    name: str | None
    created_at: str


def save_dataset(path: Path, dataset: Dataset, label: DatasetLabel | None = None) -> FileRecord:
    """Write a dataset durably."""
    with np.errstate(over="ignore"):
        single = dataset.inputs.astype(np.float32)
    inputs = single if np.array_equal(single, dataset.inputs) else dataset.inputs

    def build(file: h5py.File, put: Put) -> None:
        file.attrs["format"] = FORMAT
        file.attrs["format_version"] = FORMAT_VERSION
        file.attrs["features"] = json.dumps(dataset.features)
        file.attrs["label_kind"] = dataset.labels.kind
        if label is not None:
            file.attrs["name"], file.attrs["created_at"] = label.name or "", label.created_at
        put("inputs", inputs)
        put("labels", dataset.labels.codes.astype(np.int64))
        if dataset.weights is not None:
            put("weights", dataset.weights)
        put("classes", np.frombuffer(json.dumps(dataset.labels.classes).encode(), np.uint8))

    return write_durably(path, hdf5_image(build))


def load_dataset(path: Path) -> Dataset:
    """Read a dataset that ``save_dataset`` wrote; raises OSError with the file's name where the file is not one."""
    try:
        return _read(path)
    except FileNotFoundError as error:
        raise FileNotFoundError(errno.ENOENT, "no such file", str(path)) from error
    except (OSError, KeyError, ValueError) as error:
        found = str(error).replace(str(path), path.name)
        detail = f"is not a {FORMAT} of version {FORMAT_VERSION}: {found}"
        raise OSError(errno.EIO, detail, str(path)) from error


def load_label(path: Path) -> DatasetLabel | None:
    """What a dataset's file says of itself, None where it says nothing; raises OSError where it cannot be read."""
    with h5py.File(path, "r") as file:
        if "name" not in file.attrs:
            return None
        return DatasetLabel(file.attrs["name"] or None, file.attrs["created_at"])


def is_inline(path: Path) -> bool:
    """Whether a file says that its rows came within a training request, and so are of no use without that job."""
    try:
        label = load_label(path)
    except OSError:
        return False
    return label is not None and label.name is None


def _read(path: Path) -> Dataset:
    with h5py.File(path, "r") as file:
        format_and_version = file.attrs.get("format"), file.attrs.get("format_version")
        if format_and_version != (FORMAT, FORMAT_VERSION):
            raise ValueError(f"its format and version are {format_and_version}")
        classes = tuple(json.loads(file["classes"][()].tobytes()))
        labels = Labels(file["labels"][()].astype(np.intp), classes, file.attrs["label_kind"])
        weights = file["weights"][()] if "weights" in file else None
        return Dataset(file["inputs"][()], labels, tuple(json.loads(file.attrs["features"])), weights)
