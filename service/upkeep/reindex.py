"""``python -m service reindex``: a lost database made again from the files, while the service is stopped."""

from __future__ import annotations

import click
import sqlalchemy as sa

from models.registry.rebuild import Found, find, store
from models.registry.tables import ALIASES, CHECKPOINTS, DATASETS, MODELS, VERSIONS
from service.processes import TRAINER_LOCK, WEB_LOCK, is_free
from service.settings import Settings
from service.store.database import Database
from service.store.files import Storage
from service.store.locks import LockTakenError
from service.store.tables import JOBS
from service.upkeep.directory import adopt

__all__ = ["ReindexError", "main", "reindex"]


class ReindexError(Exception):
    """The database cannot be made again; a sentence tells why and what would do."""


def reindex(database: Database, storage: Storage) -> Found:
    """Fill an empty database from the files of the data directory; what was found.

    Models, versions with their numbers, aliases, checkpoints and named datasets come back; jobs, their events and the
    rows that came within training requests do not. Raises ReindexError where the database is not empty or in use.
    """
    for lock in (TRAINER_LOCK, WEB_LOCK):
        if not is_free(storage.data / lock):
            raise ReindexError(f"a service is at work in {storage.data}; stop it first")
    database.migrate()
    _require_empty(database)
    try:
        with storage.no_writers():
            found = find(
                [storage.model(name) for name in storage.model_names()],
                [storage.checkpoint(checkpoint_id) for checkpoint_id in storage.checkpoint_ids()],
                [storage.dataset(dataset_id) for dataset_id in storage.dataset_ids()],
            )
            with database.write() as connection:
                store(connection, found)
            adopt(database, storage)
    except LockTakenError:
        raise ReindexError(f"a runner is still writing in {storage.data}; ask again when it has ended") from None
    return found


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
    """Fill the database and tell what came back; 1 where something was left out or is not as it was."""
    try:
        found = reindex(Database(settings), Storage(settings.data))
    except ReindexError as error:
        raise click.ClickException(str(error)) from None
    for line in found.told:
        click.echo(line)
    versions = sum(len(model.versions) for model in found.models.values())
    click.echo(
        f"{len(found.models)} models with {versions} versions, {len(found.checkpoints)} checkpoints and "
        f"{len(found.datasets)} datasets are in the database"
    )
    return 1 if found.told else 0
