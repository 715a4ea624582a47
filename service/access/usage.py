"""What a caller uses of what is limited, counted in the database's rows."""

from __future__ import annotations

from functools import cached_property

import sqlalchemy as sa

from models.registry.callers import SERVICE, Caller, caller_of
from models.registry.tables import CHECKPOINTS, DATASETS, MODELS
from service.store.tables import JOBS

__all__ = ["USED", "Usage", "reserved_bytes"]

#: The states of jobs that wait, and of those that run (``service.jobs.record.State``).
WAITING, RUNNING = ("queued", "paused"), ("running",)
#: The limits of which something is used, which are attributes of ``Usage``.
USED = ("queued_jobs", "running_jobs", "datasets", "models", "stored_bytes")


def reserved_bytes(connection: sa.Connection, caller: Caller = SERVICE) -> int:
    """Bytes of checkpoints that the jobs which a caller sees, and which have not ended, may keep, as predicted."""
    query = caller.visible(sa.select(sa.func.sum(JOBS.c.reserved_bytes)), JOBS)
    return int(connection.scalar(query.where(JOBS.c.state.in_([*WAITING, *RUNNING]))) or 0)


class Usage:
    """What the owner uses who asks by a connection, each counted when it is first asked for, while that is open.

    All of the owner's things count, whichever of them its key may use.
    """

    def __init__(self, connection: sa.Connection) -> None:
        self._connection, self._owner = connection, Caller(caller_of(connection).owner)

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
        """Bytes of all files of checkpoints and datasets, and those that are reserved for jobs that have not ended.

        What a job has saved so far counts twice until it ends.
        """
        return self._size(CHECKPOINTS) + self._size(DATASETS) + reserved_bytes(self._connection, self._owner)

    def document(self) -> dict[str, int]:
        """All of them, by the names of their limits."""
        return {name: getattr(self, name) for name in USED}

    def _count(self, table: sa.Table, *conditions: sa.ColumnElement[bool]) -> int:
        query = self._owner.own(sa.select(sa.func.count()).select_from(table), table).where(*conditions)
        return int(self._connection.scalar(query) or 0)

    def _size(self, table: sa.Table) -> int:
        query = self._owner.own(sa.select(sa.func.sum(table.c.bytes)), table)
        return int(self._connection.scalar(query) or 0)
