"""Owners of models, datasets, jobs and idempotency keys; API keys and the audit trail."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"

_LOCAL = "local"
#: The constraints that the names of models and datasets had: PostgreSQL named them so, SQLite's have no name.
_NAMING = {"uq": "%(table_name)s_%(column_0_name)s_key"}
_NAMES = {"models": "one_model_a_name", "datasets": "one_dataset_a_name"}


def _owner() -> sa.Column[str]:
    return sa.Column("owner", sa.String(63), nullable=False, server_default=_LOCAL)


def upgrade() -> None:
    """Everything so far belongs to the owner of what is made without keys."""
    for table, name in _NAMES.items():
        with op.batch_alter_table(
            table, naming_convention=_NAMING, table_kwargs={"sqlite_autoincrement": True}
        ) as batch:
            batch.add_column(_owner())
            batch.drop_constraint(_constraint_on_name(table), type_="unique")
            batch.create_unique_constraint(name, ["owner", "name"])
    op.add_column("jobs", _owner())
    op.add_column("jobs", sa.Column("key", sa.String(40), nullable=True))
    op.add_column("jobs", sa.Column("running_limit", sa.Integer, nullable=True))
    op.add_column("jobs", sa.Column("reserved_bytes", sa.BigInteger, nullable=True))
    op.create_index("jobs_of_owner", "jobs", ["owner"])
    op.create_index("starts_of_owner", "jobs", ["owner", "started_at"])
    _make_idempotency_keys("owner")
    op.create_table(
        "api_keys",
        sa.Column("id", sa.String(40), primary_key=True),
        _owner(),
        sa.Column("digest", sa.String(64), nullable=False, unique=True),
        sa.Column("hint", sa.String(16), nullable=False),
        sa.Column("scopes", sa.Text, nullable=False),
        sa.Column("models", sa.Text, nullable=True),
        sa.Column("limits", sa.Text, nullable=False, server_default="{}"),
        sa.Column("created_at", sa.String(30), nullable=False),
        sa.Column("expires_at", sa.String(30), nullable=True),
        sa.Column("revoked_at", sa.String(30), nullable=True),
    )
    op.create_table(
        "audit",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("at", sa.String(30), nullable=False, index=True),
        sa.Column("key", sa.String(40), nullable=True),
        _owner(),
        sa.Column("action", sa.String(16), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("subject", sa.String(160), nullable=False),
        sa.Column("request", sa.String(128), nullable=True),
        sqlite_autoincrement=True,
    )


def downgrade() -> None:
    """Drop them; what other owners have goes, since two of them may use the same name."""
    for table in ("audit", "api_keys"):
        op.drop_table(table)
    _make_idempotency_keys()
    jobs = f"SELECT id FROM jobs WHERE owner <> '{_LOCAL}'"  # noqa: S608
    op.execute(f"DELETE FROM events WHERE job IN ({jobs})")  # noqa: S608
    op.execute(f"DELETE FROM sweeps WHERE job IN ({jobs})")  # noqa: S608
    models = f"SELECT number FROM models WHERE owner <> '{_LOCAL}'"  # noqa: S608
    for table in ("versions", "aliases", "checkpoints"):
        op.execute(f"DELETE FROM {table} WHERE model_number IN ({models})")  # noqa: S608
    for table in ("jobs", *_NAMES):
        op.execute(f"DELETE FROM {table} WHERE owner <> '{_LOCAL}'")  # noqa: S608
    for index in ("jobs_of_owner", "starts_of_owner"):
        op.drop_index(index, "jobs")
    op.drop_column("jobs", "reserved_bytes")
    op.drop_column("jobs", "running_limit")
    op.drop_column("jobs", "key")
    op.drop_column("jobs", "owner")
    for table, name in _NAMES.items():
        with op.batch_alter_table(table, table_kwargs={"sqlite_autoincrement": True}) as batch:
            batch.drop_constraint(name, type_="unique")
            batch.create_unique_constraint(f"{table}_name_key", ["name"])
            batch.drop_column("owner")


def _constraint_on_name(table: str) -> str:
    """PostgreSQL has numbered its name where another table had it; SQLite has given it none."""
    found = sa.inspect(op.get_bind()).get_unique_constraints(table)
    names = [each["name"] for each in found if each["column_names"] == ["name"] and each["name"] is not None]
    return names[0] if names else f"{table}_name_key"


def _make_idempotency_keys(*owner: str) -> None:
    """Make the table anew with or without a column of owners, which is a part of its primary key."""
    op.drop_index("ix_idempotency_keys_stored_at", "idempotency_keys")
    op.rename_table("idempotency_keys", "old_idempotency_keys")
    op.create_table(
        "idempotency_keys",
        *(sa.Column(name, sa.String(63), primary_key=True, server_default=_LOCAL) for name in owner),
        sa.Column("scope", sa.String(80), primary_key=True),
        sa.Column("key", sa.String(255), primary_key=True),
        sa.Column("payload", sa.String(64), nullable=False),
        sa.Column("status", sa.Integer, nullable=False),
        sa.Column("headers", sa.Text, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.Column("stored_at", sa.Float, nullable=False),
    )
    columns = "scope, key, payload, status, headers, body, stored_at"
    ours = "" if owner else f" WHERE owner = '{_LOCAL}'"
    op.execute(f"INSERT INTO idempotency_keys ({columns}) SELECT {columns} FROM old_idempotency_keys{ours}")  # noqa: S608
    op.drop_table("old_idempotency_keys")
    op.create_index("ix_idempotency_keys_stored_at", "idempotency_keys", ["stored_at"])
