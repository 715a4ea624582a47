"""What training has done so far, and since when a job has been waiting in the queue."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"


_NAMES = (
    *("epochs", "rows_trained", "checkpoints", "checkpoint_bytes", "checkpoint_seconds"),
    *("queue_waits", "queue_wait_seconds", "jobs_succeeded", "jobs_failed", "jobs_cancelled"),
)


def upgrade() -> None:
    """Add the table, all of it 0, and the column; jobs in the queue have waited since they were submitted."""
    counters = op.create_table(
        "counters",
        sa.Column("name", sa.String(40), primary_key=True),
        sa.Column("value", sa.Float, nullable=False),
    )
    op.bulk_insert(counters, [{"name": name, "value": 0.0} for name in _NAMES])
    op.add_column("jobs", sa.Column("queued_at", sa.Float, nullable=True))
    jobs = sa.table("jobs", *(sa.column(name) for name in ("id", "state", "created_at", "queued_at")))
    connection = op.get_bind()
    queued = sa.select(jobs.c.id, jobs.c.created_at).where(jobs.c.state == "queued")
    for job, created_at in connection.execute(queued).all():
        since = datetime.fromisoformat(created_at).timestamp()
        connection.execute(sa.update(jobs).where(jobs.c.id == job).values(queued_at=since))


def downgrade() -> None:
    """Drop them."""
    op.drop_column("jobs", "queued_at")
    op.drop_table("counters")
