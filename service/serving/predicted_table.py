"""A table with its predictions beside its own columns, made in pieces."""

from __future__ import annotations

import os
from collections.abc import Callable
from itertools import compress
from typing import IO, Any

import numpy as np

from models.data.columns import Column, ColumnKind, ColumnSpec
from models.data.labels import label_text
from models.data.matrix_table import label_column, special_name
from models.data.rows import Array
from models.data.table import Table
from models.errors import InvalidError, Problem
from models.serving.asked import NOTHING, Asked
from models.serving.table_inputs import TableInputs
from service.serving.inference import Prediction, RowOverflowError, infer, require_asked
from service.serving.resolution import ServedVersion

__all__ = ["PredictedTable"]

#: What stands between the labels of a set.
SEPARATOR = "|"


class PredictedTable:
    """The columns of a table, then the likeliest class of each row, its probability and, with ``each``, those of all.

    If ``asked`` for, the class labels in a row's set follow, with ``|`` between them, and its uncertainty. ``store`` is
    an empty file that keeps what was predicted until it is read; ``require_room`` is called before so many bytes are
    written to it. A new column's name gets an underscore for each column
    of that name. Raises InvalidError for what the version cannot answer, and with row and column of the first values
    that the model cannot take.
    """

    label = None
    weight = None

    def __init__(
        self,
        version: ServedVersion,
        table: Table,
        store: IO[bytes],
        *,
        each: bool,
        asked: Asked = NOTHING,
        require_room: Callable[[int], None] = lambda _size: None,
    ) -> None:
        require_asked(asked, version.network)
        self._version, self._table, self._store, self._asked = version, table, store, asked
        self.rows = table.rows
        network = version.network
        classes = len(network.classes)
        fields: list[tuple[Any, ...]] = [("code", "<i4"), ("top", network.dtype)]
        fields += [("each", network.dtype, (classes,))] if each else []
        fields += [("set", "?", (classes,))] if asked.coverage is not None else []
        fields += [("uncertainty", network.dtype)] if asked.uncertainty else []
        self._record = np.dtype(fields)
        require_room(self.rows * self._record.itemsize)
        own = [column.name for column in table.columns]
        self._beside: dict[str, str] = {}
        labels = label_column(np.empty(0, np.intp), network.classes)
        prediction = special_name("prediction", own)
        self._names = [prediction, special_name("probability", [*own, prediction])]
        for label in network.classes if each else ():
            self._names.append(special_name(f"probability_{label_text(label)}", [*own, *self._names]))
        new = [ColumnSpec(name, "number") for name in self._names[1:]]
        self._places = {name: place for place, name in enumerate(self._names)}
        kinds: tuple[tuple[str, ColumnKind], ...] = (("set", "text"), ("uncertainty", "number"))
        for name, kind in kinds:
            if name in (self._record.names or ()):
                column = special_name(name, [*own, *self._names])
                self._names.append(column)
                new.append(ColumnSpec(column, kind))
                self._beside[column] = name
        self.columns = (*table.columns, ColumnSpec(prediction, labels.kind, labels.levels), *new)
        self._texts = [_escaped(label_text(label)) for label in network.classes]
        self._latest: tuple[int, int, Array] | None = None
        self._predict()

    def read(self, name: str, start: int = 0, stop: int | None = None) -> Column:
        """The values of a column in the rows from ``start`` to before ``stop``; raises KeyError for an unknown name."""
        place, beside = self._places.get(name), self._beside.get(name)
        if place is None and beside is None:
            return self._table.read(name, start, stop)
        records = self._records(start, self.rows if stop is None else min(stop, self.rows))
        if beside == "set":
            return Column("text", self._sets(records["set"]))
        if place is None:
            return Column("number", records["uncertainty"])
        if place == 0:
            return label_column(records["code"].astype(np.intp), self._version.network.classes)
        return Column("number", records["top"] if place == 1 else records["each"][:, place - 2])

    def _sets(self, sets: Array) -> Array:
        """The labels in each set (n_rows, n_classes), in the order of the classes."""
        texts = np.empty(len(sets), object)
        for row, inside in enumerate(sets.tolist()):
            texts[row] = SEPARATOR.join(compress(self._texts, inside))
        return texts

    def _predict(self) -> None:
        """Predict all rows, so that every fault is found before the first one is sent."""
        inputs = TableInputs(self._version.network, self._table)
        for start in range(0, self.rows, inputs.step):
            stop = min(start + inputs.step, self.rows)
            try:
                prediction = infer(self._version, inputs.piece(start, stop), self._asked)
            except RowOverflowError as error:
                raise InvalidError.of([Problem("", error.reason, row=start + error.row + 1)]) from None
            self._store.write(self._recorded(prediction))
        self._store.flush()

    def _recorded(self, prediction: Prediction) -> bytes:
        probabilities, names = prediction.probabilities, self._record.names or ()
        records = np.empty(len(probabilities), self._record)
        records["code"] = probabilities.argmax(axis=1)
        records["top"] = probabilities.max(axis=1)
        for name, values in (
            ("each", probabilities),
            ("set", prediction.sets),
            ("uncertainty", prediction.uncertainty),
        ):
            if name in names:
                records[name] = values
        return records.tobytes()

    def _records(self, start: int, stop: int) -> Array:
        """What was predicted for some rows; the columns of the same rows are read one after the other."""
        latest = self._latest
        if latest is None or latest[:2] != (start, stop):
            size = self._record.itemsize
            content = _read(self._store.fileno(), start * size, max(stop - start, 0) * size)
            latest = self._latest = (start, stop, np.frombuffer(content, self._record))
        return latest[2]


def _escaped(label: str) -> str:
    """A label in which the separator has a backslash before it."""
    return label.replace("\\", "\\\\").replace(SEPARATOR, f"\\{SEPARATOR}")


def _read(descriptor: int, place: int, length: int) -> bytes:
    pieces: list[bytes] = []
    while length and (piece := os.pread(descriptor, length, place)):
        pieces.append(piece)
        place, length = place + len(piece), length - len(piece)
    return b"".join(pieces)
