"""Imported versions and checkpoints, which have no job."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

_TABLES = ("versions", "checkpoints")


def upgrade() -> None:
    """Allow null for the job."""
    for table in _TABLES:
        with op.batch_alter_table(table) as batch:
            batch.alter_column("job", existing_type=sa.String(40), nullable=True)


def downgrade() -> None:
    """Delete imported rows, and require a job again."""
    for table in _TABLES:
        op.execute(f"DELETE FROM {table} WHERE job IS NULL")  # noqa: S608 - our own two words
        with op.batch_alter_table(table) as batch:
            batch.alter_column("job", existing_type=sa.String(40), nullable=False)
