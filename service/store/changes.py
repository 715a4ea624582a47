"""Detecting changes of the database, so that a process that polls it need not repeat its selects."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import sqlalchemy as sa

__all__ = ["CachedQuery", "Changes", "Commits", "Mark"]

Answer = TypeVar("Answer")


class Mark(NamedTuple):
    """A state of the database as one of its connections sees it."""

    connection: int
    commits: int


class Commits(Protocol):
    """How a kind of database lets one of its connections notice the commits of all others."""

    def begin(self, driver: Any) -> None:
        """Do what a new connection of the driver needs. Raises errors of the driver."""

    def number(self, driver: Any) -> int:
        """A number that changes with each commit of another connection. Raises errors of the driver."""

    def wakes(self, driver: Any) -> int | None:
        """A descriptor that becomes readable when another connection commits; None if there is none."""


class Changes:
    """A connection that notices the commits of all other connections, of this process and of others.

    ``before_commit`` does what must come last in a transaction. For use by one thread.
    """

    def __init__(self, engine: sa.Engine, commits: Commits, before_commit: Callable[[sa.Connection], None]) -> None:
        self._engine, self._commits, self._before_commit = engine, commits, before_commit
        self._connection: sa.Connection | None = None
        self._opened = 0

    def mark(self) -> Mark:
        """The present state, which equals an earlier one if no other connection has committed since.

        Raises SQLAlchemy's OperationalError if the database does not answer.
        """
        try:
            driver = self._open().connection.driver_connection
            return Mark(self._opened, self._commits.number(driver))
        except self._engine.dialect.loaded_dbapi.Error as error:
            if self._connection is not None:
                self._connection.invalidate()
            self.close()
            raise sa.exc.OperationalError("the count of commits", None, error) from error

    @contextmanager
    def write(self) -> Iterator[sa.Connection]:
        """A connection in a transaction, as ``Database.write`` gives, whose commit does not count as a change here."""
        try:
            connection = self._open()
            with connection.begin():
                yield connection
                self._before_commit(connection)
        except sa.exc.OperationalError:
            self.close()
            raise

    def wakes(self) -> int | None:
        """A descriptor that becomes readable when another connection commits, until the next ``mark``; None if none.

        It belongs to the present connection, so it is asked for before each wait.
        """
        connection = self._connection
        if connection is None or connection.invalidated:
            return None
        return self._commits.wakes(connection.connection.driver_connection)

    def close(self) -> None:
        """Return the connection. Later calls open another one, and their marks differ from all earlier marks."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _open(self) -> sa.Connection:
        if self._connection is None:
            self._connection = self._engine.connect()
            self._opened += 1
            self._commits.begin(self._connection.connection.driver_connection)
        return self._connection


class CachedQuery(Generic[Answer]):
    """Selects whose answer is used again until the database changes."""

    def __init__(
        self,
        changes: Changes,
        read: Callable[[], AbstractContextManager[sa.Connection]],
        ask: Callable[[sa.Connection], Answer],
    ) -> None:
        self._changes, self._read, self._ask = changes, read, ask
        self._known: tuple[Mark, Answer] | None = None

    def __call__(self) -> Answer:
        """The newest answer: the same object if nothing has changed. Raises SQLAlchemy's OperationalError."""
        # Before the selects: what is committed while they run makes the next mark differ.
        mark = self._changes.mark()
        if self._known is not None and self._known[0] == mark:
            return self._known[1]
        with self._read() as connection:
            answer = self._ask(connection)
        self._known = (mark, answer)
        return answer
