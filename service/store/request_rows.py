"""Rows that a request gives: inline, or as the name of a stored dataset. Inline rows are stored as datasets too."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from models.clock import utc_now
from models.data.columns import ColumnKind
from models.data.dataset import Dataset, from_rows
from models.data.labelling import labelled, require_column
from models.data.labels import require_short_classes
from models.data.matrix_table import table_of
from models.data.profile import Provenance, TableDetails, details_of
from models.data.records import column_names, from_records
from models.data.table import MemoryTable
from models.definition.definition import ModelDefinition
from models.definition.given_rows import GivenRows
from models.definition.given_table import GivenTable, Outline, Place, label_of, matrix_as_table
from models.errors import InvalidError, MissingError
from models.features.feature import Feature
from models.formats.dataset_file import DatasetLabel, dataset_image, load_dataset
from models.formats.durable import FileRecord
from models.formats.stored_table import classes_in, is_table, open_table
from models.formats.table_file import FileTable, table_image
from models.registry import datasets
from models.registry.datasets import feature_names
from service.store.database import Database
from service.store.files import FileKind, FileStore

__all__ = ["Source", "given_rows", "keep"]


class Source:
    """The rows of one part of a request, at the JSON pointer ``pointer``: a matrix, or a table with its details.

    ``dataset_id`` is the id of the dataset that the part names. It is None for inline rows until they are stored.
    ``matrix`` is None for a table, whose rows are not read before ``table`` is called. Raises InvalidError if there is
    no such dataset, or if inline rows are neither numbers with one label each nor objects.

    With ``kinds``, inline objects are read for a model with columns of these kinds, and not prepared to be stored.
    """

    def __init__(
        self,
        database: Database,
        files: FileStore,
        part: dict[str, Any],
        pointer: str,
        kinds: Mapping[str, ColumnKind] | None = None,
    ) -> None:
        self._owner = database.caller.owner
        self._name: str | None = part.get("dataset")
        self._label: str | None = part.get("label")
        self.place = Place(pointer, stored=self._name is not None)
        self.dataset_id: str | None = None
        self.matrix: GivenRows | None = None
        self.details: TableDetails | None = None
        self._memory: MemoryTable | None = None
        self._local: Callable[[], Path] | None = None
        self._stored_rows = 0
        if self._name is not None:
            self._find(database, files)
        elif "rows" in part:
            table = replace(
                from_records(part["rows"], f"{pointer}/rows", kinds, limited=kinds is None), label=part["label"]
            )
            require_column(table.columns, part["label"], f"{pointer}/label")
            if kinds is None:
                self._memory, warnings = labelled(table, None, part.get("weight"), pointer=pointer)
                self.details = details_of(self._memory, Provenance({"type": "json"}, warnings))
            else:
                self._memory = table
                self.details = TableDetails(table.label, None, table.columns, {}, (), ())
        else:
            dataset = from_rows(part["inputs"], part["labels"], pointer, part.get("weights"))
            if kinds is None:
                require_short_classes(dataset.labels, f"{pointer}/labels", dataset.place_of)
            if "features" in part:
                names = column_names(part["features"], dataset.inputs.shape[1], pointer, limited=kinds is None)
                dataset = replace(dataset, features=tuple(names))
            self.matrix = GivenRows(dataset, pointer)
        self._dataset = None if self.matrix is None else self.matrix.dataset

    def _find(self, database: Database, files: FileStore) -> None:
        assert self._name is not None
        try:
            with database.read() as connection:
                row = datasets.find_dataset(connection, self._name)
        except MissingError as error:
            raise InvalidError.at(self.place.name, error.detail) from None
        self._stored_rows = row.rows
        # Asked each time it is opened: a copy of a file that lies elsewhere may be made anew meanwhile.
        self.dataset_id, self._local = row.id, partial(files.local, FileKind.DATASET, row.id, lambda: row.file)
        path = self._local()
        if is_table(path):
            self.details = row.details
        else:
            self.matrix = GivenRows(load_dataset(path, mapped=True), self.place.pointer, stored=True)

    @property
    def rows(self) -> int:
        """The number of rows."""
        if self.matrix is not None:
            return self.matrix.dataset.rows
        return self._stored_rows if self._memory is None else self._memory.rows

    @property
    def predicted_bytes(self) -> int:
        """Bytes that inline rows will take as a file, about: eight for each cell and label."""
        columns = self.matrix.dataset.inputs.shape[1] + 1 if self.matrix is not None else 0
        return 8 * self.rows * (columns if self._memory is None else len(self._memory.columns))

    @property
    def named(self) -> bool:
        """Whether the columns have names."""
        return self.matrix is None or self.matrix.dataset.named

    def as_table(self, features: Sequence[Feature] = ()) -> None:
        """Turn a matrix into a table for a model with ``features``; see ``matrix_as_table``."""
        if self.matrix is not None:
            self._memory = matrix_as_table(self.matrix.dataset, features, self.place)
            self.details = details_of(self._memory, Provenance({}))
            self.matrix = None

    def name_columns(self) -> None:
        """Turn a matrix into a table by the names of its columns; those without names are numbered."""
        if self.matrix is not None:
            self._memory = table_of(self.matrix.dataset)
            self.details = details_of(self._memory, Provenance({}))
            self.matrix = None

    def outline(self) -> Outline:
        """What a check needs of the table; raises InvalidError if it has no such label column."""
        assert self.details is not None
        return Outline(self.details, self._label, self.place)

    @contextmanager
    def table(self) -> Iterator[GivenTable]:
        """The table, open until the context ends."""
        assert self.details is not None
        label = label_of(self._label, self.details.label, self.details.columns, self.place)
        if self._memory is not None:
            yield GivenTable(self._memory, label, self.place)
        else:
            assert self._local is not None
            with open_table(self._local()) as table:
                yield GivenTable(table, label, self.place)

    def document(self, rows: int) -> dict[str, object]:
        """What a job shows of its rows: the dataset's name or id and its label as they were given, and how many."""
        given = {"dataset": self._name, "label": self._label if self._name is not None else None}
        return {**{name: value for name, value in given.items() if value is not None}, "rows": rows}

    def keep(self, files: FileStore, dataset_id: str) -> tuple[dict[str, Any], FileRecord]:
        """Write inline rows to a file, as ``keep`` does."""
        if self.details is not None and self.details.format:
            assert self._memory is not None
            source = Provenance(self.details.format, self.details.warnings)
            return keep(files, dataset_id, self._owner, None, self._memory, source)
        assert self._dataset is not None
        return keep(files, dataset_id, self._owner, None, self._dataset)


