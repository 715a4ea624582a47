"""Rows that a request gives: inline, or as the name of a stored dataset. Inline rows are stored as datasets too."""

from __future__ import annotations

from typing import Any

from models.clock import utc_now
from models.data.dataset import Dataset, from_rows
from models.data.profile import Provenance, details_of
from models.data.table import MemoryTable
from models.definition.given_rows import GivenRows
from models.errors import InvalidError, MissingError
from models.formats.dataset_file import DatasetLabel, dataset_image
from models.formats.durable import FileRecord
from models.formats.stored_table import classes_in, load_rows, table_of
from models.formats.table_file import table_image
from models.registry import datasets
from models.registry.datasets import feature_names
from service.store.database import Database
from service.store.files import FileKind, FileStore

__all__ = ["Source", "keep"]


class Source:
    """The rows of one part of a request, at the JSON pointer ``pointer``.

    ``dataset_id`` is the id of the dataset that the part names. It is None for inline rows until they are stored.
    Raises InvalidError if there is no such dataset, or if inline rows are not rows of numbers with one label each.
    """

    def __init__(self, database: Database, files: FileStore, part: dict[str, Any], pointer: str) -> None:
        self._name: str | None = part.get("dataset")
        self.dataset_id: str | None = None
        if self._name is None:
            dataset = from_rows(part["inputs"], part["labels"], pointer, part.get("weights"))
        else:
            try:
                with database.read() as connection:
                    self.dataset_id = datasets.find_dataset(connection, self._name).id
            except MissingError as error:
                raise InvalidError.at(f"{pointer}/dataset", error.detail) from None
            dataset = load_rows(files.path(FileKind.DATASET, self.dataset_id), f"{pointer}/dataset")
        self.rows = GivenRows(dataset, pointer, stored=self._name is not None)

    def document(self) -> dict[str, object]:
        """What a job shows of its rows: the dataset's name or id as the client gave it, and the number of rows."""
        rows = self.rows.dataset.rows
        return {"rows": rows} if self._name is None else {"dataset": self._name, "rows": rows}


def keep(
    files: FileStore, dataset_id: str, name: str | None, rows: Dataset | MemoryTable, source: Provenance | None = None
) -> tuple[dict[str, Any], FileRecord]:
    """Write the file of a dataset; returns the values of its row, which the caller adds, and the file's record.

    With a ``source``, the row describes the columns.
    """
    created_at = utc_now()
    label = DatasetLabel(name, created_at, source)
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
