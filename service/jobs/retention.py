"""Retention: deletes a job's old checkpoints."""

from __future__ import annotations

import sqlalchemy as sa

from models.registry import checkpoints
from models.training.run import Monitor
from service.jobs import lifecycle
from service.jobs.record import ACTIVE
from service.store.database import Database
from service.store.files import FileKind, FileStore
from service.store.tables import JOBS

__all__ = ["drop_superfluous", "starting_points"]


def drop_superfluous(database: Database, files: FileStore, job: str, fence: int, keep: int, monitor: Monitor) -> None:
    """Delete checkpoints between a job's first and last beyond those to be kept.

    To be called once a newer one is durable and named. The files go after the transaction that forgets them: a crash
    in between leaves files that no row names, which the next start of the trainer removes. Raises lifecycle.StaleError
    unless the job is held under ``fence``.
    """
    with database.write() as connection:
        lifecycle.require_owner(connection, job, fence)
        old = checkpoints.superfluous_checkpoints(connection, job, keep, monitor, starting_points(connection))
        checkpoints.forget_checkpoints(connection, old)
    files.delete(FileKind.CHECKPOINT, *old)


def starting_points(connection: sa.Connection) -> set[str]:
    """The checkpoints from which active jobs start."""
    query = sa.select(JOBS.c.start_from).where(JOBS.c.state.in_(ACTIVE), JOBS.c.start_from.is_not(None))
    return set(connection.scalars(query))
