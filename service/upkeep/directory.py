"""The database that a data directory belongs to."""

from __future__ import annotations

import sqlalchemy as sa

from models.registry.tables import CHECKPOINTS, DATASETS, IDENTITY, MODELS
from service.store.database import Database
from service.store.files import FileKind, FileStore

__all__ = ["adopt", "is_own"]


def is_own(database: Database, files: FileStore) -> bool:
    """Whether the files belong to this database.

    Files that belong to no database yet become this one's, unless it is empty.
    """
    owner, identity = files.owner(), _identity(database)
    if owner is not None:
        return owner == identity
    if any(files.ids(kind) for kind in FileKind):
        with database.read() as connection:
            firsts = (connection.scalar(sa.select(table.c[0]).limit(1)) for table in (MODELS, CHECKPOINTS, DATASETS))
            if all(first is None for first in firsts):
                return False
    return files.claim(identity) == identity


def adopt(database: Database, files: FileStore) -> None:
    """Record that the files belong to this database."""
    files.set_owner(_identity(database))


def _identity(database: Database) -> str:
    with database.read() as connection:
        return str(connection.scalar(sa.select(IDENTITY.c.id)))
