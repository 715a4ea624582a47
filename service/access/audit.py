"""The audit trail: who made, published, deleted and downloaded what.

A row is written in the transaction that does what it says. Functions take an open SQLAlchemy connection and leave the
transaction to the caller.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

import sqlalchemy as sa

from models.clock import rfc3339, utc_now
from models.registry.callers import caller_of
from service.store.database import Database
from service.store.tables import AUDIT

__all__ = ["ROWS_AT_ONCE", "Action", "Subject", "drop_old_records", "list_records", "record"]

#: Maximum number of rows that one transaction deletes, so that other writers wait briefly.
ROWS_AT_ONCE = 1000


class Action(StrEnum):
    """What was done."""

    MADE = "made"
    PUBLISHED = "published"
    DELETED = "deleted"
    DOWNLOADED = "downloaded"


class Subject(StrEnum):
    """To what it was done."""

    MODEL = "model"
    VERSION = "version"
    ALIAS = "alias"
    DATASET = "dataset"
    JOB = "job"
    CHECKPOINT = "checkpoint"
    HELD_OUT = "held_out"
    KEY = "key"


def record(connection: sa.Connection, action: Action, kind: Subject, subject: str, owner: str | None = None) -> None:
    """Record that the connection's caller does something to ``subject``, a name or an id.

    ``owner`` is whose it is, if that may be another than the caller.
    """
    caller = caller_of(connection)
    values = {"key": caller.key, "owner": owner or caller.owner, "request": caller.request}
    values |= {"action": action, "kind": kind, "subject": subject}
    connection.execute(sa.insert(AUDIT).values(at=utc_now(), **values))


def list_records(
    connection: sa.Connection, limit: int, after: int | None, conditions: dict[str, str]
) -> list[dict[str, Any]]:
    """The documents of records, newest first, below the one with the id ``after``; ``conditions`` are by column."""
    query = sa.select(AUDIT).order_by(AUDIT.c.id.desc()).limit(limit)
    if after is not None:
        query = query.where(AUDIT.c.id < after)
    for name, value in conditions.items():
        query = query.where(AUDIT.c[name] == value)
    return [{str(name): value for name, value in row._mapping.items()} for row in connection.execute(query)]


def drop_old_records(database: Database, days: float) -> bool:
    """Delete records that are older than ``days``, at most ``ROWS_AT_ONCE``. Returns whether more may be left.

    Nothing is deleted if ``days`` is 0.
    """
    if days == 0:
        return False
    before = rfc3339(datetime.now(UTC) - timedelta(days=days))
    old = sa.select(AUDIT.c.id).where(AUDIT.c.at < before).limit(ROWS_AT_ONCE)
    with database.read() as connection:
        if connection.scalar(old) is None:
            return False
    with database.write() as connection:
        gone = connection.execute(sa.delete(AUDIT).where(AUDIT.c.id.in_(old)))
    return gone.rowcount == ROWS_AT_ONCE
