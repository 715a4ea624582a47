"""SQLite: its connections, and the number in its file that counts changes of what is served."""

from __future__ import annotations

import mmap
import os
import sqlite3
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
import sqlalchemy.event

from service.settings import Settings, SettingsError
from service.store.backend import Row
from service.store.changes import Changes
from service.store.locks import Lock, Locks
from service.store.probe import PATIENCE_SECONDS, Probe

__all__ = [
    "JOURNAL_MODE",
    "SYNCHRONOUS",
    "DataVersions",
    "SQLite",
    "UserVersion",
    "begin_sqlite",
    "configure_sqlite",
    "wal_is_safe",
]


_BUSY = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
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

    def answers(self) -> bool:
        """Always, as far as this can say: a file does not go away."""
        return True

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


class DataVersions:
    """SQLite counts commits for each connection in every journal mode; reading the count takes some microseconds."""

    def begin(self, driver: sqlite3.Connection) -> None:
        """Nothing: SQLite counts by itself."""

    def number(self, driver: sqlite3.Connection) -> int:
        # Not by SQLAlchemy, which would begin a transaction for it.
        (version,) = driver.execute("PRAGMA data_version").fetchone()
        return int(version)

    def wakes(self, driver: sqlite3.Connection) -> int | None:
        return None


class _Asking:
    """A select that runs on a connection that each thread keeps.

    It avoids SQLAlchemy's connection pool and result objects, which take ten times as long as SQLite.
    """

    def __init__(self, engine: sa.Engine, statement: sa.Select[Any], count: Callable[[], bytes | None]) -> None:
        compiled = statement.compile(dialect=engine.dialect)
        assert compiled.positiontup is not None
        self._engine, self._sql, self._names = engine, compiled.string, compiled.positiontup
        self._constants = compiled.params  # with None for the parameters that a request gives
        self._count = count
        self._local = threading.local()

    def __call__(self, parameters: dict[str, Any]) -> tuple[Row | None, bytes | None]:
        connection = getattr(self._local, "connection", None)
        try:
            if connection is None:
                connection = self._local.connection = self._engine.raw_connection()
            cursor = connection.cursor()
            values = {**self._constants, **parameters}
            cursor.execute(self._sql, [values[name] for name in self._names])
            # The select has found its row and still holds its lock, so no commit can occur, and count and row belong
            # together. At another time, the count may come from a writer that was killed during its commit, and the
            # next writer uses the same count again.
            count = self._count()
            row: Row | None = cursor.fetchone()
            cursor.close()
        except sqlite3.Error as error:
            self._local.connection = None
            if connection is not None:
                connection.invalidate()
            raise sa.exc.OperationalError(self._sql, parameters, error) from error
        return row, count


class SQLite:
    """A database in one file, which processes of one machine share (``service.store.backend.Backend``)."""

    def __init__(self, settings: Settings) -> None:
        # Errors, which are logged, do not quote what is stored.
        self.engine = sa.create_engine(settings.database_url, pool_size=2 * settings.threads + 2, hide_parameters=True)
        sqlalchemy.event.listen(self.engine, "connect", configure_sqlite)
        sqlalchemy.event.listen(self.engine, "begin", begin_sqlite)
        self.count = UserVersion(self.engine)
        # Readers of the write-ahead log wait for no writer.
        self.never_waits = JOURNAL_MODE == "WAL"
        self._locks = Locks(settings.data)

    def changes(self, engine: sa.Engine) -> Changes:
        return Changes(engine, DataVersions(), self.before_commit)

    def asking(self, statement: sa.Select[Any]) -> _Asking:
        return _Asking(self.engine, statement, self.count)

    def count_change(self, connection: sa.Connection) -> None:
        UserVersion.advance(connection)

    def before_commit(self, connection: sa.Connection, *, notify: bool = True) -> None:
        """Nothing: commits are noticed by the file."""

    def keyed(self, scope: str, key: str) -> AbstractContextManager[None]:
        return self._locks.keyed(scope, key)

    def migrating(self) -> AbstractContextManager[None]:
        return self._locks.exclusive(Lock.MIGRATION, wait=True)

    def probe(self) -> Probe:
        engine = sa.create_engine(self.engine.url, poolclass=sa.NullPool)
        sqlalchemy.event.listen(engine, "connect", _configure_probe)
        return Probe(engine, _lock, _is_busy)

    def close(self) -> None:
        self.engine.dispose()


def _configure_probe(connection: sqlite3.Connection, _record: Any) -> None:
    connection.isolation_level = None  # This module begins transactions itself.
    connection.execute(f"PRAGMA busy_timeout = {round(1000 * PATIENCE_SECONDS)}")


def _lock(connection: sa.Connection) -> str | None:
    """Why nobody could write for the time of the patience. Many short transactions are no lock."""
    before = _data_version(connection)
    try:
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    except sa.exc.OperationalError as error:
        if not _is_busy(error):
            raise
        if _data_version(connection) != before:
            return None
        return f"another program has held its lock for {PATIENCE_SECONDS:g} s or more; nothing can be written"
    connection.exec_driver_sql("ROLLBACK")
    return None


def _data_version(connection: sa.Connection) -> int:
    """A number that changes with each commit of another connection."""
    return int(connection.exec_driver_sql("PRAGMA data_version").scalar_one())


def _is_busy(error: sa.exc.SQLAlchemyError) -> bool:
    return getattr(getattr(error, "orig", None), "sqlite_errorcode", 0) & 0xFF in _BUSY
