"""Rows of datasets, which name the files on disk.

Functions take an open SQLAlchemy connection and leave the transaction to the caller.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import sqlalchemy as sa

from models.data.columns import ColumnSpec
from models.data.labels import Label
from models.data.matrix_table import matrix_specs
from models.data.profile import TableDetails
from models.errors import ConflictError, describe
from models.formats.durable import FileRecord
from models.registry.callers import own, visible
from models.registry.names import missing
from models.registry.rows import fault_of, insert_if_free, older_than, starts_with
from models.registry.tables import DATASETS

__all__ = [
    "DETAILED",
    "DatasetRow",
    "add_dataset",
    "delete_dataset",
    "details_text",
    "feature_names",
    "find_dataset",
    "list_datasets",
    "require_free_dataset_name",
]


#: Levels of a column that a dataset's document lists; the profile has more of them, with their counts.
LISTED = 50
#: The members of a dataset's document for which its details, which may be long, are read.
DETAILED = frozenset({"label", "columns", "format", "warnings"})
#: Members of a column's profile that a dataset's document shows too.
_SHOWN = ("missing", "distinct", "min", "max")


@dataclass(frozen=True)
class DatasetRow:
    """A dataset; ``name`` is None for the rows of a training request, ``fault`` is what is wrong with the file.

    ``text`` is the stored text of its ``details``, which are None for a matrix whose columns are not described.
    """

    id: str
    owner: str
    name: str | None
    rows: int
    features: list[str]
    classes: list[Label]
    text: str | None
    file: FileRecord
    fault: str | None
    created_at: str

    @classmethod
    def of(cls, row: sa.Row[Any]) -> DatasetRow:
        """The dataset of a row with all columns of the table."""
        return cls(
            id=row.id,
            owner=row.owner,
            name=row.name,
            rows=row.rows,
            features=json.loads(row.features),
            classes=json.loads(row.classes),
            text=row.details,
            file=FileRecord(row.bytes, row.sha256, row.mtime_ns),
            fault=row.fault,
            created_at=row.created_at,
        )

    @cached_property
    def details(self) -> TableDetails | None:
        """What is known of the columns."""
        return None if self.text is None else TableDetails.of(json.loads(self.text))

    def document(self, *, whole: bool = True) -> dict[str, Any]:
        """The dataset's document in the API, with ``fault`` if its file has one; without ``DETAILED`` if not whole."""
        short = {
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
        return {**short, **self._described()} if whole else short

    def _described(self) -> dict[str, Any]:
        """The members ``DETAILED``."""
        details = self.details
        return {
            "label": self.label,
            "columns": self.columns(),
            "format": None if details is None else details.format,
            "warnings": [] if details is None else [warning.document() for warning in details.warnings],
        }

    @property
    def specs(self) -> Sequence[ColumnSpec]:
        """The columns, those of labels and weights included; of a matrix without its weights."""
        if self.details is not None:
            return self.details.columns
        return matrix_specs(self.features, self.classes, weighted=False)[0]

    @property
    def label(self) -> str | None:
        """The name of the column of labels; None if none is named yet."""
        if self.details is not None:
            return self.details.label
        return matrix_specs(self.features, self.classes, weighted=False)[1]

    def columns(self) -> list[dict[str, Any]]:
        """What the document says of each column."""
        profiles = [{} for _ in self.specs] if self.details is None else self.details.profile
        return [_column(spec, profile) for spec, profile in zip(self.specs, profiles, strict=True)]


def _column(spec: ColumnSpec, profile: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "name": spec.name,
        "type": spec.kind,
        **{name: profile[name] for name in _SHOWN if name in profile},
        **({"levels": sorted(spec.levels)[:LISTED]} if spec.kind == "category" else {}),
        **({"levels": spec.levels} if spec.kind == "boolean" else {}),
        **({} if spec.reason is None else {"use": False, "reason": spec.reason}),
    }


def feature_names(columns: Sequence[ColumnSpec], label: str | None, weight: str | None) -> list[str]:
    """The columns that a model takes if it names none: those that are not set aside, without labels and weights."""
    return [column.name for column in columns if column.reason is None and column.name not in (label, weight)]


def details_text(details: TableDetails | None) -> str | None:
    """The details as the database holds them."""
    return None if details is None else json.dumps(details.document(), ensure_ascii=False)


def add_dataset(connection: sa.Connection, values: dict[str, Any], record: FileRecord) -> None:
    """Add the row of a dataset whose file is durable. Raises ConflictError if its name is taken."""
    if values["name"] is not None:
        require_free_dataset_name(connection, values["name"])
    columns = {
        **values,
        "features": json.dumps(values["features"]),
        "classes": json.dumps(values["classes"]),
        "details": details_text(values.get("details")),
    }
    if not insert_if_free(connection, DATASETS, {**columns, **record._asdict()}):
        raise _name_taken(values["name"])


def require_free_dataset_name(connection: sa.Connection, name: str) -> None:
    """Raise ConflictError if a dataset has this name or this id, so that a key in a path means one dataset."""
    taken = sa.or_(DATASETS.c.name == name, DATASETS.c.id == name)
    query = own(connection, sa.select(DATASETS.c.id), DATASETS).where(taken).limit(1)
    if connection.scalar(query) is not None:
        raise _name_taken(name)


def _name_taken(name: str) -> ConflictError:
    detail = f"the name {describe(name)} belongs to another dataset; choose a new one or delete it"
    return ConflictError("name_taken", detail)


def find_dataset(connection: sa.Connection, key: str) -> DatasetRow:
    """A dataset by id or name. Raises MissingError."""
    row = connection.execute(visible(connection, sa.select(DATASETS), DATASETS).where(DATASETS.c.id == key)).first()
    if row is None:
        named = own(connection, sa.select(DATASETS), DATASETS).where(DATASETS.c.name == key)
        row = connection.execute(named).first()
    if row is None:
        raise missing(connection, "dataset", key)
    return DatasetRow.of(row)


def list_datasets(
    connection: sa.Connection, limit: int, after: str | None, prefix: str | None = None
) -> Iterator[DatasetRow]:
    """Named datasets, newest first, whose names start with ``prefix``.

    Each row is read when it is asked for, because it may be large.
    """
    query = visible(connection, sa.select(DATASETS), DATASETS).where(DATASETS.c.name.is_not(None))
    query = query.order_by(DATASETS.c.number.desc()).limit(limit)
    if after is not None:
        query = query.where(older_than(connection, DATASETS, after))
    if prefix is not None:
        query = query.where(starts_with(DATASETS.c.name, prefix))
    return map(DatasetRow.of, connection.execute(query))


def delete_dataset(connection: sa.Connection, dataset_id: str) -> None:
    """Forget a dataset."""
    connection.execute(sa.delete(DATASETS).where(DATASETS.c.id == dataset_id))
