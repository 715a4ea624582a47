"""Rows of datasets, which name the files on disk.

Functions take an open SQLAlchemy connection and leave the transaction to the caller.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from models.errors import ConflictError, MissingError
from models.formats.durable import FileRecord
from models.registry.rows import fault_of, insert_if_free, older_than
from models.registry.tables import DATASETS

__all__ = [
    "DatasetRow",
    "add_dataset",
    "delete_dataset",
    "find_dataset",
    "list_datasets",
    "require_free_dataset_name",
]


@dataclass(frozen=True)
class DatasetRow:
    """A dataset; ``name`` is None for the rows of a training request, ``fault`` is what is wrong with the file."""

    id: str
    name: str | None
    rows: int
    features: list[str]
    classes: list[str | int]
    file: FileRecord
    fault: str | None
    created_at: str

    @classmethod
    def of(cls, row: sa.Row[Any]) -> DatasetRow:
        """The dataset of a row with all columns of the table."""
        return cls(
            id=row.id,
            name=row.name,
            rows=row.rows,
            features=json.loads(row.features),
            classes=json.loads(row.classes),
            file=FileRecord(row.bytes, row.sha256, row.mtime_ns),
            fault=row.fault,
            created_at=row.created_at,
        )

    def document(self) -> dict[str, Any]:
        """The dataset's document in the API, with ``fault`` if its file has one."""
        return {
            "id": self.id,
            "name": self.name,
            "rows": self.rows,
            "features": self.features,
            "classes": self.classes,
            "bytes": self.file.bytes,
            "sha256": self.file.sha256,
            "created_at": self.created_at,
            **fault_of(self.fault),
        }


def add_dataset(connection: sa.Connection, values: dict[str, Any], record: FileRecord) -> None:
    """Add the row of a dataset whose file is durable. Raises ConflictError if its name is taken."""
    if values["name"] is not None:
        require_free_dataset_name(connection, values["name"])
    columns = {**values, "features": json.dumps(values["features"]), "classes": json.dumps(values["classes"])}
    if not insert_if_free(connection, DATASETS, {**columns, **record._asdict()}):
        raise _name_taken(values["name"])


def require_free_dataset_name(connection: sa.Connection, name: str) -> None:
    """Raise ConflictError if a dataset has this name or this id, so that a key in a path means one dataset."""
    taken = sa.or_(DATASETS.c.name == name, DATASETS.c.id == name)
    if connection.scalar(sa.select(DATASETS.c.id).where(taken).limit(1)) is not None:
        raise _name_taken(name)


def _name_taken(name: str) -> ConflictError:
    detail = f"the name {name!r} belongs to another dataset; choose a new one or delete it"
    return ConflictError("name_taken", detail)


def find_dataset(connection: sa.Connection, key: str) -> DatasetRow:
    """A dataset by id or name. Raises MissingError."""
    row = connection.execute(sa.select(DATASETS).where(sa.or_(DATASETS.c.id == key, DATASETS.c.name == key))).first()
    if row is None:
        raise MissingError("not_found", f"there is no dataset {key!r}")
    return DatasetRow.of(row)


def list_datasets(connection: sa.Connection, limit: int, after: str | None) -> list[DatasetRow]:
    """Named datasets, newest first."""
    query = sa.select(DATASETS).where(DATASETS.c.name.is_not(None)).order_by(DATASETS.c.number.desc()).limit(limit)
    if after is not None:
        query = query.where(older_than(connection, DATASETS, after))
    return [DatasetRow.of(row) for row in connection.execute(query)]


def delete_dataset(connection: sa.Connection, dataset_id: str) -> None:
    """Forget a dataset."""
    connection.execute(sa.delete(DATASETS).where(DATASETS.c.id == dataset_id))
