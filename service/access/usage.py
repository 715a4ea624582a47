"""What a caller uses of what is limited, counted in the database's rows."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import sqlalchemy as sa

from models.registry.tables import CHECKPOINTS, DATASETS, MODELS
from service.store.tables import JOBS

__all__ = ["USED", "Usage"]

#: The states of jobs that wait, and of those that run (``service.jobs.record.State``).
WAITING, RUNNING = ("queued", "paused"), ("running",)
#: The limits of which something is used, which are attributes of ``Usage``.
USED = ("queued_jobs", "running_jobs", "datasets", "models", "stored_bytes")


def _all(_table: sa.Table) -> sa.ColumnElement[bool]:
    return sa.true()


class Usage:
    """What is used, each counted when it is first asked for, while the connection is open.

    ``owned`` makes the condition that the rows of a table count, which is true of all if left out.
    """

    def __init__(self, connection: sa.Connection, owned: Callable[[sa.Table], sa.ColumnElement[bool]] = _all) -> None:
        self._connection, self._owned = connection, owned

    @cached_property
    def queued_jobs(self) -> int:
        """Jobs that are queued or paused."""
        return self._count(JOBS, JOBS.c.state.in_(WAITING))

    @cached_property
    def running_jobs(self) -> int:
        """Jobs that run."""
        return self._count(JOBS, JOBS.c.state.in_(RUNNING))

    @cached_property
    def datasets(self) -> int:
        """Datasets with a name."""
        return self._count(DATASETS, DATASETS.c.name.is_not(None))

    @cached_property
    def models(self) -> int:
        """Models."""
        return self._count(MODELS)

    @cached_property
    def stored_bytes(self) -> int:
        """Bytes of all files of checkpoints and datasets."""
        return self._size(CHECKPOINTS) + self._size(DATASETS)

    def document(self) -> dict[str, int]:
        """All of them, by the names of their limits."""
        return {name: getattr(self, name) for name in USED}

    def _count(self, table: sa.Table, *conditions: sa.ColumnElement[bool]) -> int:
        query = sa.select(sa.func.count()).select_from(table).where(self._owned(table), *conditions)
        return int(self._connection.scalar(query) or 0)

    def _size(self, table: sa.Table) -> int:
        query = sa.select(sa.func.sum(table.c.bytes)).where(self._owned(table))
        return int(self._connection.scalar(query) or 0)
