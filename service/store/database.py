"""The database: engine, transactions, and the tables of jobs, events and trainers beside those of the registry."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import copy
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
import sqlalchemy.event

from models.registry.callers import SERVICE, Caller
from models.registry.tables import ALIASES, CHECKPOINTS, METADATA, MODELS, VERSIONS
from models.registry.versions import SERVING_QUERY, VERSION_QUERY
from service.settings import Settings, SettingsError
from service.store.changes import CachedQuery, Changes
from service.store.fast_query import FastQuery
from service.store.locks import Lock, Locks
from service.store.probe import Probe
from service.store.sqlite import UserVersion, begin_sqlite, configure_sqlite
from service.store.tables import API_KEYS

__all__ = ["HEAD", "METADATA", "Database"]

Answer = TypeVar("Answer")

#: The newest migration in service/store/migrations/versions.
HEAD = "0014"


#: The present time in seconds since 1970, by dialect. A Julian day begins at noon, 1970 in the middle of one.
_NOW = {
    "sqlite": sa.text("SELECT (julianday('now') - 2440587.5) * 86400.0"),
    "postgresql": sa.text("SELECT extract(epoch FROM clock_timestamp())"),
}


#: The tables whose changes are counted (``service.store.sqlite.UserVersion``).
_COUNTED = {MODELS, VERSIONS, ALIASES, CHECKPOINTS, API_KEYS}


class Database:
    """Connections to the database of one process; made after a fork, never carried across one.

    They are those of the service, which sees everything, or of one caller (``of``).
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.caller = SERVICE
        settings.data.mkdir(parents=True, exist_ok=True)
        self.engine = sa.create_engine(
            settings.database_url,
            pool_size=2 * settings.threads + 2,
            pool_pre_ping=False,
            hide_parameters=True,  # Errors, which are logged, do not quote what is stored.
        )
        sqlalchemy.event.listen(self.engine, "connect", _remember_process)
        sqlalchemy.event.listen(self.engine, "checkout", _require_process)
        if self.engine.dialect.name == "sqlite":
            sqlalchemy.event.listen(self.engine, "connect", configure_sqlite)
            sqlalchemy.event.listen(self.engine, "begin", begin_sqlite)
        self._bind(SERVICE)
        self._counter = UserVersion(self.engine)
        self.serving_version = self.fast_query(SERVING_QUERY)
        self.numbered_version = self.fast_query(VERSION_QUERY)
        if self.engine.dialect.name == "sqlite":
            sqlalchemy.event.listen(self.engine, "before_execute", self._count_change)
        self.changes = Changes(self._writer)
        self.probe = Probe(self.engine.url)

    def of(self, caller: Caller) -> Database:
        """The same database as a caller sees it, without ``changes``."""
        bound = copy(self)
        bound._bind(caller)
        return bound

    def _bind(self, caller: Caller) -> None:
        # Both share the engine's pool.
        self.caller = caller
        self._reader = self.engine.execution_options(reading=True, caller=caller)
        self._writer = self.engine.execution_options(caller=caller)

    def _count_change(self, connection: sa.Connection, statement: object, *_others: object) -> None:
        """Before a statement that may change what a ``FastQuery`` returns."""
        if isinstance(statement, sa.UpdateBase) and statement.table in _COUNTED:
            UserVersion.advance(connection)

    def fast_query(self, statement: sa.Select[Any]) -> FastQuery:
        """A select that runs on every request; its tables are among those whose changes are counted."""
        query = FastQuery(self.engine, statement, self._counter)
        assert query.tables <= _COUNTED
        return query

    def cached(self, ask: Callable[[sa.Connection], Answer]) -> CachedQuery[Answer]:
        """Selects that are repeated only after a change; for the one thread that uses ``changes``."""
        return CachedQuery(self.changes, self.read, ask)

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """A connection for single selects, without a transaction around them."""
        with self._reader.connect() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[sa.Connection]:
        """A connection in a transaction that holds the right to write from its first statement on."""
        with self._writer.begin() as connection:
            yield connection

    def now(self, connection: sa.Connection | None = None) -> float:
        """Seconds since 1970 by the database's clock, which is the same for all machines that use the database.

        Within a transaction, give its connection.
        """
        if connection is None:
            with self.read() as reader:
                return self.now(reader)
        return float(connection.execute(_NOW[self.engine.dialect.name]).scalar_one())

    def exists(self) -> bool:
        """Whether there is a database; connecting to SQLite creates an empty one if there is none."""
        return self.engine.dialect.name != "sqlite" or Path(self.engine.url.database or "").is_file()

    def migrate(self) -> None:
        """Bring the schema to the newest migration; safe when several processes start at once.

        Raises SettingsError if a newer release has used the database.
        """
        with Locks(self.settings.data).exclusive(Lock.MIGRATION, wait=True):
            version = self._version()
            if version == HEAD:
                return
            if version is not None and version > HEAD:
                raise SettingsError(
                    f"the database is one of a newer release (schema {version}, and this one has {HEAD}): install that "
                    f"release, or set TRAINYARD_DATA to a backup from before"
                )
            from alembic import command

            from service.store.migrations import configuration

            command.upgrade(configuration(self.engine), "head")

    def _version(self) -> str | None:
        with self.read() as connection:
            if not sa.inspect(connection).has_table("alembic_version"):
                return None
            version: str | None = connection.scalar(sa.text("SELECT version_num FROM alembic_version"))
            return version

    def dispose(self) -> None:
        """Close all connections."""
        self.changes.close()
        self.engine.dispose()


def _remember_process(_connection: Any, record: sa.pool.ConnectionPoolEntry) -> None:
    record.info["process"] = os.getpid()


def _require_process(_connection: Any, record: Any, proxy: Any) -> None:
    """Leave a connection that came across a fork to the process it belongs to; the pool then makes another one."""
    if record.info["process"] != os.getpid():
        record.dbapi_connection = proxy.dbapi_connection = None
        raise sa.exc.DisconnectionError("this connection belongs to another process")
