"""The tables of the registry: models, versions, aliases, checkpoints and datasets.

A file that a row names has a size and a digest, ``mtime_ns``, the time of its last change when its content last
matched these, and ``fault``, what was found wrong with it since (``models.registry.integrity``).
"""

from __future__ import annotations

import sqlalchemy as sa

__all__ = ["ALIASES", "CHECKPOINTS", "DATASETS", "IDENTITY", "METADATA", "MODELS", "VERSIONS"]

METADATA = sa.MetaData()

MODELS = sa.Table(
    "models",
    METADATA,
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("name", sa.String(63), nullable=False, unique=True),
    sa.Column("definition", sa.Text, nullable=False),
    sa.Column("newest", sa.Integer, nullable=False),  # the highest version so far; numbers are never used again
    sa.Column("created_at", sa.String(30), nullable=False),
)
VERSIONS = sa.Table(
    "versions",
    METADATA,
    sa.Column("model", sa.String(63), primary_key=True),
    sa.Column("version", sa.Integer, primary_key=True),
    sa.Column("job", sa.String(40), nullable=True),  # null: imported
    sa.Column("checkpoint", sa.String(40), nullable=False),
    sa.Column("metrics", sa.Text, nullable=False),
    sa.Column("created_at", sa.String(30), nullable=False),
)
ALIASES = sa.Table(
    "aliases",
    METADATA,
    sa.Column("model", sa.String(63), primary_key=True),
    sa.Column("alias", sa.String(63), primary_key=True),
    sa.Column("version", sa.Integer, nullable=False),
)
CHECKPOINTS = sa.Table(
    "checkpoints",
    METADATA,
    sa.Column("id", sa.String(40), primary_key=True),
    sa.Column("model", sa.String(63), nullable=False, index=True),
    sa.Column("job", sa.String(40), nullable=True, index=True),  # null: imported
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("epoch", sa.Integer, nullable=False),
    sa.Column("step", sa.BigInteger, nullable=False),
    sa.Column("bytes", sa.BigInteger, nullable=False),
    sa.Column("sha256", sa.String(64), nullable=False),
    sa.Column("mtime_ns", sa.BigInteger, nullable=True),
    sa.Column("fault", sa.String(16), nullable=True),
    sa.Column("metrics", sa.Text, nullable=False),
    sa.Column("created_at", sa.String(30), nullable=False),
)
DATASETS = sa.Table(
    "datasets",
    METADATA,
    sa.Column("id", sa.String(40), primary_key=True),
    sa.Column("name", sa.String(63), nullable=True, unique=True),  # null: rows that came within a training request
    sa.Column("rows", sa.Integer, nullable=False),
    sa.Column("features", sa.Text, nullable=False),
    sa.Column("classes", sa.Text, nullable=False),
    sa.Column("bytes", sa.BigInteger, nullable=False),
    sa.Column("sha256", sa.String(64), nullable=False),
    sa.Column("mtime_ns", sa.BigInteger, nullable=True),
    sa.Column("fault", sa.String(16), nullable=True),
    sa.Column("created_at", sa.String(30), nullable=False),
)
#: One row: by which a data directory knows the database that its files belong to.
IDENTITY = sa.Table("identity", METADATA, sa.Column("id", sa.String(32), primary_key=True))
