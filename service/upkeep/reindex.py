"""``python -m service reindex``: fills a new database from the files, if the old one was lost."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click
import sqlalchemy as sa

from models.formats.durable import UnreachableError
from models.registry.rebuild import RebuiltRows, find, store
from models.registry.tables import ALIASES, CHECKPOINTS, DATASETS, MODELS, VERSIONS
from service.settings import Settings
from service.store.database import Database
from service.store.files import FileKind, FileStore
from service.store.locks import Lock, LockTakenError
from service.store.tables import JOBS
from service.upkeep.directory import adopt

__all__ = ["ReindexError", "main", "reindex"]


class ReindexError(Exception):
    """The database cannot be filled; the message has the reason and a remedy."""


def reindex(database: Database, files: FileStore) -> RebuiltRows:
    """Fill an empty database from the files of the data directory. Returns what was filled in.

    Models, versions with their numbers, aliases, checkpoints and named datasets are restored. Jobs, their events and
    the rows of training requests are not. Raises ReindexError if the database is not empty or is in use.
    """
    for lock in (Lock.TRAINER, Lock.WEB):
        if not files.locks.is_free(lock):
            raise ReindexError(f"a service is running on {files.data}; stop it first")
    database.migrate()
    _require_empty(database)
    try:
        with files.no_writers():
            rebuilt = find(*(_paths(files, kind) for kind in (FileKind.MODEL, FileKind.CHECKPOINT, FileKind.DATASET)))
            with database.write() as connection:
                store(connection, rebuilt)
            adopt(database, files)
    except LockTakenError:
        raise ReindexError(f"a runner is still writing to {files.data}; try again when it has ended") from None
    return rebuilt


def _paths(files: FileStore, kind: FileKind) -> Iterator[Path]:
    """The paths of all files of a kind, each when it is to be read: copies may not all have room at the same time."""
    return (files.local(kind, file_id) for file_id in sorted(files.ids(kind)))


def _require_empty(database: Database) -> None:
    with database.read() as connection:
        for table in (MODELS, VERSIONS, ALIASES, CHECKPOINTS, DATASETS, JOBS):
            rows = connection.scalar(sa.select(sa.func.count()).select_from(table))
            if rows:
                raise ReindexError(
                    f"the database has {rows} {table.name} already; reindex fills an empty one only. "
                    "Move the database away, or name another one in TRAINYARD_DATABASE_URL"
                )


def main(settings: Settings) -> int:
    """Fill the database and print the result. Returns 1 if something was left out or differs from before, else 0."""
    try:
        rebuilt = reindex(Database(settings), FileStore.of(settings))
    except ReindexError as error:
        raise click.ClickException(str(error)) from None
    except UnreachableError as error:
        raise click.ClickException(f"the database is still empty: {error}") from None
    for line in rebuilt.warnings:
        click.echo(line)
    versions = sum(len(model.versions) for model in rebuilt.models.values())
    click.echo(
        f"{len(rebuilt.models)} models with {versions} versions, {len(rebuilt.checkpoints)} checkpoints and "
        f"{len(rebuilt.datasets)} datasets are in the database"
    )
    return 1 if rebuilt.warnings else 0
