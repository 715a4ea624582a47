"""Files compared with the rows that name them; what is found is noted in the rows, for all processes."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import sqlalchemy as sa

from models.formats.durable import FileRecord
from models.registry.integrity import DamagedError, Fault, Finding, examine, note
from service.store.database import Database
from service.store.files import FileKind, FileStore
from service.store.naming import TABLES

__all__ = ["InspectedFile", "inspect", "intact_checkpoint", "intact_dataset"]


class InspectedFile(NamedTuple):
    """A row, the kind and path of the file that it names, and what comparing the two gave."""

    row: sa.Row[Any]
    kind: FileKind
    path: Path
    finding: Finding

    def error(self, fault: Fault) -> DamagedError:
        return DamagedError(self.path, FileRecord(self.row.bytes, self.row.sha256), fault)


def intact_checkpoint(database: Database, files: FileStore, checkpoint_id: str, *, thorough: bool = False) -> Path:
    """The path of a checkpoint's file, inspected just now; raises DamagedError if it is not what was written.

    A checkpoint without a row is not inspected: loading it fails if anything is wrong.
    """
    found = _inspect_one(database, files, FileKind.CHECKPOINT, checkpoint_id, thorough=thorough)
    if found is not None and found.finding.fault is not None:
        raise found.error(found.finding.fault)
    return files.path(FileKind.CHECKPOINT, checkpoint_id)


def intact_dataset(database: Database, files: FileStore, dataset_id: str) -> Path:
    """The path of a dataset's file, inspected just now; raises OSError with the path if it is not what was written.

    For a file that is missing it does not: loading it does.
    """
    found = _inspect_one(database, files, FileKind.DATASET, dataset_id)
    if found is not None and found.finding.fault not in (None, "missing"):
        raise OSError(errno.EIO, str(found.error(found.finding.fault)), str(found.path))
    return files.path(FileKind.DATASET, dataset_id)


def inspect(database: Database, files: FileStore, *, thorough: bool = False) -> Iterator[InspectedFile]:
    """Inspect every file that the database names, one after the other.

    A file that is deleted with its row meanwhile is left out.
    """
    for kind, table in TABLES.items():
        with database.read() as connection:
            ids = list(connection.scalars(sa.select(table.c.id).order_by(table.c.number)))
        for file_id in ids:
            found = _inspect_one(database, files, kind, file_id, thorough=thorough)
            if found is not None:
                yield found


def _inspect_one(
    database: Database, files: FileStore, kind: FileKind, file_id: str, *, thorough: bool = False
) -> InspectedFile | None:
    """Inspect a file and note what changed; None if no row names it, or none does any more afterwards."""
    table = TABLES[kind]
    with database.read() as connection:
        row = connection.execute(sa.select(table).where(table.c.id == file_id)).first()
    if row is None:
        return None
    path = files.path(kind, file_id)
    finding = examine(path, row, thorough=thorough)
    if finding != (row.fault, row.mtime_ns):
        with database.write() as connection:
            if not note(connection, table, row, finding):
                return None
    return InspectedFile(row, kind, path, finding)
