"""Rows that a request gives: inline, or as the name of a stored dataset. Inline rows are stored as datasets too."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from models.clock import utc_now
from models.data.dataset import Dataset, from_rows
from models.definition.given_rows import GivenRows
from models.errors import InvalidError, MissingError
from models.formats.dataset_file import DatasetLabel, load_dataset, save_dataset
from models.formats.durable import FileRecord
from models.registry import datasets
from models.registry.rows import named_ids
from service.store.database import Database
from service.store.files import FileKind, FileStore

__all__ = ["Source", "discard", "keep"]


class Source:
    """The rows of one part of a request, at the JSON pointer ``pointer``.

    ``dataset_id`` is the id of the dataset that the part names. It is None for inline rows until they are stored.
    Raises InvalidError if there is no such dataset, or if inline rows are not rows of numbers with one label each.
    """

    def __init__(self, database: Database, storage: FileStore, part: dict[str, Any], pointer: str) -> None:
        self._name: str | None = part.get("dataset")
        self.dataset_id: str | None = None
        if self._name is None:
            dataset = from_rows(part["inputs"], part["labels"], pointer, part.get("weights"))
        else:
            try:
                with database.read() as connection:
                    self.dataset_id = datasets.find_dataset(connection, self._name)["id"]
            except MissingError as error:
                raise InvalidError.at(f"{pointer}/dataset", error.detail) from None
            dataset = load_dataset(storage.path(FileKind.DATASET, self.dataset_id))
        self.rows = GivenRows(dataset, pointer, stored=self._name is not None)

    def document(self) -> dict[str, object]:
        """What a job shows of its rows: the dataset's name or id as the client gave it, and the number of rows."""
        rows = self.rows.dataset.rows
        return {"rows": rows} if self._name is None else {"dataset": self._name, "rows": rows}


def keep(storage: FileStore, dataset_id: str, name: str | None, dataset: Dataset) -> tuple[dict[str, Any], FileRecord]:
    """Write the file of a dataset; returns the values of its row, which the caller adds, and the file's record."""
    path, created_at = storage.path(FileKind.DATASET, dataset_id), utc_now()
    record = save_dataset(path, dataset, DatasetLabel(name, created_at))
    written = storage.stat(FileKind.DATASET, dataset_id)
    values = {
        "id": dataset_id,
        "name": name,
        "rows": dataset.rows,
        "features": list(dataset.features),
        "classes": list(dataset.labels.classes),
        "created_at": created_at,
        "mtime_ns": None if written is None else written.mtime_ns,
    }
    return values, record


def discard(database: Database, storage: FileStore, kind: FileKind, *file_ids: str) -> None:
    """Delete files after the transaction that should have named them failed, unless a row names them.

    A commit that reports a failure may have succeeded. If the database cannot be asked, the files stay.
    """
    try:
        with database.read() as connection:
            named = named_ids(connection, list(file_ids))
    except sa.exc.OperationalError:
        return
    storage.delete(kind, *(file_id for file_id in file_ids if file_id not in named))
