"""The file of any dataset as a table: version 2 is one, version 1 is a matrix with labels and perhaps weights."""

from __future__ import annotations

import errno
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np

from models.data.columns import MISSING_CODE, Column, ColumnSpec
from models.data.dataset import Dataset
from models.data.labels import Label, classes_of
from models.data.table import MemoryTable, Table
from models.errors import InvalidError, Problem
from models.formats.dataset_file import FORMAT, FORMAT_VERSION, load_dataset
from models.formats.table_file import TABLE_VERSION, FileTable
from nncore.arrays import Array

__all__ = [
    "ASKED",
    "MatrixTable",
    "classes_in",
    "is_table",
    "label_column",
    "load_rows",
    "matrix_of",
    "matrix_specs",
    "open_table",
    "special_name",
    "table_of",
]


#: Why a column is set aside if the client asked for it.
ASKED = "as asked"


@contextmanager
def open_table(path: Path) -> Iterator[Table]:
    """The table in a dataset's file, open until the context ends; raises OSError with its path if it is none."""
    if is_table(path):
        with FileTable(path) as table:
            yield table
        return
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise OSError(errno.EIO, f"is not a {FORMAT}: {error}", str(path)) from error
    with file:
        yield MatrixTable(file, path)


def is_table(path: Path) -> bool:
    """Whether a dataset's file has named and typed columns; raises FileNotFoundError if it is missing."""
    return _version(path) == TABLE_VERSION


def _version(path: Path) -> int | None:
    try:
        with h5py.File(path, "r") as file:
            found = file.attrs.get("format_version")
    except FileNotFoundError as error:
        raise FileNotFoundError(errno.ENOENT, "no such file", str(path)) from error
    except OSError:
        return None
    return int(found) if isinstance(found, (int, np.integer)) else None


def special_name(wanted: str, features: Sequence[str]) -> str:
    """A name for labels or weights of a matrix: ``wanted``, with an underscore for each feature of that name."""
    while wanted in features:
        wanted += "_"
    return wanted


def matrix_specs(
    features: Sequence[str], classes: Sequence[Label], *, weighted: bool
) -> tuple[tuple[ColumnSpec, ...], str, str | None]:
    """The columns of a matrix, then one of labels and one of weights if it has some; the names of these two."""
    label = special_name("label", features)
    weight = special_name("weight", features) if weighted else None
    specs = [ColumnSpec(name, "number") for name in features]
    empty = label_column(np.empty(0, np.intp), classes)
    specs.append(ColumnSpec(label, empty.kind, empty.levels))
    if weight is not None:
        specs.append(ColumnSpec(weight, "number"))
    return tuple(specs), label, weight


def label_column(codes: Array, classes: Sequence[Label]) -> Column:
    """A column of labels from the codes of their classes, of which -1 is a missing label."""
    kinds = set(map(type, classes))
    if kinds == {bool}:
        truths = np.array(classes, np.int8)
        return Column("boolean", _taken(truths, codes, MISSING_CODE), ("false", "true"))
    if kinds == {int} and max(map(abs, classes), default=0) < 2**63:  # type: ignore[arg-type]
        return Column("number", _taken(np.array(classes, np.int64), codes, np.nan))
    return Column("category", codes.astype(np.int32), tuple(map(str, classes)))


def load_rows(path: Path, pointer: str) -> Dataset:
    """The rows in a dataset's file as a matrix; raises OSError if it is unusable, and InvalidError as ``matrix_of``."""
    if not is_table(path):
        return load_dataset(path)
    with FileTable(path) as table:
        return matrix_of(table, pointer)


