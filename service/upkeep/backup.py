"""``python -m service backup``: a consistent copy of database and files, made while the service runs.

While the database is copied and every file that it names gets a second name (a pin), the backup holds the right to
write to the database. A file is deleted after its row, so no file can be deleted in that time. The files, which never
change, are copied afterwards; a deletion then removes only their first names. Other writers wait while a SQLite
database is copied. Of a PostgreSQL database, the rows of that moment are copied afterwards, to a SQLite database.

Objects of a bucket have no second names: a mark in it says that nothing may be deleted until the backup ends.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import sqlalchemy as sa

from models.formats.durable import FileRecord
from service.settings import Settings
from service.store.copies import flush, is_new, new_directory
from service.store.database import Database
from service.store.files import FileKind, FileStore
from service.store.locks import LockTakenError
from service.store.naming import TABLES
from service.upkeep.transfer import TransferError, copy_rows

__all__ = ["Backup", "BackupError", "back_up"]


class BackupError(Exception):
    """The backup cannot be made; the message has the reason and a remedy."""


@dataclass
class Backup:
    """What was copied; ``faults`` has a sentence for each file that was missing or damaged before it was copied."""

    files: int = 0
    bytes: int = 0
    faults: list[str] = field(default_factory=list)


class _NamedFile(NamedTuple):
    """A file that the database names: its kind and id, and its size and digest."""

    kind: FileKind
    file_id: str
    record: FileRecord

    @property
    def place(self) -> str:
        """Its path in a data directory."""
        return f"{self.kind}/{self.file_id}.h5"


def back_up(settings: Settings, target: Path) -> Backup:
    """Copy everything to the directory ``target``, which must be empty or absent; raises BackupError.

    The copy is a data directory with a SQLite database, of whatever kind the database is. It gets its name only after
    it is durable and verified.
    """
    target = target.absolute()
    if not is_new(target):
        raise BackupError(f"{target} already exists; a backup needs a new or an empty directory")
    database, files = Database(settings), FileStore.of(settings)
    try:
        _require_database(database)
        with files.pins(), new_directory(target, tuple(TABLES)) as work:
            return _copy(database, files, work)
    except LockTakenError:
        raise BackupError(f"another backup of {settings.data} is under way") from None
    except (OSError, sqlite3.Error, TransferError) as error:
        raise BackupError(f"nothing was copied to {target}: {error}") from error
    except sa.exc.DBAPIError as error:
        raise BackupError(f"nothing was copied to {target}: {error.orig}") from error
    finally:
        database.dispose()


def _require_database(database: Database) -> None:
    """Raise BackupError if there is no database: SQLite would create an empty one."""
    if not database.exists():
        path = database.engine.url.database
        raise BackupError(f"there is no database at {path}; TRAINYARD_DATA must name the directory of a service")


def _copy(database: Database, files: FileStore, work: Path) -> Backup:
    backup = Backup()
    pinned: list[tuple[_NamedFile, Callable[[Path], str]]] = []
    with ExitStack() as stack:
        with database.write() as connection:
            for file in _named(connection):
                try:
                    pinned.append((file, files.pin(file.kind, file.file_id)))
                except FileNotFoundError:
                    backup.faults.append(f"{file.place} is missing")
            if database.engine.dialect.name == "sqlite":
                _copy_database(database.engine.url.database or "", work / "trainyard.db")
                snapshot = None
            else:
                snapshot = stack.enter_context(database.snapshot())
        if snapshot is not None:
            # Others write meanwhile.
            _copy_rows(database.settings, snapshot, work)
    for file, copy in pinned:
        try:
            digest = copy(work / file.place)
        except FileNotFoundError:
            backup.faults.append(f"{file.place} is missing")
            continue
        if digest != file.record.sha256:
            backup.faults.append(f"{file.place} is damaged, and was copied as it is")
        backup.files += 1
        backup.bytes += file.record.bytes
    return backup


def _named(connection: sa.Connection) -> Iterator[_NamedFile]:
    """Every file that the database names."""
    for kind, table in TABLES.items():
        for row in connection.execute(sa.select(table.c.id, table.c.bytes, table.c.sha256)):
            yield _NamedFile(kind, row.id, FileRecord(row.bytes, row.sha256))


def _copy_rows(settings: Settings, rows: sa.Connection, work: Path) -> None:
    """Copy the rows of a database of a server to a new SQLite database in a directory."""
    path = work / "trainyard.db"
    copy = Database(replace(settings, database_url=f"sqlite:///{path}"))
    try:
        copy.migrate()
        with copy.write() as connection:
            copy_rows(rows, connection)
    finally:
        copy.dispose()
    flush(path)


def _copy_database(original: str, path: Path) -> None:
    """Copy a database in use with SQLite's online backup; check and flush the copy.

    Reads through a second connection, because SQLite cannot copy from one that is in a write transaction.
    """
    with closing(sqlite3.connect(original)) as source, closing(sqlite3.connect(path)) as copy:
        source.backup(copy)
        (found,) = copy.execute("PRAGMA integrity_check").fetchone()
    if found != "ok":
        raise OSError(f"the copy of the database is damaged: {found}")
    flush(path)
