"""Deletes ended jobs with their events and plans. Their checkpoints and versions stay."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import sqlalchemy as sa

from models.clock import rfc3339
from models.errors import ConflictError, MissingError
from service.access.audit import Action, Subject, record
from service.jobs import lifecycle
from service.jobs.record import FINAL
from service.store.database import Database
from service.store.tables import EVENTS, JOBS, SWEEPS

__all__ = ["ROWS_AT_ONCE", "delete_job", "drop_old_jobs"]

#: Maximum number of rows that one transaction deletes, so that other writers wait briefly. A job can have millions of
#: events.
ROWS_AT_ONCE = 1000


def delete_job(database: Database, job_id: str) -> None:
    """Delete a job that has ended. Raises MissingError if there is none, and ConflictError if it has not ended.

    This takes as many transactions as are needed. If it is cut short, the job is still there, with fewer events.
    """
    with database.write() as connection:
        job = lifecycle.find(connection, job_id)
        if job.state not in FINAL:
            raise ConflictError("job_active", f"job {job_id} is {job.state}; cancel it first, and wait until it ends")
        record(connection, Action.DELETED, Subject.JOB, job_id, job.owner)
        more = _delete_rows(connection, job_id, ROWS_AT_ONCE) == ROWS_AT_ONCE
    while more:
        with database.write() as connection:
            try:
                lifecycle.find(connection, job_id)
            except MissingError:  # Its row was the last one to be deleted, here or by another request.
                return
            _delete_rows(connection, job_id, ROWS_AT_ONCE)


def drop_old_jobs(database: Database, days: float) -> bool:
    """Delete jobs that ended more than ``days`` ago, at most ``ROWS_AT_ONCE`` rows. Returns whether more are left.

    Nothing is written if there is nothing to delete, or if ``days`` is 0.
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
        for job_id in list(connection.scalars(old)):
            left -= _delete_rows(connection, job_id, left)
            if left == 0:
                return True
    return False


def _delete_rows(connection: sa.Connection, job_id: str, most: int) -> int:
    """Delete at most so many rows of a job: its events, the oldest first, and then its own. Returns their number."""
    events = sa.select(EVENTS.c.id).where(EVENTS.c.job == job_id).order_by(EVENTS.c.id).limit(most)
    deleted = connection.execute(sa.delete(EVENTS).where(EVENTS.c.id.in_(events))).rowcount
    if deleted == most:
        return deleted
    connection.execute(sa.delete(SWEEPS).where(SWEEPS.c.job == job_id))
    connection.execute(sa.delete(JOBS).where(JOBS.c.id == job_id))
    return deleted + 1
