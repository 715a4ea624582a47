"""A select that runs on every request, whose answers are kept until what it reads changes."""

from __future__ import annotations

from time import monotonic, sleep
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.sql import visitors

from service.store.backend import Backend, Row

__all__ = ["MAXIMUM_KNOWN", "FastQuery"]


#: Maximum number of cached answers of a query.
MAXIMUM_KNOWN = 10_000
#: Seconds after which the select runs again although nothing has changed: a trainer of an earlier release, which goes
#: on if the web service is replaced quickly, does not count its changes.
MAXIMUM_AGE = 5.0
#: Seconds for which a select that fails is tried again if its last answer is known, until the database is known to be
#: away; and seconds between two tries.
PATIENCE_SECONDS, _PAUSE_SECONDS = 2.0, 0.02


class _Known(NamedTuple):
    """A row, the count at which it was selected, and when."""

    changes: bytes
    row: Row
    at: float


class FastQuery:
    """A select that runs on every request. While the count of changes stays the same, it returns the cached answer.

    Each transaction that changes one of the ``tables`` of the select must change the count. While the database does not
    answer, the last known answer stands, so that what is loaded can go on answering.
    """

    def __init__(self, backend: Backend, statement: sa.Select[Any]) -> None:
        self._ask, self._count = backend.asking(statement), backend.count
        self._never_waits = backend.never_waits
        self._known: dict[tuple[Any, ...], _Known] = {}
        self.tables = {part for part in visitors.iterate(statement) if isinstance(part, sa.Table)}

    def at_once(self, **parameters: Any) -> Row | None:
        """The first row, or None if there is none or if a reader might have to wait for it."""
        if self._never_waits:
            return self.first(**parameters)
        known = self._known.get(tuple(parameters.values()))
        return known.row if known is not None and self._is_right(known) else None

    def first(self, **parameters: Any) -> Row | None:
        """The first row, if any. Raises SQLAlchemy's OperationalError if the database does not answer."""
        key = tuple(parameters.values())
        known = self._known.get(key)
        if known is not None and self._is_right(known):
            return known.row
        return self._select(parameters, known)[0]

    def counted(self, *, wait: bool, **parameters: Any) -> tuple[Row | None, bytes | None] | None:
        """The first row, and the count of changes at which it was selected; None if that has to wait and must not."""
        known = self._known.get(tuple(parameters.values()))
        if known is not None and self._is_right(known):
            return known.row, known.changes
        if not (wait or self._never_waits):
            return None
        return self._select(parameters, known)

    def counts(self, changes: bytes) -> bool:
        """Whether this is the present count of changes."""
        return changes == self._count()

    def _select(self, parameters: dict[str, Any], known: _Known | None) -> tuple[Row | None, bytes | None]:
        """The first row, which is cached, and the count at which it was read."""
        until = monotonic() + PATIENCE_SECONDS
        while True:
            try:
                row, count = self._ask(parameters)
            except sa.exc.OperationalError:
                if known is None or monotonic() > until:
                    raise
                if not self._count.answers():
                    return known.row, None
                sleep(_PAUSE_SECONDS)  # It may be only this connection that was lost.
            else:
                break
        if row is not None:
            if len(self._known) >= MAXIMUM_KNOWN:
                self._known.clear()
            # Without a count, it is no more than the last known answer.
            self._known[tuple(parameters.values())] = _Known(count or b"", row, monotonic())
        return row, count

    def _is_right(self, known: _Known) -> bool:
        """Whether an answer is still the one that the database would give, or the last one while it does not answer."""
        count = self._count()
        if count is None:
            return not self._count.answers()
        return known.changes == count and monotonic() - known.at < MAXIMUM_AGE
