"""Files and the rows that name them: a file is written first, then named, and deleted if that fails."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

import sqlalchemy as sa

from models.registry.rows import named_ids
from models.registry.tables import CHECKPOINTS, DATASETS
from service.store.database import Database
from service.store.files import FileKind, FileStore

__all__ = ["TABLES", "delete_unnamed", "naming", "unnamed"]

#: The tables whose rows name files, with size and digest.
TABLES = {FileKind.CHECKPOINT: CHECKPOINTS, FileKind.DATASET: DATASETS}


@contextmanager
def naming(database: Database, files: FileStore, kind: FileKind, file_ids: Sequence[str]) -> Iterator[None]:
    """A block that writes files and names them; if it raises, the files are deleted, those that got a row excepted."""
    with files.writing():
        try:
            yield
        except BaseException:
            with suppress(sa.exc.OperationalError):  # The next start of a trainer deletes them.
                delete_unnamed(database, files, kind, file_ids)
            raise


def delete_unnamed(database: Database, files: FileStore, kind: FileKind, file_ids: Sequence[str]) -> set[str]:
    """Delete those of these files that no row names; the ids of the others.

    A commit that reported an error may have taken effect. If the database cannot answer whether it has, this raises
    SQLAlchemy's OperationalError and deletes nothing.
    """
    with database.read() as connection:
        named = named_ids(connection, file_ids)
    files.delete(kind, *(file_id for file_id in file_ids if file_id not in named))
    return named


def unnamed(database: Database, files: FileStore) -> dict[FileKind, set[str]]:
    """Ids of files that existed before the rows were read and that no row names.

    They get no row later if this is called in a block of ``FileStore.no_writers``. In a place that several machines
    share, new ones are left out.
    """
    found = {kind: files.clearable(kind) for kind in TABLES}
    with database.read() as connection:
        return {kind: found[kind] - set(connection.scalars(sa.select(table.c.id))) for kind, table in TABLES.items()}
