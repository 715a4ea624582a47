"""Locks between all processes that use a PostgreSQL database: its advisory locks.

The server releases a lock when the transaction or the session of its holder ends, for whatever reason. Sessions must
be those of the server: a pooler that gives each transaction another one loses these locks.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from enum import IntEnum
from typing import Any

import sqlalchemy as sa

from service.store.locks import LockTakenError

__all__ = ["AdvisoryLock", "KeyLocks", "end_sharers", "session"]

#: The first of the two numbers of each lock: "ty".
_OURS = 0x7479


class AdvisoryLock(IntEnum):
    """The second number of each lock. They are the same in every release."""

    #: Exclusive, for a transaction: the one process that writes.
    WRITER = 1
    #: Exclusive, for a session: a process that brings the database to the newest schema.
    MIGRATION = 2
    #: Shared, for a session: a process that keeps what it has read of what is served. Exclusive, for a transaction: a
    #: process that changes that.
    SERVED = 3

    @property
    def numbers(self) -> str:
        """The lock's numbers, as SQL."""
        return f"{_OURS}, {self.value}"

    @property
    def waiting(self) -> str:
        """A select, as SQL, with a row for each session that waits to hold the lock alone."""
        return (
            "SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND mode = 'ExclusiveLock' "
            f"AND (classid, objid) = ({self.numbers})"
        )


_SHARERS = sa.text(
    "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted AND mode = 'ShareLock' "
    "AND classid = :ours AND objid = :lock "
    "AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
)


def end_sharers(connection: sa.Connection, lock: AdvisoryLock) -> int:
    """End the sessions that share a lock; how many. Raises SQLAlchemy's OperationalError."""
    return len(connection.execute(_SHARERS, {"ours": _OURS, "lock": lock.value}).all())


def session(engine: sa.Engine) -> Any:
    """A session of its own, as the driver's connection, outside of the pool and without transactions.

    Raises SQLAlchemy's OperationalError.
    """
    pooled = engine.raw_connection()
    driver: Any = pooled.driver_connection
    pooled.detach()
    driver.autocommit = True
    return driver


class KeyLocks:
    """Keys that requests of all processes hold, one request each. The locks of a process are those of one session.

    If that session is lost, so are the locks, and the next one to ask gets them.
    """

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        #: Within one session, a lock can be taken again; this excludes the threads of this process from each other.
        self._held: set[int] = set()
        self._guard = threading.Lock()
        self._session: Any = None

    @contextmanager
    def keyed(self, scope: str, key: str) -> Iterator[None]:
        """Hold a key of a scope alone; a key is any text. Raises LockTakenError, and SQLAlchemy's OperationalError."""
        digest = hashlib.sha256(f"{scope} {key}".encode()).digest()
        number = int.from_bytes(digest[:8], "big", signed=True)
        with self._guard:
            if number in self._held or not self._ask("SELECT pg_try_advisory_lock(%s)", number):
                raise LockTakenError(f"another request holds the key {key!r}")
            self._held.add(number)
        try:
            yield
        finally:
            with self._guard:
                self._held.remove(number)
                self._release(number)

    def _release(self, number: int) -> None:
        with suppress(sa.exc.OperationalError):  # Then the session is lost, and with it the lock.
            self._ask("SELECT pg_advisory_unlock(%s)", number)

    def _ask(self, statement: str, number: int) -> bool:
        """The answer of a function of PostgreSQL, in the session, which is begun if there is none."""
        try:
            if self._session is None or self._session.closed:
                self._session = session(self._engine)
            return bool(self._session.execute(statement, (number,)).fetchone()[0])
        except self._engine.dialect.loaded_dbapi.Error as error:
            self.close()
            raise sa.exc.OperationalError(statement, None, error) from error

    def close(self) -> None:
        """End the session."""
        if self._session is not None:
            self._session.close()
            self._session = None
