"""``python -m service backup``: a consistent copy of database and files, made while the service runs.

While the database is copied and every file that it names gets a second name, the right to write is held: whoever
deletes a file deletes its row first, so none of them can go in that time. The files, which never change, are copied
after that at leisure, and a deletion then only takes their first names. Writers wait for the copy of the database.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import sqlalchemy as sa

from models.formats.durable import TEMPORARY_SUFFIX, FileRecord, sha256_of
from models.registry.tables import CHECKPOINTS, DATASETS
from service.settings import Settings
from service.store.database import Database
from service.store.files import FileKind, Storage
from service.store.locks import LockTakenError
from service.store.pins import pin

__all__ = ["Backup", "BackupError", "back_up"]

_CHUNK = 1 << 20


class BackupError(Exception):
    """The backup cannot be made; a sentence tells why and what would do."""


@dataclass
class Backup:
    """What was copied; ``faults`` tells of each file that was no more what the database says before it was copied."""

    files: int = 0
    bytes: int = 0
    has_database: bool = True
    faults: list[str] = field(default_factory=list)


class _Named(NamedTuple):
    """A file that the database names, and its place under the data directory."""

    path: Path
    place: Path
    record: FileRecord


def back_up(settings: Settings, target: Path) -> Backup:
    """Copy everything to the directory ``target``, which must be empty or not there; raises BackupError.

    The copy is a data directory: durable and verified when this returns, and not there under its name before. Of a
    database that is not SQLite, only the files are copied.
    """
    target = target.absolute()
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise BackupError(f"{target} is there already; a backup needs a new or an empty directory")
    database, storage = Database(settings), Storage(settings.data)
    _require_database(database)
    try:
        with storage.pins(), _directory(target) as work:
            return _copy(database, storage, work)
    except LockTakenError:
        raise BackupError(f"another backup of {settings.data} is under way") from None
    except (OSError, sqlite3.Error) as error:
        raise BackupError(f"nothing was copied to {target}: {error}") from error
    except sa.exc.DBAPIError as error:
        raise BackupError(f"nothing was copied to {target}: {error.orig}") from error
    finally:
        database.dispose()


def _require_database(database: Database) -> None:
    """Raise BackupError where there is none: SQLite would make an empty one."""
    if database.engine.dialect.name == "sqlite":
        path = Path(database.engine.url.database or "")
        if not path.is_file():
            raise BackupError(f"there is no database at {path}; TRAINYARD_DATA must name the directory of a service")


@contextmanager
def _directory(target: Path) -> Iterator[Path]:
    """A new directory beside ``target`` that takes its name at the end of the block, or goes where that fails."""
    target.parent.mkdir(parents=True, exist_ok=True)
    work = target.with_name(f".{target.name}.{secrets.token_hex(4)}{TEMPORARY_SUFFIX}")
    work.mkdir()
    try:
        yield work
        work.rename(target)
    except BaseException:
        shutil.rmtree(work)
        raise
    _flush(target.parent)


def _copy(database: Database, storage: Storage, work: Path) -> Backup:
    backup, pinned = Backup(has_database=database.engine.dialect.name == "sqlite"), []
    with database.write() as connection:
        if not backup.has_database:
            # Deletions of rows wait, as they do for SQLite's one writer.
            connection.execute(sa.text("LOCK TABLE checkpoints, datasets IN SHARE MODE"))
        for path, place, record in _named(connection, storage):
            try:
                pinned.append(_Named(pin(path), place, record))
            except FileNotFoundError:
                backup.faults.append(f"{place} is missing")
        if backup.has_database:
            _copy_database(database.engine.url.database or "", work / "trainyard.db")
    for kind in (FileKind.CHECKPOINT, FileKind.DATASET):
        (work / kind).mkdir()
    for file in pinned:
        backup.faults += _copy_file(file, work / file.place)
        backup.files += 1
        backup.bytes += file.record.bytes
    for directory in (work / FileKind.CHECKPOINT, work / FileKind.DATASET, work):
        _flush(directory)
    return backup


def _named(connection: sa.Connection, storage: Storage) -> Iterator[_Named]:
    """Every file that the database names."""
    for table, path_of in ((CHECKPOINTS, storage.checkpoint), (DATASETS, storage.dataset)):
        for row in connection.execute(sa.select(table.c.id, table.c.bytes, table.c.sha256)):
            path = path_of(row.id)
            yield _Named(path, path.relative_to(storage.data), FileRecord(row.bytes, row.sha256))


def _copy_database(original: str, path: Path) -> None:
    """SQLite's own copy of a database in use (its online backup), checked and flushed.

    It reads through a connection of its own: one that holds the right to write cannot be copied from.
    """
    with closing(sqlite3.connect(original)) as source, closing(sqlite3.connect(path)) as copy:
        source.backup(copy)
        (found,) = copy.execute("PRAGMA integrity_check").fetchone()
    if found != "ok":
        raise OSError(f"the copy of the database is damaged: {found}")
    _flush(path)


def _copy_file(file: _Named, path: Path) -> list[str]:
    """Copy a file durably and read the copy back; what is wrong with it, if it is not what the database says."""
    digest = hashlib.sha256()
    with file.path.open("rb") as source, path.open("xb") as copy:
        while chunk := source.read(_CHUNK):
            digest.update(chunk)
            copy.write(chunk)
        copy.flush()
        os.fsync(copy.fileno())
    if sha256_of(path) != digest.hexdigest():
        raise OSError(f"{path} did not read back as written")
    return [] if digest.hexdigest() == file.record.sha256 else [f"{file.place} is damaged, and was copied as it is"]


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
