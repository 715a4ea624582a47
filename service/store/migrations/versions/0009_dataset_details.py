"""Details of a dataset: its columns with their profile, how its file was read, and warnings; warnings of a job."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Add the columns; rows from before have none."""
    op.add_column("datasets", sa.Column("details", sa.Text, nullable=True))
    op.add_column("jobs", sa.Column("warnings", sa.Text, nullable=True))


def downgrade() -> None:
    """Drop them."""
    op.drop_column("jobs", "warnings")
    op.drop_column("datasets", "details")
