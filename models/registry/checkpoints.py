"""Rows of checkpoints, which name the files on disk.

A row is written after its file is durable, and deleted before its file is, so that a row never names a missing file.
Functions take an open SQLAlchemy connection and leave the transaction to the caller.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from models.errors import MissingError, describe
from models.formats.durable import FileRecord
from models.registry.callers import visible
from models.registry.rows import Metrics, fault_of, older_than
from models.registry.tables import CHECKPOINTS, MODELS, VERSIONS
from models.registry.versions import number_of, require_model

if TYPE_CHECKING:
    from nncore.stopping import Monitor

__all__ = [
    "CheckpointRow",
    "add_checkpoint",
    "find_checkpoint",
    "forget_checkpoints",
    "list_checkpoints",
    "newest_of_job",
    "superfluous_checkpoints",
]


@dataclass(frozen=True)
class CheckpointRow:
    """A checkpoint; ``job`` is None if it was imported, ``fault`` is what is wrong with its file."""

    id: str
    owner: str
    model: str
    job: str | None
    kind: str
    epoch: int
    step: int
    file: FileRecord
    fault: str | None
    metrics: Metrics
    created_at: str

    @classmethod
    def of(cls, row: sa.Row[Any]) -> CheckpointRow:
        """The checkpoint of a row with all columns of the table, and its model's name and owner."""
        return cls(
            id=row.id,
            owner=row.owner,
            model=row.model,
            job=row.job,
            kind=row.kind,
            epoch=row.epoch,
            step=row.step,
            file=FileRecord(row.bytes, row.sha256, row.mtime_ns),
            fault=row.fault,
            metrics=json.loads(row.metrics),
            created_at=row.created_at,
        )

    def document(self) -> dict[str, Any]:
        """The checkpoint's document in the API, with ``fault`` if its file has one."""
        return {
            "id": self.id,
            "model": self.model,
            "job": self.job,
            "epoch": self.epoch,
            "step": self.step,
            "bytes": self.file.bytes,
            "sha256": self.file.sha256,
            "metrics": self.metrics,
            "created_at": self.created_at,
            **fault_of(self.fault),
        }


_SELECT: sa.Select[Any] = sa.select(CHECKPOINTS, MODELS.c.name.label("model"), MODELS.c.owner).join(MODELS)


def add_checkpoint(connection: sa.Connection, values: dict[str, Any], record: FileRecord) -> None:
    """Add the row of a checkpoint whose file is durable; ``model`` in ``values`` names the caller's model."""
    columns = {**values, **record._asdict(), "model_number": number_of(connection, values["model"])}
    del columns["model"]
    connection.execute(sa.insert(CHECKPOINTS).values(**columns))


def find_checkpoint(connection: sa.Connection, checkpoint_id: str) -> CheckpointRow:
    """A checkpoint by id. Raises MissingError."""
    row = connection.execute(visible(connection, _SELECT, MODELS).where(CHECKPOINTS.c.id == checkpoint_id)).first()
    if row is None:
        raise MissingError("not_found", f"there is no checkpoint {describe(checkpoint_id)}")
    return CheckpointRow.of(row)


def list_checkpoints(
    connection: sa.Connection, limit: int, after: str | None, *, model: str | None = None, job: str | None = None
) -> list[CheckpointRow]:
    """Checkpoints of a model or a job, newest first."""
    query = visible(connection, _SELECT, MODELS).order_by(CHECKPOINTS.c.number.desc()).limit(limit)
    if model is not None:
        query = query.where(MODELS.c.number == require_model(connection, model))
    if job is not None:
        query = query.where(CHECKPOINTS.c.job == job)
    if after is not None:
        query = query.where(older_than(connection, CHECKPOINTS, after))
    return [CheckpointRow.of(row) for row in connection.execute(query)]


def newest_of_job(connection: sa.Connection, job: str, kinds: Collection[str]) -> CheckpointRow | None:
    """The newest checkpoint of a job of one of these kinds without a known fault of its file; None if there is none."""
    query = visible(connection, _SELECT, MODELS).where(CHECKPOINTS.c.job == job, CHECKPOINTS.c.kind.in_(kinds))
    query = query.where(CHECKPOINTS.c.fault.is_(None))
    row = connection.execute(query.order_by(CHECKPOINTS.c.number.desc()).limit(1)).first()
    return None if row is None else CheckpointRow.of(row)


def superfluous_checkpoints(
    connection: sa.Connection, job: str, keep: int, monitor: Monitor | None = None, needed: Collection[str] = ()
) -> list[str]:
    """Checkpoints of a running job that may be deleted: all between the first and the last but the newest ``keep``.

    The newest intact one, the best one by ``monitor`` (if given), and those that a version names or that are
    ``needed`` always stay. Checkpoints with damaged files are not counted and not deleted.
    """
    query = _SELECT.where(CHECKPOINTS.c.job == job, CHECKPOINTS.c.fault.is_(None))
    rows = [CheckpointRow.of(row) for row in connection.execute(query.order_by(CHECKPOINTS.c.number.desc()))]
    passing = [row for row in rows if row.kind in ("between", "interrupted")]
    published = VERSIONS.c.checkpoint.in_([row.id for row in passing])
    stay = {*needed, *connection.scalars(sa.select(VERSIONS.c.checkpoint).where(published))}
    best = None if monitor is None else _best_of([row for row in rows if row.kind != "best"], monitor)
    stay |= {row.id for row in (_newest_state(rows), best) if row is not None}
    return [row.id for row in passing[keep:] if row.id not in stay]


def _newest_state(rows: list[CheckpointRow]) -> CheckpointRow | None:
    """The row from which a run would continue: the first one, newest first, that does not hold an earlier epoch."""
    return next((row for row in rows if row.kind != "best"), None)


def _best_of(rows: list[CheckpointRow], monitor: Monitor) -> CheckpointRow | None:
    """The row with the best value, and the oldest of equal ones; None if no epoch had ended."""
    scored = [(value, row) for row in reversed(rows) if (value := row.metrics.get(monitor)) is not None]
    choose = max if monitor.endswith("accuracy") else min
    best = choose(scored, key=lambda pair: pair[0], default=None)
    return None if best is None else best[1]


def forget_checkpoints(connection: sa.Connection, ids: list[str]) -> None:
    """Delete the rows of checkpoints; their files may be deleted afterwards."""
    if ids:
        connection.execute(sa.delete(CHECKPOINTS).where(CHECKPOINTS.c.id.in_(ids)))
