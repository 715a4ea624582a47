"""When a job whose worker was lost may be tried again."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Add the column; jobs that wait now need not wait longer."""
    op.add_column("jobs", sa.Column("not_before", sa.Float, nullable=True))


def downgrade() -> None:
    """Forget it."""
    op.drop_column("jobs", "not_before")
