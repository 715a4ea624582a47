"""What a caller uses of what is limited, counted in the database's rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass

import sqlalchemy as sa

from models.registry.tables import CHECKPOINTS, DATASETS, MODELS
from service.store.tables import JOBS

__all__ = ["Usage", "usage"]

#: The states of jobs that wait, and of those that run (``service.jobs.record.State``).
WAITING, RUNNING = ("queued", "paused"), ("running",)


@dataclass(frozen=True)
class Usage:
    """The number of jobs that wait and that run, of datasets with a name and of models; bytes of all files."""

    queued_jobs: int
    running_jobs: int
    datasets: int
    models: int
    stored_bytes: int

    def document(self) -> dict[str, int]:
        """All numbers, by the names of their limits."""
        return asdict(self)


def _all(_table: sa.Table) -> sa.ColumnElement[bool]:
    return sa.true()


def usage(connection: sa.Connection, owned: Callable[[sa.Table], sa.ColumnElement[bool]] = _all) -> Usage:
    """What is used; ``owned`` makes the condition that the rows of a table count, which is true of all if left out."""

    def count(table: sa.Table, *conditions: sa.ColumnElement[bool]) -> sa.ScalarSelect[int]:
        return sa.select(sa.func.count()).select_from(table).where(owned(table), *conditions).scalar_subquery()

    def size(table: sa.Table) -> sa.ScalarSelect[int]:
        return sa.select(sa.func.coalesce(sa.func.sum(table.c.bytes), 0)).where(owned(table)).scalar_subquery()

    found = connection.execute(
        sa.select(
            count(JOBS, JOBS.c.state.in_(WAITING)),
            count(JOBS, JOBS.c.state.in_(RUNNING)),
            count(DATASETS, DATASETS.c.name.is_not(None)),
            count(MODELS),
            size(CHECKPOINTS) + size(DATASETS),
        )
    ).one()
    return Usage(*map(int, found))
