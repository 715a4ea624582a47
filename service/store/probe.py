"""Whether the database answers and takes writes: asked on a connection of its own, with little patience."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Any, TypeVar

import sqlalchemy as sa
import sqlalchemy.event

__all__ = ["PATIENCE_SECONDS", "Probe"]

#: Seconds for which another program may hold SQLite's lock before the database counts as locked.
PATIENCE_SECONDS = 1.0
_BUSY = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
Answer = TypeVar("Answer")


class Probe:
    """Connects to the database at ``url`` for each question, so that it does not wait for those of requests."""

    def __init__(self, url: sa.URL) -> None:
        self._sqlite = url.get_backend_name() == "sqlite"
        patience = {"connect_timeout": max(1, round(PATIENCE_SECONDS))}
        self._engine = sa.create_engine(url, poolclass=sa.NullPool, connect_args={} if self._sqlite else patience)
        if self._sqlite:
            sqlalchemy.event.listen(self._engine, "connect", _configure)

    def ask(self, question: Callable[[sa.Connection], Answer], *, writes: bool = True) -> tuple[str, Answer | None]:
        """``ok`` and the answer of a select, or what is wrong: ``locked`` or ``unavailable``, with a sentence.

        ``writes`` says that it counts too whether something could be written.
        """
        try:
            with self._engine.connect() as connection:
                if writes and self._sqlite and self._is_locked(connection):
                    detail = (
                        f"another program has held its lock for {PATIENCE_SECONDS:g} s or more; nothing can be written"
                    )
                    return f"locked: {detail}", None
                return "ok", question(connection)
        except sa.exc.SQLAlchemyError as error:
            if getattr(getattr(error, "orig", None), "sqlite_errorcode", 0) & 0xFF in _BUSY:
                return "locked: another program holds its lock, and nothing can be read", None
            return f"unavailable: {type(error).__name__}", None

    def _is_locked(self, connection: sa.Connection) -> bool:
        """Whether nobody could write for the time of the patience. Many short transactions are no lock."""
        before = _data_version(connection)
        try:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        except sa.exc.OperationalError as error:
            if getattr(error.orig, "sqlite_errorcode", 0) & 0xFF not in _BUSY:
                raise
            return _data_version(connection) == before
        connection.exec_driver_sql("ROLLBACK")
        return False


def _configure(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # This module begins transactions itself.
    connection.execute(f"PRAGMA busy_timeout = {round(1000 * PATIENCE_SECONDS)}")


def _data_version(connection: sa.Connection) -> int:
    """A number that changes with each commit of another connection."""
    return int(connection.exec_driver_sql("PRAGMA data_version").scalar_one())
