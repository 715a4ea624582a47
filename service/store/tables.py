"""The tables of jobs, events, sweeps, trainers, counters, idempotency keys, API keys and the audit trail."""

from __future__ import annotations

import sqlalchemy as sa

from models.identifiers import LOCAL
from models.registry.tables import METADATA, WHOLE_NUMBER, owner

__all__ = ["API_KEYS", "AUDIT", "COUNTERS", "EVENTS", "IDEMPOTENCY_KEYS", "JOBS", "SWEEPS", "TRAINERS"]


def _dataset(name: str) -> sa.Column[str]:
    """The rows of a job; null when they have been deleted, which those of an active job cannot be."""
    return sa.Column(name, sa.String(40), sa.ForeignKey("datasets.id", ondelete="SET NULL"), nullable=True, index=True)


JOBS = sa.Table(
    "jobs",
    METADATA,
    sa.Column("number", WHOLE_NUMBER, primary_key=True),  # by the database, in the order of submission
    sa.Column("id", sa.String(40), nullable=False, unique=True),
    owner(),
    sa.Column("key", sa.String(40), nullable=True),  # the key with which it was submitted; null without keys
    sa.Column(
        "running_limit", WHOLE_NUMBER, nullable=True
    ),  # how many jobs may run of its owner; null: as the settings
    # Bytes of the checkpoints that it may keep, as predicted; null for jobs of earlier releases.
    sa.Column("reserved_bytes", sa.BigInteger, nullable=True),
    sa.Column("model", sa.String(63), nullable=False, index=True),  # the name, which stays when the model is deleted
    sa.Column(
        "model_number", WHOLE_NUMBER, sa.ForeignKey("models.number", ondelete="SET NULL"), nullable=True, index=True
    ),
    sa.Column("state", sa.String(16), nullable=False, index=True),
    # What a client asked of a running job: "cancel" or "pause".
    sa.Column("wanted", sa.String(16), key="wish", nullable=True),
    sa.Column("request", sa.Text, nullable=False),
    _dataset("dataset"),
    _dataset("validation_dataset"),
    sa.Column("warnings", sa.Text, nullable=True),  # JSON, about its data; null for jobs of earlier releases
    # What it trains, whatever the model's newest definition is; null for jobs of earlier releases without a model.
    sa.Column("definition", sa.Text, nullable=True),
    # A checkpoint; no foreign key, as its model may be deleted before the job starts, which then fails.
    sa.Column("start_from", sa.String(40), nullable=True),
    sa.Column("created_at", sa.String(30), nullable=False),
    sa.Column("started_at", sa.String(30), nullable=True),
    sa.Column("finished_at", sa.String(30), nullable=True),
    sa.Column("attempt", WHOLE_NUMBER, nullable=False),
    sa.Column("deaths", WHOLE_NUMBER, nullable=False),  # workers lost since the newest checkpoint
    sa.Column(
        "fence", WHOLE_NUMBER, nullable=False
    ),  # rises with every owner; a write under an older one changes nothing
    sa.Column("lease_until", sa.Float, nullable=True),  # seconds since 1970
    sa.Column("not_before", sa.Float, nullable=True),  # seconds since 1970; when a lost job may be tried again
    sa.Column("queued_at", sa.Float, nullable=True),  # seconds since 1970; null unless it is queued
    sa.Column("epoch", WHOLE_NUMBER, nullable=False),
    sa.Column("epochs", WHOLE_NUMBER, nullable=False),
    sa.Column("step", sa.BigInteger, nullable=False),
    sa.Column("fraction", sa.Float, nullable=False),
    sa.Column("eta_seconds", sa.Float, nullable=True),
    sa.Column("metrics", sa.Text, nullable=False),
    sa.Column("checkpoint", sa.String(40), nullable=True),
    sa.Column("version", WHOLE_NUMBER, nullable=True),
    sa.Column("error", sa.Text, nullable=True),
    sa.Column("details", sa.Text, nullable=False, server_default="{}"),  # JSON: best, stopped_by, kernels
    # For lists, and for whose turn it is.
    sa.Index("jobs_of_owner", "owner"),
    sa.Index("starts_of_owner", "owner", "started_at"),
    sqlite_autoincrement=True,
)
EVENTS = sa.Table(
    "events",
    METADATA,
    sa.Column("id", WHOLE_NUMBER, primary_key=True),
    sa.Column("job", sa.String(40), nullable=False),
    sa.Column("type", sa.String(16), nullable=False),
    # Of the events of type "epoch", which are the job's history; member is 0 if the job has one network.
    sa.Column("epoch", WHOLE_NUMBER, nullable=True),
    sa.Column("member", WHOLE_NUMBER, nullable=False, server_default="0"),
    sa.Column("at", sa.String(30), nullable=False),
    sa.Column("data", sa.Text, nullable=False),
    sa.UniqueConstraint("job", "member", "epoch", name="one_event_an_epoch"),
    sa.Index("events_of_job", "job", "id"),
    sqlite_autoincrement=True,
)
#: What each trial of a sweep trains; apart from the jobs, as only runners read it.
SWEEPS = sa.Table(
    "sweeps",
    METADATA,
    sa.Column("job", sa.String(40), primary_key=True),
    sa.Column("plan", sa.Text, nullable=False),  # JSON
)
TRAINERS = sa.Table(
    "trainers",
    METADATA,
    sa.Column("id", sa.String(80), primary_key=True),
    sa.Column("started_at", sa.String(30), nullable=False),
    sa.Column("seen_at", sa.Float, nullable=False),  # seconds since 1970
)
COUNTERS = sa.Table(
    "counters",
    METADATA,
    sa.Column("name", sa.String(40), primary_key=True),  # of service.store.counters.Total
    sa.Column("value", sa.Float, nullable=False),
)
IDEMPOTENCY_KEYS = sa.Table(
    "idempotency_keys",
    METADATA,
    sa.Column("owner", sa.String(63), primary_key=True, server_default=LOCAL),
    sa.Column("scope", sa.String(80), primary_key=True),  # method and path
    sa.Column("key", sa.String(255), primary_key=True),
    sa.Column("payload", sa.String(64), nullable=False),  # SHA-256
    sa.Column("status", WHOLE_NUMBER, nullable=False),
    sa.Column("headers", sa.Text, nullable=False),
    sa.Column("body", sa.LargeBinary, nullable=False),
    sa.Column("stored_at", sa.Float, nullable=False, index=True),  # seconds since 1970
)
#: Keys of clients; a revoked one stays, so that the audit trail can name it.
API_KEYS = sa.Table(
    "api_keys",
    METADATA,
    sa.Column("id", sa.String(40), primary_key=True),
    owner(),
    sa.Column("digest", sa.String(64), nullable=False, unique=True),  # SHA-256 of the secret
    sa.Column("hint", sa.String(16), nullable=False),  # the secret's last signs
    sa.Column("scopes", sa.Text, nullable=False),  # JSON
    sa.Column("models", sa.Text, nullable=True),  # JSON; null: all of its owner
    sa.Column("limits", sa.Text, nullable=False, server_default="{}"),  # JSON: what differs from the settings
    sa.Column("created_at", sa.String(30), nullable=False),
    sa.Column("expires_at", sa.String(30), nullable=True),
    sa.Column("revoked_at", sa.String(30), nullable=True),
)
#: Who made, published, deleted and downloaded what.
AUDIT = sa.Table(
    "audit",
    METADATA,
    sa.Column("id", WHOLE_NUMBER, primary_key=True),
    sa.Column("at", sa.String(30), nullable=False, index=True),
    sa.Column("key", sa.String(40), nullable=True),  # null: without a key, or by the service itself
    owner(),
    sa.Column("action", sa.String(16), nullable=False),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("subject", sa.String(160), nullable=False),  # a name or an id
    sa.Column("request", sa.String(128), nullable=True),
    sqlite_autoincrement=True,
)
