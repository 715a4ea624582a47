"""Numbers by the database, foreign keys, and the checkpoint that a job starts from.

Tables are made anew and filled in the order of their ids: so the numbers of old rows say what their ids said.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"

#: Indexes of the tables before and after, by table.
_OLD_INDEXES = {"checkpoints": ("model", "job"), "jobs": ("model", "state")}
_NEW_INDEXES = {
    "checkpoints": ("model_number", "job"),
    "jobs": ("model", "model_number", "state", "dataset", "validation_dataset"),
}
#: Columns that are copied as they are, of the table that a statement calls "old".
_COLUMNS = {
    "versions": "version, job, checkpoint, metrics, created_at",
    "checkpoints": "id, job, kind, epoch, step, bytes, sha256, mtime_ns, fault, metrics, created_at",
    "datasets": "id, name, rows, features, classes, bytes, sha256, mtime_ns, fault, created_at",
    "jobs": "id, model, state, wanted, request, created_at, started_at, finished_at, attempt, deaths, fence, "
    "lease_until, not_before, epoch, epochs, step, fraction, eta_seconds, metrics, checkpoint, version, error, details",
    "aliases": "alias, version",
}


def _copy(table: str, others: str, values: str, source: str) -> str:
    """A statement that fills a table from ``source``: the columns that are copied, and ``others`` from ``values``."""
    copied = ", ".join(f"old.{column}" for column in _COLUMNS[table].split(", "))
    targets, expressions = ", ".join(filter(None, (others, _COLUMNS[table]))), ", ".join(filter(None, (values, copied)))
    return f"INSERT INTO {table} ({targets}) SELECT {expressions} FROM old_{table} AS old {source}"  # noqa: S608


_BY_NAME = "JOIN models ON models.name = old.model"
#: A job is of the present model of its name if it is active, if it made what that model has, or if it came after that
#: model's definition. Any other job is of an earlier model, which was deleted.
_MODEL_OF_JOB = """
LEFT JOIN models ON models.name = old.model AND (
    old.state IN ('queued', 'running', 'paused')
    OR old.id IN (SELECT job FROM old_versions WHERE model = old.model AND job IS NOT NULL)
    OR old.id IN (SELECT job FROM old_checkpoints WHERE model = old.model AND job IS NOT NULL)
    OR old.created_at >= models.created_at)
