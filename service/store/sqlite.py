"""SQLite: how it is configured, and its file change counter."""

from __future__ import annotations

import mmap
import os
import sqlite3
import threading
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from service.settings import SettingsError

__all__ = ["JOURNAL_MODE", "SYNCHRONOUS", "ChangeCounter", "begin_sqlite", "configure_sqlite", "wal_is_safe"]


#: From these releases on, SQLite's write-ahead log is free of the bug that could reset it under a reader.
_WAL_FIXED = ((3, 51, 3), (3, 50, 7), (3, 44, 6))


def wal_is_safe(version: tuple[int, ...]) -> bool:
    """Whether a SQLite release carries the fix of the write-ahead log."""
    return version >= _WAL_FIXED[0] or any(version[:2] == fixed[:2] and version >= fixed for fixed in _WAL_FIXED[1:])


#: How SQLite keeps a commit whole.
JOURNAL_MODE = "WAL" if wal_is_safe(sqlite3.sqlite_version_info) else "DELETE"
#: How much of a commit is flushed before it is told. With a rollback journal it takes effect as the journal's name is
#: removed; FULL does not flush the directory, and a power cut brings the journal back, which undoes the commit.
SYNCHRONOUS = "FULL" if JOURNAL_MODE == "WAL" else "EXTRA"


class ChangeCounter:
    """SQLite's file change counter (file format, section 1.3.8): four bytes that every commit changes.

    With a rollback journal, a commit writes it under the exclusive lock and before it takes effect. So whoever finds
    it changed and then selects waits for that commit, and whoever finds it unchanged may rely on what he read before.
    A commit to the write-ahead log does not touch it; there, and where there is no such file, it is always None.
    """

    def __init__(self, engine: sa.Engine) -> None:
        sqlite = engine.dialect.name == "sqlite" and JOURNAL_MODE == "DELETE"
        self._path = engine.url.database if sqlite else None
        self._page: mmap.mmap | None = None

    def __call__(self) -> bytes | None:
        if self._page is None:
            return self._map()
        return self._page[24:28]

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
                return None  # The select that follows tells what is wrong with the file.
        self._page = page
        return page[24:28]


#: The first bytes of each database file. Neither map nor descriptor is ever closed: closing any descriptor of a file
#: drops this process's locks on it (POSIX), and with them SQLite's.
_PAGES: dict[tuple[int, int], mmap.mmap] = {}
_mapping = threading.Lock()


def configure_sqlite(connection: Any, _record: Any) -> None:
    # The driver's own transactions begin deferred, and one that turns from reading to writing fails at once, past any
    # timeout; with None the driver leaves BEGIN to us.
    connection.isolation_level = None
    connection.execute("PRAGMA busy_timeout = 10000")
    connection.execute(f"PRAGMA synchronous = {SYNCHRONOUS}")
    connection.execute("PRAGMA foreign_keys = ON")
    # This converts a database that another build of SQLite left in another mode, if no other process has it open.
    (mode,) = connection.execute(f"PRAGMA journal_mode = {JOURNAL_MODE}").fetchone()
    if mode.upper() != JOURNAL_MODE:
        raise SettingsError(
            f"the database must be in journal mode {JOURNAL_MODE}, the safe one for SQLite {sqlite3.sqlite_version}, "
            f"and cannot be put into it. Received: {mode.upper()}"
        )


def begin_sqlite(connection: sa.Connection) -> None:
    # A read takes no transaction: each select sees the newest state by itself. SQLite refuses to write there.
    if connection.get_execution_options().get("reading"):
        connection.exec_driver_sql("PRAGMA query_only = ON")
    else:
        connection.exec_driver_sql("PRAGMA query_only = OFF")
        connection.exec_driver_sql("BEGIN IMMEDIATE")
