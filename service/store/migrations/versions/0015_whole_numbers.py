"""Whole numbers of 64 bits in PostgreSQL, as SQLite has them: a large installation has more events than 32 count."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"

_COLUMNS = {
    "models": ("number", "definitions", "newest"),
    "versions": ("model_number", "version"),
    "aliases": ("model_number", "version"),
    "checkpoints": ("number", "model_number", "epoch"),
    "datasets": ("number", "rows"),
    "jobs": (*("number", "running_limit", "model_number", "attempt", "deaths", "fence", "epoch", "epochs", "version"),),
    "events": ("id", "epoch", "member"),
    "idempotency_keys": ("status",),
    "audit": ("id",),
}
#: The columns that the database numbers.
_NUMBERED = {
    "models": "number",
    "checkpoints": "number",
    "datasets": "number",
    "jobs": "number",
    "events": "id",
    "audit": "id",
}


def upgrade() -> None:
    """Widen the columns, and the sequences that fill them."""
    _alter(sa.BigInteger(), "bigint")


def downgrade() -> None:
    """Back to 32 bits, which fails if a number is too large."""
    _alter(sa.Integer(), "integer")


def _alter(kind: sa.types.TypeEngine[int], name: str) -> None:
    if op.get_bind().dialect.name != "postgresql":
        return
    for table, columns in _COLUMNS.items():
        for column in columns:
            op.alter_column(table, column, type_=kind)
    for table, column in _NUMBERED.items():
        op.execute(f"ALTER SEQUENCE {table}_{column}_seq AS {name}")
