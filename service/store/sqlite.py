"""SQLite: its configuration, and the number in its file that counts changes of what is served."""

from __future__ import annotations

import mmap
import os
import sqlite3
import threading
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from service.settings import SettingsError

__all__ = ["JOURNAL_MODE", "SYNCHRONOUS", "UserVersion", "begin_sqlite", "configure_sqlite", "wal_is_safe"]


#: SQLite releases with the fix for a bug that could reset the write-ahead log while a reader uses it.
_WAL_FIXED = ((3, 51, 3), (3, 50, 7), (3, 44, 6))


def wal_is_safe(version: tuple[int, ...]) -> bool:
    """Whether a SQLite release has the fix of the write-ahead log."""
    return version >= _WAL_FIXED[0] or any(version[:2] == fixed[:2] and version >= fixed for fixed in _WAL_FIXED[1:])


#: The journal with which SQLite makes commits atomic.
JOURNAL_MODE = "WAL" if wal_is_safe(sqlite3.sqlite_version_info) else "DELETE"
#: What SQLite flushes before a commit returns. With a rollback journal, the commit takes effect when the journal is
#: deleted. FULL does not flush the directory, so a power cut can bring the journal back, which undoes the commit.
SYNCHRONOUS = "FULL" if JOURNAL_MODE == "WAL" else "EXTRA"


class UserVersion:
    """SQLite's user version, a number in the file's header, as a counter of the changes of some tables.

    ``advance`` is part of each transaction that makes such a change; all other commits leave the number alone. With a
    rollback journal, a commit writes it (bytes 60 to 63 of the file, section 1.3 of the file format) under the
    exclusive lock before the commit takes effect. So a reader that finds it changed and then selects waits for that
    commit, and a reader that finds it unchanged can reuse what it read before. A commit to the write-ahead log does not
    write there; with that log, or without a file, it is None.
    """

    def __init__(self, engine: sa.Engine) -> None:
        sqlite = engine.dialect.name == "sqlite" and JOURNAL_MODE == "DELETE"
        self._path = engine.url.database if sqlite else None
        self._page: mmap.mmap | None = None

    def __call__(self) -> bytes | None:
        if self._page is None:
            return self._map()
        return self._page[60:64]

    @staticmethod
    def advance(connection: sa.Connection) -> None:
        """Count a change that the present transaction makes. Raises SQLAlchemy's OperationalError."""
        assert connection.in_transaction()
        # By SQLAlchemy, whose errors are those that callers handle.
        count: int = connection.exec_driver_sql("PRAGMA user_version").scalar_one()
        connection.exec_driver_sql(f"PRAGMA user_version = {(count + 1) % 2**31}")

    def _map(self) -> bytes | None:
        if self._path is None:
            return None
        with _mapping:
            try:
                found = Path(self._path).stat()
                page = _PAGES.get((found.st_dev, found.st_ino))
                if page is None:
                    page = mmap.mmap(os.open(self._path, os.O_RDONLY), 100, access=mmap.ACCESS_READ)
                    _PAGES[found.st_dev, found.st_ino] = page
            except OSError:
                return None  # The next select reports the error.
        self._page = page
        return page[60:64]


#: The first bytes of each database file. Neither map nor descriptor is ever closed: closing any descriptor of a file
#: drops this process's locks on it (POSIX), and with them SQLite's.
_PAGES: dict[tuple[int, int], mmap.mmap] = {}
_mapping = threading.Lock()


def configure_sqlite(connection: Any, _record: Any) -> None:
    # The driver begins its transactions as deferred. Such a transaction fails at once, despite the timeout, if it
    # changes from reading to writing. With None, the driver leaves BEGIN to this module.
    connection.isolation_level = None
    connection.execute("PRAGMA busy_timeout = 10000")
    connection.execute(f"PRAGMA synchronous = {SYNCHRONOUS}")
    connection.execute("PRAGMA foreign_keys = ON")
    # Converts a database that another build of SQLite left in another mode, unless another process uses it.
    (mode,) = connection.execute(f"PRAGMA journal_mode = {JOURNAL_MODE}").fetchone()
    if mode.upper() != JOURNAL_MODE:
        raise SettingsError(
            f"the database must be in journal mode {JOURNAL_MODE}, the safe one for SQLite {sqlite3.sqlite_version}, "
            f"but cannot be converted; stop all other processes that use it. Received: {mode.upper()}"
        )


def begin_sqlite(connection: sa.Connection) -> None:
    # A read begins no transaction, so each select sees the newest state. ``query_only`` makes SQLite refuse writes.
    if connection.get_execution_options().get("reading"):
        connection.exec_driver_sql("PRAGMA query_only = ON")
    else:
        connection.exec_driver_sql("PRAGMA query_only = OFF")
        connection.exec_driver_sql("BEGIN IMMEDIATE")
