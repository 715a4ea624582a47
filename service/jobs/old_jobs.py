"""Deletes jobs that ended long ago, with their events. Their checkpoints and versions stay."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import sqlalchemy as sa

from models.clock import rfc3339
from service.jobs.record import FINAL
from service.store.database import Database
from service.store.tables import EVENTS, JOBS, SWEEPS

__all__ = ["ROWS_AT_ONCE", "drop_old_jobs"]

#: Maximum number of rows that one transaction deletes, so that other writers wait briefly. A job can have millions of
#: events.
ROWS_AT_ONCE = 1000


def drop_old_jobs(database: Database, days: float) -> bool:
    """Delete jobs that ended more than ``days`` ago, at most ``ROWS_AT_ONCE`` rows. Returns whether more are left.

    The events of a job are deleted before its row, the oldest first. Nothing is written if there is nothing to delete,
    or if ``days`` is 0.
    """
    if days == 0:
        return False
    before = rfc3339(datetime.now(UTC) - timedelta(days=days))
    old = sa.select(JOBS.c.id).where(JOBS.c.state.in_(FINAL), JOBS.c.finished_at < before).limit(ROWS_AT_ONCE)
    with database.read() as connection:
        if connection.scalar(old) is None:
            return False
    with database.write() as connection:
        left = ROWS_AT_ONCE
        for job in list(connection.scalars(old)):
            events = sa.select(EVENTS.c.id).where(EVENTS.c.job == job).order_by(EVENTS.c.id).limit(left)
            left -= connection.execute(sa.delete(EVENTS).where(EVENTS.c.id.in_(events))).rowcount
            if left == 0:
                return True
            connection.execute(sa.delete(SWEEPS).where(SWEEPS.c.job == job))
            connection.execute(sa.delete(JOBS).where(JOBS.c.id == job))
            left -= 1
            if left == 0:
                return True
    return False
