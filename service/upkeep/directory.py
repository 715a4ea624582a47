"""Which database a data directory belongs to."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa

from models.formats.durable import write_durably
from models.registry.tables import CHECKPOINTS, DATASETS, IDENTITY, MODELS
from service.store.database import Database
from service.store.files import Storage

__all__ = ["adopt", "is_own"]


def is_own(database: Database, storage: Storage) -> bool:
    """Whether the files belong to this database; one that names nothing takes no directory that has files."""
    mark = _mark(storage)
    if mark.exists():
        return mark.read_text() == _identity(database)
    if storage.checkpoint_ids() or storage.dataset_ids() or storage.model_names():
        with database.read() as connection:
            named = (connection.scalar(sa.select(table.c[0]).limit(1)) for table in (MODELS, CHECKPOINTS, DATASETS))
            if all(first is None for first in named):
                return False
    adopt(database, storage)
    return True


def adopt(database: Database, storage: Storage) -> None:
    """Mark the files as those of this database."""
    write_durably(_mark(storage), [memoryview(_identity(database).encode())])


def _identity(database: Database) -> str:
    with database.read() as connection:
        return str(connection.scalar(sa.select(IDENTITY.c.id)))


def _mark(storage: Storage) -> Path:
    return storage.data / "database.id"
