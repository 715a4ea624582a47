"""Files compared with the rows that name them; what is found is noted in the rows, for all processes."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import sqlalchemy as sa

from models.formats.durable import ChangedError, FileRecord, UnreachableError
from models.registry.integrity import DamagedError, Fault, Finding, examine, note
from service.store.database import Database
from service.store.files import FileKind, FileStore
from service.store.naming import TABLES

__all__ = ["InspectedFile", "inspect", "intact_checkpoint", "intact_dataset", "local_path"]


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

    A checkpoint without a row is not inspected: loading it fails if anything is wrong. Raises UnreachableError if the
    place of the files does not answer, and there is no copy of this one here.
    """
    path, found = _intact(database, files, FileKind.CHECKPOINT, checkpoint_id, thorough=thorough)
    if found is not None and found.finding.fault is not None:
        raise found.error(found.finding.fault)
    return path


def intact_dataset(database: Database, files: FileStore, dataset_id: str) -> Path:
    """The path of a dataset's file, inspected just now; raises OSError with the path if it is not what was written.

    A missing file raises only when it is loaded. As for ``intact_checkpoint``, UnreachableError is such an OSError.
    """
    path, found = _intact(database, files, FileKind.DATASET, dataset_id)
    if found is not None and found.finding.fault not in (None, "missing"):
        raise OSError(errno.EIO, str(found.error(found.finding.fault)), str(found.path))
    return path


def local_path(database: Database, files: FileStore, kind: FileKind, file_id: str) -> Path:
    """The path of a file to read it, which is not inspected: loading it fails if anything is wrong.

    If the file lies elsewhere, and a copy of it is not what was written, this is noted, and nothing is at the path.
    """
    try:
        return files.local(kind, file_id, partial(_record, database, kind, file_id))
    except ChangedError:
        _inspect_one(database, files, kind, file_id, thorough=True)
        return files.path(kind, file_id)


def _intact(
    database: Database, files: FileStore, kind: FileKind, file_id: str, *, thorough: bool = False
) -> tuple[Path, InspectedFile | None]:
    """The path of a file to read it, and the result of inspecting it just now, which may be a fault.

    It is not inspected if no row names it, or if its place does not answer and there is a verified copy.
    """
    try:
        found = _inspect_one(database, files, kind, file_id, thorough=thorough)
    except UnreachableError:
        record = None if thorough else _record(database, kind, file_id)
        copy = None if record is None else files.copy(kind, file_id, record)
        if copy is None:
            raise
        return copy, None
    if found is None or found.finding.fault is not None:
        return files.local(kind, file_id) if found is None else found.path, found
    record = found.record
    try:
        return files.local(kind, file_id, lambda: record), found
    except ChangedError:
        # Neither its size nor its time told it.
        found = _inspect_one(database, files, kind, file_id, thorough=True)
        if found is not None and found.finding.fault is None:
            raise
        return files.path(kind, file_id), found


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
    table, row = TABLES[kind], _row(database, kind, file_id)
    if row is None:
        return None
    path, record = files.path(kind, file_id), FileRecord(row.bytes, row.sha256, row.mtime_ns)
    finding = examine(files.file(kind, file_id), record, thorough=thorough)
    if finding != (row.fault, row.mtime_ns):
        with database.write() as connection:
            if not note(connection, table, file_id, finding):
                return None
    return InspectedFile(kind, path, record, finding)


def _row(database: Database, kind: FileKind, file_id: str) -> sa.Row[Any, Any, Any, Any] | None:
    columns = TABLES[kind].c
    with database.read() as connection:
        found = sa.select(columns.bytes, columns.sha256, columns.mtime_ns, columns.fault).where(columns.id == file_id)
        return connection.execute(found).first()


def _record(database: Database, kind: FileKind, file_id: str) -> FileRecord | None:
    """What a row says of a file; None if no row names it."""
    row = _row(database, kind, file_id)
    return None if row is None else FileRecord(row.bytes, row.sha256, row.mtime_ns)