"""
_DATA_OF_JOB = """
LEFT JOIN datasets AS data ON data.id = old.dataset
LEFT JOIN datasets AS validation ON validation.id = old.validation_dataset
"""
_FILL_NEW = (
    _copy("versions", "model_number", "models.number", _BY_NAME),
    _copy("aliases", "model_number", "models.number", _BY_NAME),
    _copy("checkpoints", "model_number", "models.number", f"{_BY_NAME} ORDER BY old.id"),
    _copy("datasets", "", "", "ORDER BY old.id"),
    _copy(
        "jobs",
        "model_number, dataset, validation_dataset",
        "models.number, data.id, validation.id",
        f"{_MODEL_OF_JOB} {_DATA_OF_JOB} ORDER BY old.id",
    ),
)
_BY_NUMBER = "JOIN models ON models.number = old.model_number"
_FILL_OLD = (
    _copy("versions", "model", "models.name", _BY_NUMBER),
    _copy("aliases", "model", "models.name", _BY_NUMBER),
    _copy("checkpoints", "model", "models.name", _BY_NUMBER),
    _copy("datasets", "", "", ""),
    _copy("jobs", "dataset, validation_dataset", "COALESCE(old.dataset, ''), old.validation_dataset", ""),
)


def upgrade() -> None:
    """Number the rows, and let them refer to each other."""
    tables = ["versions", "aliases", "checkpoints", "datasets", "jobs"]
    if op.get_bind().dialect.name == "sqlite":
        tables.insert(0, "models")  # Elsewhere its numbers come from a sequence already.
    _set_aside(tables, _OLD_INDEXES)
    if "models" in tables:
        _create_models(numbered=True)
        op.execute("INSERT INTO models SELECT number, name, definition, newest, created_at FROM old_models")
    _create_new()
    _fill_new()
    _index(_NEW_INDEXES)
    for table in tables:
        op.drop_table(f"old_{table}")


def downgrade() -> None:
    """Refer to models by name again. If the order of the numbers differs from that of the ids, it is lost."""
    tables = ["jobs", "versions", "aliases", "checkpoints", "datasets"]
    if op.get_bind().dialect.name == "sqlite":
        tables.append("models")
    _set_aside(tables, _NEW_INDEXES)
    if "models" in tables:
        _create_models(numbered=False)
        op.execute("INSERT INTO models SELECT number, name, definition, newest, created_at FROM old_models")
    _create_old()
    _fill_old()
    _index(_OLD_INDEXES)
    for table in tables:
        op.drop_table(f"old_{table}")


def _set_aside(tables: list[str], indexes: Mapping[str, tuple[str, ...]]) -> None:
    """Give the tables other names; indexes keep theirs, which are wanted again, and so go."""
    for table, columns in indexes.items():
        for column in columns:
            op.drop_index(f"ix_{table}_{column}", table)
    for table in tables:
        op.rename_table(table, f"old_{table}")


def _index(indexes: Mapping[str, tuple[str, ...]]) -> None:
    for table, columns in indexes.items():
        for column in columns:
            op.create_index(f"ix_{table}_{column}", table, [column])


def _create_models(*, numbered: bool) -> None:
    op.create_table(
        "models",
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("name", sa.String(63), nullable=False, unique=True),
        sa.Column("definition", sa.Text, nullable=False),
        sa.Column("newest", sa.Integer, nullable=False),
        sa.Column("created_at", sa.String(30), nullable=False),
        sqlite_autoincrement=numbered,
    )


def _model() -> sa.ForeignKey:
    """The model that a row belongs to, and with which it is deleted."""
    return sa.ForeignKey("models.number", ondelete="CASCADE")


def _version_columns() -> list[sa.Column[object]]:
    return [
        sa.Column("version", sa.Integer, primary_key=True),
        sa.Column("job", sa.String(40), nullable=True),
        sa.Column("checkpoint", sa.String(40), nullable=False),
        sa.Column("metrics", sa.Text, nullable=False),
        sa.Column("created_at", sa.String(30), nullable=False),
    ]


def _checkpoint_columns() -> list[sa.Column[object]]:
    return [
        sa.Column("job", sa.String(40), nullable=True),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("epoch", sa.Integer, nullable=False),
        sa.Column("step", sa.BigInteger, nullable=False),
        *_file_columns(),
        sa.Column("metrics", sa.Text, nullable=False),
        sa.Column("created_at", sa.String(30), nullable=False),
    ]


def _dataset_columns() -> list[sa.Column[object]]:
    return [
        sa.Column("name", sa.String(63), nullable=True, unique=True),
        sa.Column("rows", sa.Integer, nullable=False),
        sa.Column("features", sa.Text, nullable=False),
        sa.Column("classes", sa.Text, nullable=False),
        *_file_columns(),
        sa.Column("created_at", sa.String(30), nullable=False),
    ]


def _file_columns() -> list[sa.Column[object]]:
    return [
        sa.Column("bytes", sa.BigInteger, nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("mtime_ns", sa.BigInteger, nullable=True),
        sa.Column("fault", sa.String(16), nullable=True),
    ]


def _job_columns() -> list[sa.Column[object]]:
    return [
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("wanted", sa.String(16), nullable=True),
        sa.Column("request", sa.Text, nullable=False),
        sa.Column("created_at", sa.String(30), nullable=False),
        sa.Column("started_at", sa.String(30), nullable=True),
        sa.Column("finished_at", sa.String(30), nullable=True),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("deaths", sa.Integer, nullable=False),
        sa.Column("fence", sa.Integer, nullable=False),
        sa.Column("lease_until", sa.Float, nullable=True),
        sa.Column("not_before", sa.Float, nullable=True),
        sa.Column("epoch", sa.Integer, nullable=False),
        sa.Column("epochs", sa.Integer, nullable=False),
        sa.Column("step", sa.BigInteger, nullable=False),
        sa.Column("fraction", sa.Float, nullable=False),
        sa.Column("eta_seconds", sa.Float, nullable=True),
        sa.Column("metrics", sa.Text, nullable=False),
        sa.Column("checkpoint", sa.String(40), nullable=True),
        sa.Column("version", sa.Integer, nullable=True),
        sa.Column("error", sa.Text, nullable=True),
        sa.Column("details", sa.Text, nullable=False, server_default="{}"),
    ]


def _numbered_id() -> list[sa.Column[object]]:
    return [
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("id", sa.String(40), nullable=False, unique=True),
    ]


def _create_new() -> None:
    op.create_table("versions", sa.Column("model_number", sa.Integer, _model(), primary_key=True), *_version_columns())
    op.create_table(
        "aliases",
        sa.Column("model_number", sa.Integer, _model(), primary_key=True),
        sa.Column("alias", sa.String(63), primary_key=True),
        sa.Column("version", sa.Integer, nullable=False),
    )
    op.create_table(
        "checkpoints",
        *_numbered_id(),
        sa.Column("model_number", sa.Integer, _model(), nullable=False),
        *_checkpoint_columns(),
        sqlite_autoincrement=True,
    )
    op.create_table("datasets", *_numbered_id(), *_dataset_columns(), sqlite_autoincrement=True)
    rows = [
        sa.Column(name, sa.String(40), sa.ForeignKey("datasets.id", ondelete="SET NULL"), nullable=True)
        for name in ("dataset", "validation_dataset")
    ]
    op.create_table(
        "jobs",
        *_numbered_id(),
        sa.Column("model", sa.String(63), nullable=False),
        sa.Column("model_number", sa.Integer, sa.ForeignKey("models.number", ondelete="SET NULL"), nullable=True),
        *rows,
        sa.Column("start_from", sa.String(40), nullable=True),
        *_job_columns(),
        sqlite_autoincrement=True,
    )


def _fill_new() -> None:
    for statement in _FILL_NEW:
        op.execute(statement)
    jobs = sa.table("jobs", sa.column("id"), sa.column("request"), sa.column("start_from"))
    for row in op.get_bind().execute(sa.select(jobs.c.id, jobs.c.request)).all():
        start_from = json.loads(row.request).get("start_from")
        if start_from is not None:
            op.execute(sa.update(jobs).where(jobs.c.id == row.id).values(start_from=start_from))


def _create_old() -> None:
    op.create_table("versions", sa.Column("model", sa.String(63), primary_key=True), *_version_columns())
    op.create_table(
        "aliases",
        sa.Column("model", sa.String(63), primary_key=True),
        sa.Column("alias", sa.String(63), primary_key=True),
        sa.Column("version", sa.Integer, nullable=False),
    )
    op.create_table(
        "checkpoints",
        sa.Column("id", sa.String(40), primary_key=True),
        sa.Column("model", sa.String(63), nullable=False),
        *_checkpoint_columns(),
    )
    op.create_table("datasets", sa.Column("id", sa.String(40), primary_key=True), *_dataset_columns())
    op.create_table(
        "jobs",
        sa.Column("id", sa.String(40), primary_key=True),
        sa.Column("model", sa.String(63), nullable=False),
        sa.Column("dataset", sa.String(40), nullable=False),
        sa.Column("validation_dataset", sa.String(40), nullable=True),
        *_job_columns(),
    )


def _fill_old() -> None:
    for statement in _FILL_OLD:
        op.execute(statement)
