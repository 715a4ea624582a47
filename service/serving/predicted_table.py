"""A table with its predictions beside its own columns, made in pieces."""

from __future__ import annotations

import os
from typing import IO

import numpy as np

from models.data.columns import Column, ColumnSpec
from models.data.labels import label_text
from models.data.matrix_table import label_column, special_name
from models.data.rows import Array
from models.data.table import Table
from models.errors import InvalidError, Problem
from models.serving.table_inputs import TableInputs
from service.serving.inference import RowOverflowError, infer
from service.serving.resolution import ServedVersion

__all__ = ["PredictedTable"]


class PredictedTable:
    """The columns of a table, then the likeliest class of each row, its probability and, with ``each``, those of all.

    ``store`` is an empty file that keeps what was predicted until it is read. A new column's name gets an underscore
    for each column of that name. Raises InvalidError with row and column of the first values that the model cannot
    take.
    """

    label = None
    weight = None

    def __init__(self, version: ServedVersion, table: Table, store: IO[bytes], *, each: bool) -> None:
        self._version, self._table, self._store = version, table, store
        self.rows = table.rows
        network = version.network
        classes = len(network.classes)
        self._record = np.dtype(
            [("code", "<i4"), ("top", network.dtype), *([("each", network.dtype, (classes,))] if each else [])]
        )
        own = [column.name for column in table.columns]
        labels = label_column(np.empty(0, np.intp), network.classes)
        prediction = special_name("prediction", own)
        self._names = [prediction, special_name("probability", [*own, prediction])]
        for label in network.classes if each else ():
            self._names.append(special_name(f"probability_{label_text(label)}", [*own, *self._names]))
        new = [ColumnSpec(name, "number") for name in self._names[1:]]
        self.columns = (*table.columns, ColumnSpec(prediction, labels.kind, labels.levels), *new)
        self._places = {name: place for place, name in enumerate(self._names)}
        self._latest: tuple[int, int, Array] | None = None
        self._predict()

    def read(self, name: str, start: int = 0, stop: int | None = None) -> Column:
        """The values of a column in the rows from ``start`` to before ``stop``; raises KeyError for an unknown name."""
        place = self._places.get(name)
        if place is None:
            return self._table.read(name, start, stop)
        records = self._records(start, self.rows if stop is None else min(stop, self.rows))
        if place == 0:
            return label_column(records["code"].astype(np.intp), self._version.network.classes)
        return Column("number", records["top"] if place == 1 else records["each"][:, place - 2])

    def _predict(self) -> None:
        """Predict all rows, so that every fault is found before the first one is sent."""
        inputs = TableInputs(self._version.network, self._table)
        for start in range(0, self.rows, inputs.step):
            stop = min(start + inputs.step, self.rows)
            try:
                probabilities = infer(self._version, inputs.piece(start, stop)).probabilities
            except RowOverflowError as error:
                raise InvalidError.of([Problem("", error.reason, row=start + error.row + 1)]) from None
            records = np.empty(stop - start, self._record)
            records["code"] = probabilities.argmax(axis=1)
            records["top"] = probabilities.max(axis=1)
            if "each" in (self._record.names or ()):
                records["each"] = probabilities
            self._store.write(records.tobytes())
        self._store.flush()

    def _records(self, start: int, stop: int) -> Array:
        """What was predicted for some rows; the columns of the same rows are read one after the other."""
        latest = self._latest
        if latest is None or latest[:2] != (start, stop):
            size = self._record.itemsize
            content = _read(self._store.fileno(), start * size, max(stop - start, 0) * size)
            latest = self._latest = (start, stop, np.frombuffer(content, self._record))
        return latest[2]


def _read(descriptor: int, place: int, length: int) -> bytes:
    pieces: list[bytes] = []
    while length and (piece := os.pread(descriptor, length, place)):
        pieces.append(piece)
        place, length = place + len(piece), length - len(piece)
    return b"".join(pieces)
