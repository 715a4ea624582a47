"""Aliases that name several versions by their weights, or have a shadow."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    """Each alias names one version so far."""
    op.add_column("aliases", sa.Column("traffic", sa.Text, nullable=True))


def downgrade() -> None:
    """Each names its version with the greatest weight alone."""
    op.drop_column("aliases", "traffic")
