"""Events of jobs, of which those of type ``epoch`` are the history."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from models.clock import utc_now
from service.store.tables import EVENTS

__all__ = ["add_events", "events_after", "list_epochs", "newest_epoch"]


def add_events(
    connection: sa.Connection, job_id: str, events: Sequence[tuple[str, int | None, dict[str, Any]]]
) -> None:
    """Append events, each (type, epoch or None, data)."""
    at = utc_now()
    rows = [
        {"job": job_id, "type": kind, "epoch": epoch, "at": at, "data": json.dumps(data)}
        for kind, epoch, data in events
    ]
    if rows:
        connection.execute(sa.insert(EVENTS), rows)


def events_after(connection: sa.Connection, job_id: str, after: int, limit: int) -> list[sa.Row[Any]]:
    """Events with ids above ``after``, oldest first."""
    query = sa.select(EVENTS).where(EVENTS.c.job == job_id, EVENTS.c.id > after).order_by(EVENTS.c.id).limit(limit)
    return list(connection.execute(query))


def list_epochs(connection: sa.Connection, job_id: str, after: int, limit: int) -> list[tuple[int, str]]:
    """The number and the record, as JSON text, of each epoch beyond ``after``, in order."""
    query = sa.select(EVENTS.c.epoch, EVENTS.c.data).where(EVENTS.c.job == job_id, EVENTS.c.epoch > after)
    return [(epoch, data) for epoch, data in connection.execute(query.order_by(EVENTS.c.epoch).limit(limit))]


def newest_epoch(connection: sa.Connection, job_id: str) -> int:
    """The last epoch in the history; 0 before the first."""
    return connection.scalar(sa.select(sa.func.max(EVENTS.c.epoch)).where(EVENTS.c.job == job_id)) or 0
