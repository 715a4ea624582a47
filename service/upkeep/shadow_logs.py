"""The logs of shadows whose alias no longer exists."""

from __future__ import annotations

import sqlalchemy as sa

from models.registry.tables import ALIASES
from service.store.database import Database
from service.store.files import FileStore

__all__ = ["clear_shadow_logs"]


def clear_shadow_logs(database: Database, files: FileStore) -> None:
    """Delete them: a worker may have written one while its alias was deleted."""

    def is_named(model: int, alias: str) -> bool:
        with database.read() as connection:
            found = sa.select(ALIASES.c.version).where(ALIASES.c.model_number == model, ALIASES.c.alias == alias)
            return connection.scalar(found) is not None

    files.shadows.sweep(is_named)
