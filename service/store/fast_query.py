"""A select that runs on every request."""

from __future__ import annotations

import threading
from collections.abc import Callable
from time import monotonic
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.sql import visitors

from service.store.sqlite import JOURNAL_MODE

__all__ = ["MAXIMUM_KNOWN", "FastQuery"]


#: Maximum number of cached answers of a query.
MAXIMUM_KNOWN = 10_000
#: Seconds after which the select runs again although nothing has changed: a trainer of an earlier release, which goes
#: on if the web service is replaced quickly, does not count its changes.
MAXIMUM_AGE = 5.0


class _Known(NamedTuple):
    """A row, the count at which it was selected, and when."""

    changes: bytes
    row: tuple[Any, ...]
    at: float


class FastQuery:
    """A select that runs on every request: compiled once, and run on a connection that each thread keeps.

    It avoids SQLAlchemy's connection pool and result objects, which take ten times as long as SQLite. While ``counter``
    returns the same, it returns the cached answer: each transaction that changes one of the ``tables`` of the select
    must change the count.
    """

    def __init__(self, engine: sa.Engine, statement: sa.Select[Any], counter: Callable[[], bytes | None]) -> None:
        compiled = statement.compile(dialect=engine.dialect)
        self._engine, self._sql, self._names = engine, compiled.string, compiled.positiontup
        self._constants = compiled.params  # with None for the parameters that a request gives
        self._counter = counter
        self._known: dict[tuple[Any, ...], _Known] = {}
        self.tables = {part for part in visitors.iterate(statement) if isinstance(part, sa.Table)}
        # Readers of the write-ahead log wait for no writer.
        self._never_waits = engine.dialect.name == "sqlite" and JOURNAL_MODE == "WAL"
        # SQLite ends a read with its cursor; other drivers have begun a transaction that must not stay open.
        self._must_end = engine.dialect.name != "sqlite"
        self._local = threading.local()

    def at_once(self, **parameters: Any) -> tuple[Any, ...] | None:
        """The first row, or None if there is none or if a reader might have to wait for it."""
        if self._never_waits:
            return self.first(**parameters)
        known = self._known.get(tuple(parameters.values()))
        return known.row if known is not None and self._is_right(known) else None

    def first(self, **parameters: Any) -> tuple[Any, ...] | None:
        """The first row, if any. Raises SQLAlchemy's OperationalError if the database does not answer."""
        key = tuple(parameters.values())
        known = self._known.get(key)
        if known is not None and self._is_right(known):
            return known.row
        return self._select(parameters)[0]

    def _select(self, parameters: dict[str, Any]) -> tuple[tuple[Any, ...] | None, bytes | None]:
        """The first row, which is cached, and the count at which it was read."""
        row, count = self._ask(parameters)
        if row is not None and count is not None:
            if len(self._known) >= MAXIMUM_KNOWN:
                self._known.clear()
            self._known[tuple(parameters.values())] = _Known(count, row, monotonic())
        return row, count

    def counted(self, *, wait: bool, **parameters: Any) -> tuple[tuple[Any, ...] | None, bytes | None] | None:
        """The first row, and the count of changes at which it was selected; None if that has to wait and must not."""
        known = self._known.get(tuple(parameters.values()))
        if known is not None and self._is_right(known):
            return known.row, known.changes
        if not (wait or self._never_waits):
            return None
        return self._select(parameters)

    def counts(self, changes: bytes) -> bool:
        """Whether this is the present count of changes."""
        return changes == self._counter()

    def _is_right(self, known: _Known) -> bool:
        return known.changes == self._counter() and monotonic() - known.at < MAXIMUM_AGE

    def _ask(self, parameters: dict[str, Any]) -> tuple[tuple[Any, ...] | None, bytes | None]:
        """The first row, and the count at which it was read."""
        connection = getattr(self._local, "connection", None)
        try:
            if connection is None:
                connection = self._local.connection = self._engine.raw_connection()
            cursor = connection.cursor()
            values = {**self._constants, **parameters}
            cursor.execute(self._sql, [values[name] for name in self._names] if self._names else values)
            # The select has found its row and still holds its lock, so no commit can occur, and count and row belong
            # together. At another time, the count may come from a writer that was killed during its commit, and the
            # next writer uses the same count again.
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
