"""Totals of what was done, in the database: each is part of the transaction that makes what it counts lasting."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

import sqlalchemy as sa

from service.store.tables import COUNTERS

__all__ = ["Total", "count", "totals"]


class Total(StrEnum):
    """The names of all totals. Each has a row, which a migration has added."""

    EPOCHS = "epochs"
    ROWS_TRAINED = "rows_trained"
    CHECKPOINTS = "checkpoints"
    CHECKPOINT_BYTES = "checkpoint_bytes"
    CHECKPOINT_SECONDS = "checkpoint_seconds"
    #: Seconds that claimed jobs had waited in the queue, and how many jobs.
    QUEUE_WAITS = "queue_waits"
    QUEUE_WAIT_SECONDS = "queue_wait_seconds"
    JOBS_SUCCEEDED = "jobs_succeeded"
    JOBS_FAILED = "jobs_failed"
    JOBS_CANCELLED = "jobs_cancelled"


_ADD = (
    sa.update(COUNTERS)
    .where(COUNTERS.c.name == sa.bindparam("counter"))
    .values(value=COUNTERS.c.value + sa.bindparam("amount"))
)


def count(connection: sa.Connection, amounts: Mapping[Total, float]) -> None:
    """Add to totals, in the present transaction: all of it counts, or nothing does."""
    # In the order of their names, so that transactions which lock the same rows do not wait for each other.
    added = [{"counter": name, "amount": amount} for name, amount in sorted(amounts.items()) if amount]
    if added:
        connection.execute(_ADD, added)


def totals(connection: sa.Connection) -> dict[Total, float]:
    """All totals."""
    found = connection.execute(sa.select(COUNTERS.c.name, COUNTERS.c.value))
    return {Total(name): value for name, value in found}
