"""The file of a table: a dataset whose columns have names and types.

/                attrs: format "trainyard-dataset", format_version 2, created_at, name (empty for the rows of a training
                 request), rows, label and weight (names of columns; empty if there is none)
/specification   UTF-8 JSON list, as bytes: each column's name, type, levels and, if it is set aside, the reason
/source          UTF-8 JSON, as bytes: how the file was read, and warnings; absent if it is not stated
/columns/INDEX   (n_rows,) the values of a column, see ``models.data.columns``; for a text column a group:
    ends         (n_rows,) int64, the place behind each text in bytes
    bytes        uint8, the UTF-8 bytes of all texts, one after the other
"""

from __future__ import annotations

import errno
import json
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import h5py
import numpy as np

from models.data.columns import MISSING_CODE, Column, ColumnSpec
from models.data.table import Table
from models.formats.dataset_file import FORMAT, DatasetLabel, put_label
from models.formats.hdf5_image import ArrayInFile, Image, Put, hdf5_image
from nncore.arrays import Array

__all__ = ["TABLE_VERSION", "FileTable", "StoredColumn", "table_image"]

TABLE_VERSION = 2

#: The arrays of one column as the file holds them: one for most kinds, ``ends`` and ``bytes`` for text.
StoredColumn = Sequence[Array | ArrayInFile]


def stored(column: Column) -> Sequence[Array]:
    """A column's values as the file holds them."""
    if column.kind != "text":
        return [column.values]
    texts = [text.encode() for text in column.values]
    ends = np.cumsum([len(text) for text in texts], dtype=np.int64)
    return [ends, np.frombuffer(b"".join(texts), np.uint8)]


def table_image(table: Table, label: DatasetLabel) -> Image:
    """The file of a table in memory, good until its arrays change."""
    columns = [stored(table.read(column.name)) for column in table.columns]
    return build_image(table.rows, table.columns, columns, label, table.label, table.weight)


def build_image(
    rows: int,
    specification: Sequence[ColumnSpec],
    columns: Sequence[StoredColumn],
    description: DatasetLabel,
    label: str | None,
    weight: str | None,
) -> Image:
    """The file of a table from its columns' arrays."""

    def build(file: h5py.File, put: Put) -> None:
        file.attrs["format"], file.attrs["format_version"] = FORMAT, TABLE_VERSION
        put_label(file, put, description)
        file.attrs["rows"], file.attrs["label"], file.attrs["weight"] = rows, label or "", weight or ""
        document = [
            {"name": each.name, "type": each.kind, "levels": list(each.levels), "reason": each.reason}
            for each in specification
        ]
        put("specification", np.frombuffer(json.dumps(document).encode(), np.uint8))
        for index, arrays in enumerate(columns):
            if len(arrays) == 1:
                put(f"columns/{index}", arrays[0])
            else:
                for name, array in zip(("ends", "bytes"), arrays, strict=True):
                    put(f"columns/{index}/{name}", array)

    return hdf5_image(build)


class FileTable:
    """A table in a file, read in pieces; a context manager that closes it.

    Raises OSError with the file's name if the file is missing or is not a table.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._file = h5py.File(path, "r")
        except FileNotFoundError as error:
            raise FileNotFoundError(errno.ENOENT, "no such file", str(path)) from error
        try:
            attributes = self._file.attrs
            found = attributes.get("format"), attributes.get("format_version")
            if found != (FORMAT, TABLE_VERSION):
                raise ValueError(f"its format and version are {found}")  # noqa: TRY301 - handled like errors of HDF5
            self.rows = int(attributes["rows"])
            self.label: str | None = attributes["label"] or None
            self.weight: str | None = attributes["weight"] or None
            document = json.loads(self._file["specification"][()].tobytes())
            self.columns = tuple(
                ColumnSpec(each["name"], each["type"], tuple(each["levels"]), each["reason"]) for each in document
            )
        except (OSError, KeyError, RuntimeError, ValueError, TypeError) as error:
            self._file.close()
            raise self._damage(error) from error
        self._places = {column.name: index for index, column in enumerate(self.columns)}

    def read(self, name: str, start: int = 0, stop: int | None = None) -> Column:
        """The values of a column in the rows from ``start`` to before ``stop``; raises KeyError for an unknown name."""
        place = self._places[name]
        try:
            return self._read(self.columns[place], self._file[f"columns/{place}"], start, stop)
        except (OSError, KeyError, RuntimeError, ValueError, TypeError) as error:
            raise self._damage(error) from error

    def _read(self, column: ColumnSpec, item: Any, start: int, stop: int | None) -> Column:
        if column.kind != "text":
            values = item[start:stop]
            if column.kind in ("category", "boolean"):
                low, high = values.min(initial=MISSING_CODE), values.max(initial=MISSING_CODE)
                if low < MISSING_CODE or high >= len(column.levels):
                    raise ValueError(f"column {column.name!r} has codes beyond its {len(column.levels)} levels")
            return Column(column.kind, values, column.levels)
        ends = item["ends"][max(start - 1, 0) : stop].tolist()
        begin = ends.pop(0) if start and ends else 0
        last = ends[-1] if ends else begin
        if not 0 <= begin <= last <= len(item["bytes"]):
            raise ValueError(f"column {column.name!r} has texts beyond its bytes")
        content = item["bytes"][begin:last].tobytes()
        texts, place = np.empty(len(ends), object), begin
        for row, end in enumerate(ends):
            if not place <= end <= last:
                raise ValueError(f"column {column.name!r} has texts that do not follow one another")
            texts[row], place = content[place - begin : end - begin].decode(), end
        return Column("text", texts)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _damage(self, error: Exception) -> OSError:
        found = str(error).replace(str(self._path), self._path.name)
        return OSError(errno.EIO, f"is not a {FORMAT} of version {TABLE_VERSION}: {found}", str(self._path))
