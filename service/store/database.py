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
from service.store import clock
from service.store.backend import Backend
from service.store.changes import CachedQuery
from service.store.fast_query import FastQuery
from service.store.tables import API_KEYS

__all__ = ["HEAD", "METADATA", "Database"]

Answer = TypeVar("Answer")

#: The newest migration in service/store/migrations/versions.
HEAD = "0015"


#: The tables whose changes are counted (``service.store.backend.Count``).
_COUNTED = {MODELS, VERSIONS, ALIASES, CHECKPOINTS, API_KEYS}


class Database:
    """Connections to the database of one process; made after a fork, never carried across one.

    They are those of the service, which sees everything, or of one caller (``of``).
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.caller = SERVICE
        settings.data.mkdir(parents=True, exist_ok=True)
        self.backend = _backend(settings)
        self.engine = self.backend.engine
        sqlalchemy.event.listen(self.engine, "connect", _remember_process)
        sqlalchemy.event.listen(self.engine, "checkout", _require_process)
        sqlalchemy.event.listen(self.engine, "before_execute", self._count_change)
        self._bind(SERVICE)
        self.serving_version = self.fast_query(SERVING_QUERY)
        self.numbered_version = self.fast_query(VERSION_QUERY)
        self.changes = self.backend.changes(self._writer)
        self.probe = self.backend.probe()

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
            self.backend.count_change(connection)

    def fast_query(self, statement: sa.Select[Any]) -> FastQuery:
        """A select that runs on every request; its tables are among those whose changes are counted."""
        query = FastQuery(self.backend, statement)
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
        """A connection in a transaction that holds the right to write from its first statement on.

        One transaction at a time has it, of all processes that use the database.
        """
        with self._writer.begin() as connection:
            yield connection
            self.backend.before_commit(connection)

    @contextmanager
    def snapshot(self) -> Iterator[sa.Connection]:
        """A connection that sees the rows of the present moment, of a database that many can use at the same time."""
        with self.engine.execution_options(reading=True, isolation_level="REPEATABLE READ").connect() as connection:
            clock.now(connection)  # The first statement is that moment.
            yield connection

    def now(self, connection: sa.Connection | None = None) -> float:
        """Seconds since 1970 by the database's clock, which is the same for all machines that use the database.

        Within a transaction, give its connection.
        """
        if connection is None:
            with self.read() as reader:
                return self.now(reader)
        return clock.now(connection)

    def exists(self) -> bool:
        """Whether there is a database; connecting to SQLite creates an empty one if there is none."""
        return self.engine.dialect.name != "sqlite" or Path(self.engine.url.database or "").is_file()

    def migrate(self) -> None:
        """Bring the schema to the newest migration; safe when several processes start at once.

        Raises SettingsError if a newer release has used the database.
        """
        with self.backend.migrating():
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
        self.backend.close()


def _backend(settings: Settings) -> Backend:
    # Each is imported where it is used: not every installation has the driver of the other.
    if sa.make_url(settings.database_url).get_backend_name() == "sqlite":
        from service.store.sqlite import SQLite

        return SQLite(settings)
    from service.store.postgresql import PostgreSQL

    return PostgreSQL(settings)


def _remember_process(_connection: Any, record: sa.pool.ConnectionPoolEntry) -> None:
    record.info["process"] = os.getpid()


def _require_process(_connection: Any, record: Any, proxy: Any) -> None:
    """Leave a connection that came across a fork to the process it belongs to; the pool then makes another one."""
    if record.info["process"] != os.getpid():
        record.dbapi_connection = proxy.dbapi_connection = None
        raise sa.exc.DisconnectionError("this connection belongs to another process")
