"""The member whose epoch an event reports, for jobs that train several networks."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"

_NAME = "one_event_an_epoch"


def upgrade() -> None:
    """Add the column; the epochs of a job with one network are those of member 0."""
    with op.batch_alter_table("events", table_kwargs={"sqlite_autoincrement": True}) as table:
        table.add_column(sa.Column("member", sa.Integer, nullable=False, server_default="0"))
        table.drop_constraint(_NAME, type_="unique")
        table.create_unique_constraint(_NAME, ["job", "member", "epoch"])


def downgrade() -> None:
    """Drop it, and the epochs of members."""
    op.execute("UPDATE events SET epoch = NULL WHERE member > 0")
    with op.batch_alter_table("events", table_kwargs={"sqlite_autoincrement": True}) as table:
        table.drop_constraint(_NAME, type_="unique")
        table.create_unique_constraint(_NAME, ["job", "epoch"])
        table.drop_column("member")
