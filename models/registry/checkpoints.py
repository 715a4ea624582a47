"""Rows of checkpoints, which name the files on disk.

A row is written after its file is durable, and deleted before its file is, so that a row never names a missing file.
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
    """Add the row of a checkpoint whose file is durable; ``model`` in ``values`` is the model's name."""
    columns = {**record._asdict(), **values, "model_number": number_of(values["model"])}
    del columns["model"]
    connection.execute(sa.insert(CHECKPOINTS).values(**columns))


def find_checkpoint(connection: sa.Connection, checkpoint_id: str) -> dict[str, Any]:
    """A checkpoint by id. Raises MissingError."""
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
    """A checkpoint's document in the API, with ``fault`` if its file has one."""
    order = ("id", "model", "job", "epoch", "step", "bytes", "sha256", "metrics", "created_at")
    return {key: values[key] for key in order} | fault_of(values)


def superfluous_checkpoints(
    connection: sa.Connection, job: str, keep: int, monitor: Monitor | None = None, needed: Collection[str] = ()
) -> list[str]:
    """Checkpoints of a running job that may be deleted: all between the first and the last but the newest ``keep``.

    The newest intact one, the best one by ``monitor`` (if given), and those that a version names or that are
    ``needed`` always stay. Checkpoints with damaged files are not counted and not deleted.
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
    """The row from which a run would continue: the first one, newest first, that does not hold an earlier epoch."""
    return next((row for row in rows if row.kind != "best"), None)


def _best_of(rows: list[sa.Row[Any]], monitor: Monitor) -> sa.Row[Any] | None:
    """The row with the best value, and the oldest of equal ones; None if no epoch had ended."""
    values = {row: json.loads(row.metrics).get(monitor) for row in reversed(rows)}
    scored = [row for row, value in values.items() if value is not None]
    choose = max if monitor.endswith("accuracy") else min
    return choose(scored, key=lambda row: values[row], default=None)


def forget_checkpoints(connection: sa.Connection, ids: list[str]) -> None:
    """Delete the rows of checkpoints; their files may be deleted afterwards."""
    if ids:
        connection.execute(sa.delete(CHECKPOINTS).where(CHECKPOINTS.c.id.in_(ids)))
