"""The database: engine, transactions, and the tables of jobs, events and trainers beside those of the registry."""

from __future__ import annotations

import fcntl
import mmap
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
import sqlalchemy.event

from models.tables import METADATA
from models.versions import SERVING_QUERY
from service.settings import Settings, SettingsError

__all__ = [
    "EVENTS",
    "HEAD",
    "IDEMPOTENCY_KEYS",
    "JOBS",
    "METADATA",
    "TRAINERS",
    "ChangeCounter",
    "Database",
    "FastQuery",
]

#: The newest migration in service/migrations/versions.
HEAD = "0006"

JOBS = sa.Table(
    "jobs",
    METADATA,
    sa.Column("id", sa.String(40), primary_key=True),
    sa.Column("model", sa.String(63), nullable=False, index=True),
    sa.Column("state", sa.String(16), nullable=False, index=True),
    sa.Column("wanted", sa.String(16), nullable=True),  # what a client asked of a running job: "cancel" or "pause"
    sa.Column("request", sa.Text, nullable=False),
    sa.Column("dataset", sa.String(40), nullable=False),
    sa.Column("validation_dataset", sa.String(40), nullable=True),
    sa.Column("created_at", sa.String(30), nullable=False),
    sa.Column("started_at", sa.String(30), nullable=True),
    sa.Column("finished_at", sa.String(30), nullable=True),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("deaths", sa.Integer, nullable=False),  # workers lost since the newest checkpoint
    sa.Column(
        "fence", sa.Integer, nullable=False
    ),  # rises with every owner; a write under an older one changes nothing
    sa.Column("lease_until", sa.Float, nullable=True),  # seconds since 1970
    sa.Column("not_before", sa.Float, nullable=True),  # seconds since 1970; when a lost job may be tried again
    sa.Column("epoch", sa.Integer, nullable=False),
    sa.Column("epochs", sa.Integer, nullable=False),
    sa.Column("step", sa.BigInteger, nullable=False),
    sa.Column("fraction", sa.Float, nullable=False),
    sa.Column("eta_seconds", sa.Float, nullable=True),
    sa.Column("metrics", sa.Text, nullable=False),
    sa.Column("checkpoint", sa.String(40), nullable=True),
    sa.Column("version", sa.Integer, nullable=True),
    sa.Column("error", sa.Text, nullable=True),
    sa.Column("details", sa.Text, nullable=False, server_default="{}"),  # JSON: best, stopped_by
)
EVENTS = sa.Table(
    "events",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("job", sa.String(40), nullable=False),
    sa.Column("type", sa.String(16), nullable=False),
    sa.Column("epoch", sa.Integer, nullable=True),  # of the events of type "epoch", which are the job's history
    sa.Column("at", sa.String(30), nullable=False),
    sa.Column("data", sa.Text, nullable=False),
    sa.UniqueConstraint("job", "epoch", name="one_event_an_epoch"),
    sa.Index("events_of_job", "job", "id"),
    sqlite_autoincrement=True,
)
TRAINERS = sa.Table(
    "trainers",
    METADATA,
    sa.Column("id", sa.String(80), primary_key=True),
    sa.Column("started_at", sa.String(30), nullable=False),
    sa.Column("seen_at", sa.Float, nullable=False),  # seconds since 1970
)
IDEMPOTENCY_KEYS = sa.Table(
    "idempotency_keys",
    METADATA,
    sa.Column("scope", sa.String(80), primary_key=True),  # method and path
    sa.Column("key", sa.String(255), primary_key=True),
    sa.Column("payload", sa.String(64), nullable=False),  # SHA-256
    sa.Column("status", sa.Integer, nullable=False),
    sa.Column("headers", sa.Text, nullable=False),
    sa.Column("body", sa.LargeBinary, nullable=False),
    sa.Column("stored_at", sa.Float, nullable=False, index=True),  # seconds since 1970
)

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
#: Answers that a fast query remembers.
MAXIMUM_KNOWN = 10_000


