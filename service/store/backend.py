"""What a kind of database has of its own: connections, locks, and how its changes are noticed."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Protocol

import sqlalchemy as sa

from service.store.changes import Changes
from service.store.probe import Probe

__all__ = ["Backend", "Count", "Row"]

Row = tuple[Any, ...]


class Count(Protocol):
    """The count of changes of what is served. While it stays the same, nothing of that has changed."""

    def __call__(self) -> bytes | None:
        """The present count; None if nothing can be said without asking the database."""

    def answers(self) -> bool:
        """Whether the database answered when it was asked last."""


class Backend(Protocol):
    """A kind of database, for one process."""

    @property
    def engine(self) -> sa.Engine: ...

    @property
    def count(self) -> Count: ...

    @property
    def never_waits(self) -> bool:
        """Whether a select waits for no writer, so that no answer need be kept for those that must not wait."""

    def changes(self, engine: sa.Engine) -> Changes:
        """What notices commits, on a connection of ``engine``."""

    def asking(self, statement: sa.Select[Any]) -> Callable[[dict[str, Any]], tuple[Row | None, bytes | None]]:
        """A function that returns the first row of a select with some parameters, and the count that it belongs to.

        It raises SQLAlchemy's OperationalError.
        """

    def count_change(self, connection: sa.Connection) -> None:
        """Note, before a statement of a transaction, that it may change what is served."""

    def before_commit(self, connection: sa.Connection, *, notify: bool = True) -> None:
        """Do what must come last in a transaction that writes; without ``notify``, nobody else is to notice it."""

    def keyed(self, scope: str, key: str) -> AbstractContextManager[None]:
        """Hold a key of a scope alone, of all processes that use the database. Raises LockTakenError if it is taken."""

    def migrating(self) -> AbstractContextManager[None]:
        """Hold the right to change the schema, after a holder of it has returned it."""

    def probe(self) -> Probe:
        """What asks whether the database answers, for health checks."""

    def close(self) -> None:
        """Close all connections."""
