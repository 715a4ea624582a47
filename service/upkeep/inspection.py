"""Files compared with the rows that name them; what is found is noted in the rows, for all processes."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import sqlalchemy as sa

from models.formats.durable import FileRecord
from models.registry.integrity import DamagedError, Fault, Finding, examine, note
from service.store.database import Database
from service.store.files import FileKind, FileStore
from service.store.naming import TABLES

__all__ = ["InspectedFile", "inspect", "intact_checkpoint", "intact_dataset"]


class InspectedFile(NamedTuple):
    """A file that a row names: its kind and path, the row's record of it, and the result of comparing the two."""

    kind: FileKind
    path: Path
    record: FileRecord
    finding: Finding

    def error(self, fault: Fault) -> DamagedError:
        return DamagedError(self.path, self.record, fault)


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

    A missing file raises only when it is loaded.
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
        columns = table.c.bytes, table.c.sha256, table.c.mtime_ns, table.c.fault
        row = connection.execute(sa.select(*columns).where(table.c.id == file_id)).first()
    if row is None:
        return None
    path, record = files.path(kind, file_id), FileRecord(row.bytes, row.sha256, row.mtime_ns)
    finding = examine(path, record, thorough=thorough)
    if finding != (row.fault, row.mtime_ns):
        with database.write() as connection:
            if not note(connection, table, file_id, finding):
                return None
    return InspectedFile(kind, path, record, finding)
