"""Rows of checkpoints and datasets, which name the files on disk.

A row is written after its file is durable, and deleted before its file is, so that a row never names what is not there.
Functions take an open SQLAlchemy connection and leave the transaction to the caller.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from models.errors import ConflictError, MissingError
from models.files import FileRecord
from models.tables import CHECKPOINTS, DATASETS, VERSIONS
from models.versions import plain, require_model, with_metrics

if TYPE_CHECKING:
    from nncore.stopping import Monitor

__all__ = [
    "add_checkpoint",
    "add_dataset",
    "checkpoint",
    "checkpoint_document",
    "checkpoints",
    "dataset",
    "datasets",
    "delete_dataset",
    "fault_of",
    "files_at_fault",
    "forget_checkpoints",
    "named",
    "require_free_dataset_name",
    "superfluous_checkpoints",
]


def add_checkpoint(connection: sa.Connection, values: dict[str, Any], record: FileRecord) -> None:
    """Name a checkpoint whose file is durable."""
    connection.execute(sa.insert(CHECKPOINTS).values(**values, bytes=record.bytes, sha256=record.sha256))


def checkpoint(connection: sa.Connection, checkpoint_id: str) -> dict[str, Any]:
    """A checkpoint by id; raises MissingError."""
    row = connection.execute(sa.select(CHECKPOINTS).where(CHECKPOINTS.c.id == checkpoint_id)).first()
    if row is None:
        raise MissingError("not_found", f"there is no checkpoint {checkpoint_id!r}")
    return with_metrics(row)


def named(connection: sa.Connection, ids: Sequence[str]) -> set[str]:
    """Those of these ids that a checkpoint or a dataset has."""
    places = [sa.select(table.c.id).where(table.c.id.in_(ids)) for table in (CHECKPOINTS, DATASETS)]
    return set(connection.scalars(sa.union_all(*places)))


def checkpoints(
    connection: sa.Connection, limit: int, after: str | None, *, model: str | None = None, job: str | None = None
) -> list[dict[str, Any]]:
    """Checkpoints of a model or a job, newest first."""
    query = sa.select(CHECKPOINTS).order_by(CHECKPOINTS.c.id.desc()).limit(limit)
    if model is not None:
        require_model(connection, model)
        query = query.where(CHECKPOINTS.c.model == model)
    if job is not None:
        query = query.where(CHECKPOINTS.c.job == job)
    if after is not None:
        query = query.where(CHECKPOINTS.c.id < after)
    return [with_metrics(row) for row in connection.execute(query)]


def checkpoint_document(values: dict[str, Any]) -> dict[str, Any]:
    """A checkpoint as the API shows it; ``fault`` only where its file has one."""
    order = ("id", "model", "job", "epoch", "step", "bytes", "sha256", "metrics", "created_at")
    return {key: values[key] for key in order} | fault_of(values)


def fault_of(values: dict[str, Any]) -> dict[str, Any]:
    """What documents say of a file's fault: nothing where it has none."""
    return {} if values["fault"] is None else {"fault": values["fault"]}


def superfluous_checkpoints(
    connection: sa.Connection, job: str, keep: int, monitor: Monitor | None = None, needed: Collection[str] = ()
) -> list[str]:
    """Checkpoints of a job on its way that may go: all but the newest ``keep``, and none that is of use elsewhere.

    The first and the last, the newest good one, the best by ``monitor`` where one is given, what a version names and
    what is ``needed`` always stay. One whose file is at fault counts for nothing and is left as it is.
    """
    query = sa.select(CHECKPOINTS).where(CHECKPOINTS.c.job == job, CHECKPOINTS.c.fault.is_(None))
    rows = list(connection.execute(query.order_by(CHECKPOINTS.c.id.desc())))
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


def files_at_fault(connection: sa.Connection) -> int:
    """Number of files that were found missing or damaged."""
    queries = [sa.select(sa.func.count()).where(table.c.fault.is_not(None)) for table in (CHECKPOINTS, DATASETS)]
    return sum(connection.scalar(query) or 0 for query in queries)


def forget_checkpoints(connection: sa.Connection, ids: list[str]) -> None:
    """Delete the rows of checkpoints, after which their files may be deleted."""
    if ids:
        connection.execute(sa.delete(CHECKPOINTS).where(CHECKPOINTS.c.id.in_(ids)))


def add_dataset(connection: sa.Connection, values: dict[str, Any], record: FileRecord) -> None:
    """Name a dataset whose file is durable; raises ConflictError where its name is taken."""
    if values["name"] is not None:
        require_free_dataset_name(connection, values["name"])
    columns = {**values, "features": json.dumps(values["features"]), "classes": json.dumps(values["classes"])}
    connection.execute(sa.insert(DATASETS).values(**columns, bytes=record.bytes, sha256=record.sha256))


def require_free_dataset_name(connection: sa.Connection, name: str) -> None:
    """Raise ConflictError where a dataset has this name, or this id: a key in a path means one dataset."""
    taken = sa.or_(DATASETS.c.name == name, DATASETS.c.id == name)
    if connection.scalar(sa.select(DATASETS.c.id).where(taken).limit(1)) is not None:
        raise ConflictError(
            "name_taken", f"the name {name!r} belongs to another dataset; choose a new one or delete it"
        )


def dataset(connection: sa.Connection, key: str) -> dict[str, Any]:
    """A dataset by id or name; raises MissingError."""
    row = connection.execute(sa.select(DATASETS).where(sa.or_(DATASETS.c.id == key, DATASETS.c.name == key))).first()
    if row is None:
        raise MissingError("not_found", f"there is no dataset {key!r}")
    return _dataset_document(row)


def datasets(connection: sa.Connection, limit: int, after: str | None) -> list[dict[str, Any]]:
    """Named datasets, newest first."""
    query = sa.select(DATASETS).where(DATASETS.c.name.is_not(None)).order_by(DATASETS.c.id.desc()).limit(limit)
    if after is not None:
        query = query.where(DATASETS.c.id < after)
    return [_dataset_document(row) for row in connection.execute(query)]


def delete_dataset(connection: sa.Connection, dataset_id: str) -> None:
    """Forget a dataset."""
    connection.execute(sa.delete(DATASETS).where(DATASETS.c.id == dataset_id))


def _dataset_document(row: sa.Row[Any]) -> dict[str, Any]:
    return {**plain(row), "features": json.loads(row.features), "classes": json.loads(row.classes)}
