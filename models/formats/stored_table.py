"""The file of any dataset as a table: version 2 is one, version 1 is a matrix with labels and perhaps weights."""

from __future__ import annotations

import errno
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np

from models.data.columns import Column, ColumnSpec
from models.data.labels import Label, classes_of
from models.data.matrix_table import label_column, matrix_specs
from models.data.table import Table
from models.formats.dataset_file import FORMAT, FORMAT_VERSION
from models.formats.table_file import TABLE_VERSION, FileTable
from nncore.arrays import Array

__all__ = ["MatrixTable", "classes_in", "is_table", "open_table"]


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
    except (OSError, KeyError, RuntimeError, ValueError):  # HDF5 raises all of them for damaged files.
        return None
    return int(found) if isinstance(found, (int, np.integer)) else None


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
        except (OSError, KeyError, RuntimeError, ValueError, TypeError) as error:
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
