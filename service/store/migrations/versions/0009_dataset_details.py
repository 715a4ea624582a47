"""Details of a dataset: its columns with their profile, how its file was read, and warnings."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Add the column; rows from before have none."""
    op.add_column("datasets", sa.Column("details", sa.Text, nullable=True))


def downgrade() -> None:
    """Drop it."""
    op.drop_column("datasets", "details")
