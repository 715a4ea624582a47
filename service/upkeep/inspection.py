"""The files of a data directory held against the database, and what is found noted there for everybody."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import sqlalchemy as sa

from models.formats.durable import FileRecord
from models.registry.integrity import DamagedError, Finding, examine, note
from models.registry.tables import CHECKPOINTS, DATASETS
from service.store.database import Database
from service.store.files import Storage

__all__ = ["Inspected", "inspect", "intact_checkpoint", "intact_dataset"]


class Inspected(NamedTuple):
    """A row that names a file, the file's place, and what a look at it gave."""

    row: sa.Row[Any]
    path: Path
    finding: Finding


def intact_checkpoint(database: Database, storage: Storage, checkpoint_id: str, *, thorough: bool = False) -> Path:
    """The file of a checkpoint, looked at just now; raises DamagedError where it is not what was written.

    One that no row names is not looked at: whoever opens it meets what is wrong.
    """
    path = storage.checkpoint(checkpoint_id)
    found = _look(database, CHECKPOINTS, checkpoint_id, path, thorough=thorough)
    if found is not None and found.finding.fault is not None:
        raise _damage(found, found.finding.fault)
    return path


def intact_dataset(database: Database, storage: Storage, dataset_id: str) -> Path:
    """The file of a dataset, looked at just now; raises OSError with the file's name where it is not what was written.

    A file that is missing is left to whoever opens it.
    """
    path = storage.dataset(dataset_id)
    found = _look(database, DATASETS, dataset_id, path)
    if found is not None and found.finding.fault not in (None, "missing"):
        raise OSError(errno.EIO, str(_damage(found, found.finding.fault)), str(path))
    return path


def _damage(found: Inspected, fault: str) -> DamagedError:
    return DamagedError(found.path, FileRecord(found.row.bytes, found.row.sha256), fault)


def inspect(database: Database, storage: Storage, *, thorough: bool = False) -> Iterator[Inspected]:
    """Look at every file that the database names, one after the other.

    A file that goes with its row while this runs is passed over.
    """
    for table, path_of in ((CHECKPOINTS, storage.checkpoint), (DATASETS, storage.dataset)):
        with database.read() as connection:
            ids = list(connection.scalars(sa.select(table.c.id).order_by(table.c.id)))
        for file_id in ids:
            found = _look(database, table, file_id, path_of(file_id), thorough=thorough)
            if found is not None:
                yield found


def _look(database: Database, table: sa.Table, file_id: str, path: Path, *, thorough: bool = False) -> Inspected | None:
    """Look at a file and note what changed; None where no row names it, or no longer when it was looked at."""
    with database.read() as connection:
        row = connection.execute(sa.select(table).where(table.c.id == file_id)).first()
    if row is None:
        return None
    finding = examine(path, row, thorough=thorough)
    if finding != (row.fault, row.mtime_ns):
        with database.write() as connection:
            if not note(connection, table, row, finding):
                return None
    return Inspected(row, path, finding)
