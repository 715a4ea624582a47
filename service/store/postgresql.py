"""PostgreSQL: its connections, the one writer at a time, and how commits are noticed."""

from __future__ import annotations

import select
import weakref
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any

import sqlalchemy as sa
import sqlalchemy.event

from service.settings import Settings
from service.store.advisory_locks import AdvisoryLock, KeyLocks, session
from service.store.backend import Row
from service.store.cache_lease import CacheLease
from service.store.changes import Changes
from service.store.probe import PATIENCE_SECONDS, Probe

__all__ = ["Notifications", "PostgreSQL"]

#: Seconds for which a process waits to be the writer, as for SQLite's lock.
LOCK_SECONDS = 10.0
#: Seconds for which one statement may run; those of a migration may run for longer.
STATEMENT_SECONDS = 60.0
#: Seconds for which a process may be silent within a transaction. Then the server ends its session, so that a process
#: that was stopped, or cut off, does not keep all others from writing.
IDLE_SECONDS = 5.0
#: Seconds within which a server that has vanished is noticed.
CONNECT_SECONDS, VANISHED_SECONDS = 3, 10
#: Connections that a process keeps when it does not need them.
KEPT_CONNECTIONS = 4
_CHANNEL = "trainyard_commits"
#: SQLSTATE of a statement, or of its wait for a lock, that took too long.
_TOO_LATE = ("57014", "55P03")
#: SQLSTATE of a table that does not exist.
_NO_TABLE = "42P01"


class Notifications:
    """Commits are notified to all who listen (LISTEN, NOTIFY)."""

    def __init__(self) -> None:
        self._noticed = 0

    def begin(self, driver: Any) -> None:
        driver.execute(f"LISTEN {_CHANNEL}")
        driver.commit()

    def number(self, driver: Any) -> int:
        self._noticed += len(list(driver.notifies(timeout=0)))
        return self._noticed

    def wakes(self, driver: Any) -> int | None:
        return None if driver.closed else int(driver.fileno())


class PostgreSQL:
    """A database of a server, which processes of many machines share (``service.store.backend.Backend``)."""

    never_waits = False

    def __init__(self, settings: Settings) -> None:
        url = sa.make_url(settings.database_url).set(drivername="postgresql+psycopg")
        patience = {
            "connect_timeout": CONNECT_SECONDS,
            "keepalives_idle": VANISHED_SECONDS // 2,
            "keepalives_interval": 1,
            "keepalives_count": VANISHED_SECONDS // 2,
            "tcp_user_timeout": 1000 * VANISHED_SECONDS,
            "application_name": "trainyard",
        }
        idle_seconds = min(IDLE_SECONDS, max(0.5, settings.lease_seconds / 2))
        self.engine = sa.create_engine(
            url,
            pool_size=KEPT_CONNECTIONS,
            # A request may use two at a time.
            max_overflow=2 * settings.threads,
            pool_timeout=LOCK_SECONDS,
            hide_parameters=True,  # Errors, which are logged, do not quote what is stored.
            connect_args={name: value for name, value in patience.items() if name not in url.query},
        )
        sqlalchemy.event.listen(self.engine, "connect", partial(_configure, idle_seconds))
        self.count = CacheLease(self.engine)
        sqlalchemy.event.listen(self.engine, "checkout", partial(_require_silence, self.count))
        sqlalchemy.event.listen(self.engine, "begin", _begin)
        sqlalchemy.event.listen(self.engine, "handle_error", partial(_as_operational, self.count))
        #: Each statement outside of a transaction sees the newest state.
        self._reader = self.engine.execution_options(reading=True, isolation_level="AUTOCOMMIT")
        self._keys = KeyLocks(self.engine)
        self._changes: list[Changes] = []
        # Also at the end of the process: the driver warns of connections that are still open then.
        weakref.finalize(self, _close, self.engine, self.count, self._keys, self._changes)

    def changes(self, engine: sa.Engine) -> Changes:
        made = Changes(engine, Notifications(), partial(_before_commit, self.count, notify=False))
        self._changes.append(made)
        return made

    def asking(self, statement: sa.Select[Any]) -> Callable[[dict[str, Any]], tuple[Row | None, bytes | None]]:
        def ask(parameters: dict[str, Any]) -> tuple[Row | None, bytes | None]:
            before = self.count()
            with self._reader.connect() as connection:
                row = connection.execute(statement, parameters).first()
            # Nobody can have committed a change in between if the lock was held all the time.
            return None if row is None else tuple(row), before if before == self.count() else None

        return ask

    def count_change(self, connection: sa.Connection) -> None:
        connection.info["changes served"] = True

    def before_commit(self, connection: sa.Connection, *, notify: bool = True) -> None:
        _before_commit(self.count, connection, notify=notify)

    def keyed(self, scope: str, key: str) -> AbstractContextManager[None]:
        return self._keys.keyed(scope, key)

    @contextmanager
    def migrating(self) -> Iterator[None]:
        held = session(self.engine)
        try:
            held.execute("SELECT set_config('lock_timeout', '0', false), set_config('statement_timeout', '0', false)")
            held.execute(f"SELECT pg_advisory_lock({AdvisoryLock.MIGRATION.numbers})")
            yield
        finally:
            held.close()

    def probe(self) -> Probe:
        patience = {"connect_timeout": max(1, round(PATIENCE_SECONDS)), "application_name": "trainyard"}
        engine = sa.create_engine(self.engine.url, poolclass=sa.NullPool, connect_args=patience)
        sqlalchemy.event.listen(engine, "connect", _configure_probe)
        return Probe(engine, _lock, lambda _error: False)

    def close(self) -> None:
        _close(self.engine, self.count, self._keys, self._changes)


