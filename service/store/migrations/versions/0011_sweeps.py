"""What the trials of sweeps train."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    """Add the table."""
    op.create_table(
        "sweeps",
        sa.Column("job", sa.String(40), primary_key=True),
        sa.Column("plan", sa.Text, nullable=False),
    )


def downgrade() -> None:
    """Drop it; sweeps that have not ended fail."""
    op.drop_table("sweeps")
