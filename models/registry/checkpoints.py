"""Rows of checkpoints and datasets, which name the files on disk.

A row is written after its file is durable, and deleted before its file is, so that a row never names what is not there.
Functions take an open SQLAlchemy connection and leave the transaction to the caller.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from models.errors import MissingError
from models.formats.durable import FileRecord
from models.registry.rows import fault_of, older_than, with_metrics
from models.registry.tables import CHECKPOINTS, MODELS, VERSIONS
from models.registry.versions import number_of, require_model

if TYPE_CHECKING:
    from nncore.stopping import Monitor

__all__ = [
    "add_checkpoint",
    "checkpoint_document",
    "checkpoint_rows",
    "find_checkpoint",
    "forget_checkpoints",
    "superfluous_checkpoints",
]

_SELECT = sa.select(CHECKPOINTS, MODELS.c.name.label("model")).join(MODELS)


def add_checkpoint(connection: sa.Connection, values: dict[str, Any], record: FileRecord) -> None:
    """Name a checkpoint whose file is durable; of ``values``, ``model`` is its model's name."""
    columns = {**record._asdict(), **values, "model_number": number_of(values["model"])}
    del columns["model"]
    connection.execute(sa.insert(CHECKPOINTS).values(**columns))


def find_checkpoint(connection: sa.Connection, checkpoint_id: str) -> dict[str, Any]:
    """A checkpoint by id; raises MissingError."""
    row = connection.execute(_SELECT.where(CHECKPOINTS.c.id == checkpoint_id)).first()
    if row is None:
        raise MissingError("not_found", f"there is no checkpoint {checkpoint_id!r}")
    return with_metrics(row)


def checkpoint_rows(
    connection: sa.Connection, limit: int, after: str | None, *, model: str | None = None, job: str | None = None
) -> list[dict[str, Any]]:
    """Checkpoints of a model or a job, newest first."""
    query = _SELECT.order_by(CHECKPOINTS.c.number.desc()).limit(limit)
    if model is not None:
        require_model(connection, model)
        query = query.where(MODELS.c.name == model)
    if job is not None:
        query = query.where(CHECKPOINTS.c.job == job)
    if after is not None:
        query = query.where(older_than(connection, CHECKPOINTS, after))
    return [with_metrics(row) for row in connection.execute(query)]


def checkpoint_document(values: dict[str, Any]) -> dict[str, Any]:
    """A checkpoint as the API shows it; ``fault`` only where its file has one."""
    order = ("id", "model", "job", "epoch", "step", "bytes", "sha256", "metrics", "created_at")
    return {key: values[key] for key in order} | fault_of(values)


def superfluous_checkpoints(
    connection: sa.Connection, job: str, keep: int, monitor: Monitor | None = None, needed: Collection[str] = ()
) -> list[str]:
    """Checkpoints of a job on its way that may go: all but the newest ``keep``, and none that is of use elsewhere.

    The first and the last, the newest good one, the best by ``monitor`` where one is given, what a version names and
    what is ``needed`` always stay. One whose file is at fault counts for nothing and is left as it is.
    """
    query = sa.select(CHECKPOINTS).where(CHECKPOINTS.c.job == job, CHECKPOINTS.c.fault.is_(None))
    rows = list(connection.execute(query.order_by(CHECKPOINTS.c.number.desc())))
    passing = [row for row in rows if row.kind in ("between", "interrupted")]
    published = VERSIONS.c.checkpoint.in_([row.id for row in passing])
    stay = {*needed, *connection.scalars(sa.select(VERSIONS.c.checkpoint).where(published))}
    best = None if monitor is None else _best_of([row for row in rows if row.kind != "best"], monitor)
    stay |= {row.id for row in (_newest_state(rows), best) if row is not None}
    return [row.id for row in passing[keep:] if row.id not in stay]


def _newest_state(rows: list[sa.Row[Any]]) -> sa.Row[Any] | None:
    """What a run would go on from: the first of these rows, which are newest first, that is no earlier epoch's."""
    return next((row for row in rows if row.kind != "best"), None)


def _best_of(rows: list[sa.Row[Any]], monitor: Monitor) -> sa.Row[Any] | None:
    """The row with the best value, of equal ones the oldest; None where no epoch had ended."""
    values = {row: json.loads(row.metrics).get(monitor) for row in reversed(rows)}
    scored = [row for row, value in values.items() if value is not None]
    choose = max if monitor.endswith("accuracy") else min
    return choose(scored, key=lambda row: values[row], default=None)


def forget_checkpoints(connection: sa.Connection, ids: list[str]) -> None:
    """Delete the rows of checkpoints, after which their files may be deleted."""
    if ids:
        connection.execute(sa.delete(CHECKPOINTS).where(CHECKPOINTS.c.id.in_(ids)))