def _configure(idle_seconds: float, connection: Any, _record: Any) -> None:
    _limit(
        connection,
        lock_timeout=LOCK_SECONDS,
        statement_timeout=STATEMENT_SECONDS,
        idle_in_transaction_session_timeout=idle_seconds,
    )


def _limit(connection: Any, **seconds: float) -> None:
    """Set time limits of a session, by their names in PostgreSQL."""
    calls = ", ".join(f"set_config('{name}', '{1000 * limit:.0f}', false)" for name, limit in seconds.items())
    connection.execute(f"SELECT {calls}")
    connection.commit()


def _configure_probe(connection: Any, _record: Any) -> None:
    _limit(connection, lock_timeout=PATIENCE_SECONDS, statement_timeout=PATIENCE_SECONDS)


def _lock(connection: sa.Connection) -> str | None:
    """Why nobody could write for the time of the patience."""
    if connection.exec_driver_sql("SHOW transaction_read_only").scalar_one() == "on":
        return "the server takes no writes: it is a standby, or set to be read only"
    try:
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({AdvisoryLock.WRITER.numbers})")
    except sa.exc.OperationalError as error:
        if getattr(error.orig, "sqlstate", None) not in _TOO_LATE:
            raise
        connection.rollback()
        return f"another process has been writing for {PATIENCE_SECONDS:g} s or more"
    connection.rollback()
    return None


def _before_commit(count: CacheLease, connection: sa.Connection, *, notify: bool) -> None:
    if connection.info.pop("changes served", False):
        count.recall(connection)
    if notify:
        connection.exec_driver_sql(f"NOTIFY {_CHANNEL}")


def _close(engine: sa.Engine, count: CacheLease, keys: KeyLocks, changes: list[Changes]) -> None:
    for one in changes:
        one.close()
    count.close()
    keys.close()
    engine.dispose()


def _require_silence(count: CacheLease, connection: Any, _record: Any, _proxy: Any) -> None:
    """Leave a connection of which the server has said something: that it is ended, as by a restart or a fail-over.

    The pool then makes another one.
    """
    if connection.closed or select.select([connection.fileno()], [], [], 0)[0]:
        count.note_loss()
        raise sa.exc.InvalidatePoolError("the server has ended this connection, and perhaps all others")


def _begin(connection: sa.Connection) -> None:
    if not connection.get_execution_options().get("reading"):
        connection.info.pop("changes served", None)
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({AdvisoryLock.WRITER.numbers})")


def _as_operational(count: CacheLease, context: Any) -> None:
    """Report a lost connection, or a lost table, as every other failure, whatever the driver calls it."""
    error = context.sqlalchemy_exception
    if context.is_disconnect:
        count.note_loss()
    lost = context.is_disconnect or getattr(context.original_exception, "sqlstate", None) == _NO_TABLE
    if lost and error is not None and not isinstance(error, sa.exc.OperationalError):
        raise sa.exc.OperationalError(
            context.statement, None, context.original_exception, hide_parameters=True, connection_invalidated=True
        ) from context.original_exception