def given_rows(path: Path, label: str | None, definition: ModelDefinition, place: Place) -> GivenRows | GivenTable:
    """The rows in a dataset's file as a model needs them; the file of a table stays open.

    Raises OSError if the file is missing or damaged.
    """
    if is_table(path):
        table = FileTable(path)
        return GivenTable(table, label_of(label, table.label, table.columns, place), place)
    dataset = load_dataset(path)
    if definition.features is None:
        return GivenRows(dataset, place.pointer, stored=place.stored)
    assert isinstance(definition.features, tuple)
    memory = matrix_as_table(dataset, definition.features, place)
    assert memory.label is not None
    return GivenTable(memory, memory.label, place)


def keep(
    files: FileStore,
    dataset_id: str,
    owner: str,
    name: str | None,
    rows: Dataset | MemoryTable,
    source: Provenance | None = None,
) -> tuple[dict[str, Any], FileRecord]:
    """Write the file of an owner's dataset; returns the values of its row, which is added later, and the file's record.

    With a ``source``, the row describes the columns.
    """
    created_at = utc_now()
    label = DatasetLabel(name, created_at, source, owner)
    if isinstance(rows, Dataset):
        image, table, classes = dataset_image(rows, label), table_of(rows), rows.labels.classes
    else:
        image, table, classes = table_image(rows, label), rows, classes_in(rows)
    record = files.put(FileKind.DATASET, dataset_id, image)
    values = {
        "id": dataset_id,
        "name": name,
        "rows": rows.rows,
        "features": feature_names(table.columns, table.label, table.weight),
        "classes": list(classes),
        "details": None if source is None else details_of(table, source),
        "created_at": created_at,
    }
    return values, record