class FastQuery:
    """A select that runs on every request: compiled once, on a connection that each thread keeps.

    It goes past SQLAlchemy's connection pool and result objects, which take ten times as long as SQLite does, and
    where ``counter`` says that the database has not changed, an earlier answer is given again.
    """

    def __init__(self, engine: sa.Engine, statement: sa.TextClause, counter: Callable[[], bytes | None]) -> None:
        compiled = statement.compile(dialect=engine.dialect)
        self._engine, self._sql, self._names = engine, compiled.string, compiled.positiontup
        self._counter = counter
        self._known: dict[tuple[Any, ...], tuple[bytes, tuple[Any, ...]]] = {}
        # SQLite ends a read with its cursor; elsewhere the driver has begun a transaction that must not stay open.
        self._must_end = engine.dialect.name != "sqlite"
        self._local = threading.local()

    def first(self, **parameters: Any) -> tuple[Any, ...] | None:
        """The first row, if any; raises SQLAlchemy's OperationalError where the database does not answer."""
        key = tuple(parameters.values())
        known = self._known.get(key)
        if known is not None and known[0] == self._counter():
            return known[1]
        row, count = self._ask(parameters)
        if row is not None and count is not None:
            if len(self._known) >= MAXIMUM_KNOWN:
                self._known.clear()
            self._known[key] = (count, row)
        return row

    def _ask(self, parameters: dict[str, Any]) -> tuple[tuple[Any, ...] | None, bytes | None]:
        """The first row, and the count at which it was read."""
        connection = getattr(self._local, "connection", None)
        try:
            if connection is None:
                connection = self._local.connection = self._engine.raw_connection()
            cursor = connection.cursor()
            cursor.execute(self._sql, [parameters[name] for name in self._names] if self._names else parameters)
            # The select has found its row and not yet let go of its lock, so nobody commits: the count and the row
            # belong together. Read at another time, it may be that of a writer who was killed in his commit, and
            # which the next one uses again.
            count = self._counter()
            row: tuple[Any, ...] | None = cursor.fetchone()
            cursor.close()
            if self._must_end:
                connection.rollback()
        except self._engine.dialect.loaded_dbapi.Error as error:
            self._local.connection = None
            if connection is not None:
                connection.invalidate()
            raise sa.exc.OperationalError(self._sql, parameters, error) from error
        return row, count


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


class Database:
    """Connections to the database of one process; made after a fork, never carried across one."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        settings.data.mkdir(parents=True, exist_ok=True)
        self.engine = sa.create_engine(settings.database_url, pool_size=2 * settings.threads + 2, pool_pre_ping=False)
        sqlalchemy.event.listen(self.engine, "connect", _remember_process)
        sqlalchemy.event.listen(self.engine, "checkout", _require_process)
        if self.engine.dialect.name == "sqlite":
            sqlalchemy.event.listen(self.engine, "connect", _configure_sqlite)
            sqlalchemy.event.listen(self.engine, "begin", _begin_sqlite)
        self._reader = self.engine.execution_options(reading=True)  # shares the engine's pool
        self.serving_version = FastQuery(self.engine, SERVING_QUERY, ChangeCounter(self.engine))

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """A connection for single selects, without a transaction around them."""
        with self._reader.connect() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[sa.Connection]:
        """A connection in a transaction that holds the right to write from its first statement on."""
        with self.engine.begin() as connection:
            yield connection

    def migrate(self) -> None:
        """Bring the schema to the newest migration; safe when several processes start at once."""
        with (self.settings.data / "migrate.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if self._version() == HEAD:
                return
            from alembic import command

            from service.migrations import configuration

            command.upgrade(configuration(self.engine), "head")

    def _version(self) -> str | None:
        with self.read() as connection:
            if not sa.inspect(connection).has_table("alembic_version"):
                return None
            version: str | None = connection.scalar(sa.text("SELECT version_num FROM alembic_version"))
            return version

    def dispose(self) -> None:
        """Close all connections."""
        self.engine.dispose()


def _configure_sqlite(connection: Any, _record: Any) -> None:
    # The driver's own transactions begin deferred, and one that turns from reading to writing fails at once, past any
    # timeout; with None the driver leaves BEGIN to us.
    connection.isolation_level = None
    connection.execute("PRAGMA busy_timeout = 10000")
    connection.execute(f"PRAGMA synchronous = {SYNCHRONOUS}")
    # This converts a database that another build of SQLite left in another mode, if no other process has it open.
    (mode,) = connection.execute(f"PRAGMA journal_mode = {JOURNAL_MODE}").fetchone()
    if mode.upper() != JOURNAL_MODE:
        raise SettingsError(
            f"the database must be in journal mode {JOURNAL_MODE}, the safe one for SQLite {sqlite3.sqlite_version}, "
            f"and cannot be put into it. Received: {mode.upper()}"
        )


def _begin_sqlite(connection: sa.Connection) -> None:
    # A read takes no transaction: each select sees the newest state by itself. SQLite refuses to write there.
    if connection.get_execution_options().get("reading"):
        connection.exec_driver_sql("PRAGMA query_only = ON")
    else:
        connection.exec_driver_sql("PRAGMA query_only = OFF")
        connection.exec_driver_sql("BEGIN IMMEDIATE")


def _remember_process(_connection: Any, record: sa.pool.ConnectionPoolEntry) -> None:
    record.info["process"] = os.getpid()


def _require_process(_connection: Any, record: Any, proxy: Any) -> None:
    """Leave a connection that came across a fork to the process it belongs to; the pool then makes another one."""
    if record.info["process"] != os.getpid():
        record.dbapi_connection = proxy.dbapi_connection = None
        raise sa.exc.DisconnectionError("this connection belongs to another process")