def matrix_of(table: Table, pointer: str) -> Dataset:
    """The numbers of a table as they are, with its labels and weights.

    A column that is set aside counts too if it holds numbers, unless the client asked for it. Raises InvalidError at
    ``pointer`` if no label is named, or if another column holds words or lacks values.
    """
    if table.label is None:
        known = ", ".join(column.name for column in table.columns[:20])
        raise InvalidError.at(pointer, f"must be a dataset whose label is named; its columns are {known}")
    features = [
        column
        for column in table.columns
        if column.name not in (table.label, table.weight) and column.reason != ASKED
        if column.reason is None or column.kind == "number"
    ]
    words = [column for column in features if column.kind != "number"]
    if words:
        found = ", ".join(f"{column.name!r} of type {column.kind}" for column in words[:5])
        raise InvalidError.at(pointer, f"must hold numbers only, because the model takes inputs. Received: {found}")
    matrix = np.empty((table.rows, len(features)))
    for place, column in enumerate(features):
        matrix[:, place] = table.read(column.name).values
        gaps = np.isnan(matrix[:, place])
        if gaps.any():
            row = int(np.argmax(gaps)) + 1
            detail = "must have no missing values, because the model takes inputs"
            raise InvalidError.of([Problem(pointer, f"{detail}. Received: nothing", row, column=column.name)])
    labels = classes_of(table.read(table.label), pointer)
    weights = None if table.weight is None else table.read(table.weight).values.astype(np.float64)
    return Dataset(matrix, labels, tuple(column.name for column in features), weights)


def _taken(values: Array, codes: Array, missing: float) -> Array:
    """The value of each code, or the missing one, for which whole numbers become floats."""
    if len(codes) and codes.min() < 0:
        values = values.astype(np.float64) if values.dtype.itemsize == 8 else values
        return np.append(values, values.dtype.type(missing))[codes]
    return values[codes]


def table_of(dataset: Dataset) -> MemoryTable:
    """A matrix with its labels as a table that shares its numbers."""
    specs, label, weight = matrix_specs(dataset.features, dataset.labels.classes, weighted=dataset.weights is not None)
    values = {name: Column("number", dataset.inputs[:, place]) for place, name in enumerate(dataset.features)}
    values[label] = label_column(dataset.labels.codes, dataset.labels.classes)
    if weight is not None and dataset.weights is not None:
        values[weight] = Column("number", dataset.weights)
    return MemoryTable(dataset.rows, specs, values, label, weight)


def classes_in(table: Table) -> tuple[Label, ...]:
    """The classes of a stored table: those that the file of a matrix lists, else those of the column of labels."""
    if isinstance(table, MatrixTable):
        return table.classes
    return () if table.label is None else classes_of(table.read(table.label)).classes


class MatrixTable:
    """The table in a file of version 1. The rows that were read last are kept, because columns are read in turn."""

    def __init__(self, file: h5py.File, path: Path) -> None:
        self._path = path
        try:
            found = file.attrs.get("format"), file.attrs.get("format_version")
            if found != (FORMAT, FORMAT_VERSION):
                raise ValueError(f"its format and version are {found}")  # noqa: TRY301 - handled like errors of HDF5
            features: list[str] = json.loads(file.attrs["features"])
            self.classes: tuple[Label, ...] = tuple(json.loads(file["classes"][()].tobytes()))
            self._inputs, self._labels = file["inputs"], file["labels"]
            self._weights = file.get("weights")
        except (OSError, KeyError, ValueError) as error:
            raise OSError(errno.EIO, f"is not a {FORMAT}: {error}", str(path)) from error
        self.rows = len(self._labels)
        weighted = self._weights is not None
        specs, label, weight = matrix_specs(features, self.classes, weighted=weighted)
        self.columns: Sequence[ColumnSpec] = specs
        self.label: str | None = label
        self.weight: str | None = weight
        self._places = {name: place for place, name in enumerate(features)}
        self._block: tuple[tuple[int, int | None], Array] | None = None

    def read(self, name: str, start: int = 0, stop: int | None = None) -> Column:
        try:
            if name == self.label:
                return label_column(self._labels[start:stop].astype(np.intp), self.classes)
            if name == self.weight and self._weights is not None:
                return Column("number", self._weights[start:stop])
            place = self._places[name]
            if self._block is None or self._block[0] != (start, stop):
                self._block = (start, stop), self._inputs[start:stop]
        except OSError as error:
            raise OSError(errno.EIO, f"is not a {FORMAT}: {error}", str(self._path)) from error
        return Column("number", self._block[1][:, place])
