"""Modification time and fault of each file, and the database's identity."""

from __future__ import annotations

import secrets

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Add the columns and the one row of identity."""
    for table in ("checkpoints", "datasets"):
        op.add_column(table, sa.Column("mtime_ns", sa.BigInteger, nullable=True))
        op.add_column(table, sa.Column("fault", sa.String(16), nullable=True))
    identity = op.create_table("identity", sa.Column("id", sa.String(32), primary_key=True))
    op.bulk_insert(identity, [{"id": secrets.token_hex(16)}])


def downgrade() -> None:
    """Drop them."""
    op.drop_table("identity")
    for table in ("checkpoints", "datasets"):
        with op.batch_alter_table(table) as batch:
            batch.drop_column("fault")
            batch.drop_column("mtime_ns")
