"""Earliest time of a job's next attempt after a crash."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Add the column; jobs that are queued now may start at once."""
    op.add_column("jobs", sa.Column("not_before", sa.Float, nullable=True))


def downgrade() -> None:
    """Drop it."""
    op.drop_column("jobs", "not_before")
