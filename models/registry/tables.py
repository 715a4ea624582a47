"""The tables of the registry: models, versions, aliases, checkpoints and datasets.

The database numbers models, checkpoints and datasets in the order in which their rows are added, and never reuses a
number. Foreign keys and the order "newer than" use these numbers, because names can be reused, two owners may use the
same name, and ids contain the time of a clock that may be set back. Clients see only names and ids.

For each file, a row has size and digest; ``mtime_ns``, the modification time when the content last matched them; and
``fault``, which was found since (``models.registry.integrity``).
"""

from __future__ import annotations

import sqlalchemy as sa

from models.identifiers import LOCAL

__all__ = ["ALIASES", "CHECKPOINTS", "DATASETS", "IDENTITY", "METADATA", "MODELS", "VERSIONS", "WHOLE_NUMBER", "owner"]

METADATA = sa.MetaData()
#: 64 bits. SQLite has no others, and numbers rows only in a column of the type INTEGER.
WHOLE_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def owner() -> sa.Column[str]:
    """Whose a row is (``models.registry.callers``)."""
    return sa.Column("owner", sa.String(63), nullable=False, server_default=LOCAL)


def _model() -> sa.ForeignKey:
    """The model that a row belongs to, and with which it is deleted."""
    return sa.ForeignKey("models.number", ondelete="CASCADE")


MODELS = sa.Table(
    "models",
    METADATA,
    sa.Column("number", WHOLE_NUMBER, primary_key=True),
    owner(),
    sa.Column("name", sa.String(63), nullable=False),
    sa.Column("definition", sa.Text, nullable=False),  # the newest one, which the next job trains
    # How many definitions it has had.
    sa.Column("definitions", WHOLE_NUMBER, nullable=False, server_default="1"),
    sa.Column("newest", WHOLE_NUMBER, nullable=False),  # the highest version so far; numbers are never used again
    sa.Column("created_at", sa.String(30), nullable=False),
    sa.UniqueConstraint("owner", "name", name="one_model_a_name"),
    sqlite_autoincrement=True,
)
VERSIONS = sa.Table(
    "versions",
    METADATA,
    sa.Column("model_number", WHOLE_NUMBER, _model(), primary_key=True),
    sa.Column("version", WHOLE_NUMBER, primary_key=True),
    # No foreign key: versions and checkpoints outlive their jobs, which retention deletes and reindex cannot restore.
    sa.Column("job", sa.String(40), nullable=True),  # null: imported
    sa.Column("checkpoint", sa.String(40), nullable=False),
    sa.Column("metrics", sa.Text, nullable=False),
    sa.Column("created_at", sa.String(30), nullable=False),
    sa.Column("definition", sa.Text, nullable=False),  # that of its checkpoint
)
ALIASES = sa.Table(
    "aliases",
    METADATA,
    sa.Column("model_number", WHOLE_NUMBER, _model(), primary_key=True),
    sa.Column("alias", sa.String(63), primary_key=True),
    # The one with the greatest weight, if there are several.
    sa.Column("version", WHOLE_NUMBER, nullable=False),
    sa.Column("traffic", sa.Text, nullable=True),  # JSON (models.registry.traffic); null: the version alone
)
CHECKPOINTS = sa.Table(
    "checkpoints",
    METADATA,
    sa.Column("number", WHOLE_NUMBER, primary_key=True),
    sa.Column("id", sa.String(40), nullable=False, unique=True),
    sa.Column("model_number", WHOLE_NUMBER, _model(), nullable=False, index=True),
    sa.Column("job", sa.String(40), nullable=True, index=True),  # null: imported; no foreign key, as for versions
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("epoch", WHOLE_NUMBER, nullable=False),
    sa.Column("step", sa.BigInteger, nullable=False),
    sa.Column("bytes", sa.BigInteger, nullable=False),
    sa.Column("sha256", sa.String(64), nullable=False),
    sa.Column("mtime_ns", sa.BigInteger, nullable=True),
    sa.Column("fault", sa.String(16), nullable=True),
    sa.Column("metrics", sa.Text, nullable=False),
    sa.Column("created_at", sa.String(30), nullable=False),
    sqlite_autoincrement=True,
)
DATASETS = sa.Table(
    "datasets",
    METADATA,
    sa.Column("number", WHOLE_NUMBER, primary_key=True),
    sa.Column("id", sa.String(40), nullable=False, unique=True),
    owner(),
    sa.Column("name", sa.String(63), nullable=True),  # null: rows that came within a training request
    sa.Column("rows", WHOLE_NUMBER, nullable=False),
    sa.Column("features", sa.Text, nullable=False),
    sa.Column("classes", sa.Text, nullable=False),
    sa.Column("details", sa.Text, nullable=True),  # JSON (models.data.profile.TableDetails); null: a matrix
    sa.Column("bytes", sa.BigInteger, nullable=False),
    sa.Column("sha256", sa.String(64), nullable=False),
    sa.Column("mtime_ns", sa.BigInteger, nullable=True),
    sa.Column("fault", sa.String(16), nullable=True),
    sa.Column("created_at", sa.String(30), nullable=False),
    sa.UniqueConstraint("owner", "name", name="one_dataset_a_name"),
    sqlite_autoincrement=True,
)
#: One row: the id by which a data directory recognizes the database that its files belong to.
IDENTITY = sa.Table("identity", METADATA, sa.Column("id", sa.String(32), primary_key=True))
