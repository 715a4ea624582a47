"""Housekeeping: data directory and database are kept in step, by processes that the trainer starts.

One looks at every file that the database names when a trainer starts, and clears away what no row names. Another one
keeps a file for each model, from which a lost database can be made again. Nothing is deleted that the database does not
prove to be superfluous; what may be of use to somebody is moved aside. Each ends with its standard input.
"""

from __future__ import annotations

import logging
import os
import select
import sys
from pathlib import Path

import sqlalchemy as sa

from models.formats.checkpoint_file import CheckpointError, load_checkpoint
from models.formats.dataset_file import is_inline
from models.registry.tables import CHECKPOINTS, DATASETS
from service.settings import Settings
from service.store.database import Database
from service.store.files import FileKind, FileStore, Storage
from service.store.locks import LockTakenError
from service.upkeep.directory import is_own
from service.upkeep.inspection import inspect

__all__ = ["check", "unnamed"]


_log = logging.getLogger("trainyard.housekeeping")

#: How much this gives way to training and serving (nice(2)).
NICENESS = 10
#: How often it is asked whether the writers of files have a pause.
LOOK_SECONDS = 0.1


def check(settings: Settings) -> int:
    """Look at all files once, noting what is at fault, and clear away what no row names; 1 where that was cut short."""
    os.nice(NICENESS)
    database, storage = Database(settings), Storage(settings.data)
    try:
        done = _check(database, storage)
    except (OSError, sa.exc.OperationalError) as error:
        _log.warning("the check of all files begins anew in a moment: %s", getattr(error, "orig", error))
        done = False
    database.dispose()
    return 0 if done else 1


def _check(database: Database, storage: Storage) -> bool:
    own = is_own(database, storage)
    if not own:
        _log.error(
            "the database does not know the files in %s: they are left as they are. If it was lost, stop the service "
            "and run `python -m service reindex`",
            storage.data,
        )
    for found in inspect(database, storage):
        if found.finding.fault is not None:
            _log.error("%s: %s; it is not used", found.path.name, found.finding.fault)
        if _is_over():
            return False
    return not own or _clear_in_a_pause(database, storage)


def _clear_in_a_pause(database: Database, storage: Storage) -> bool:
    """Clear files away as soon as nobody is writing; False where the trainer is gone before that."""
    waiting = False
    while True:
        try:
            with storage.no_writers():
                clear(database, storage)
        except LockTakenError:
            if not waiting:
                _log.info("files are being written: what no row names is cleared away in a pause")
                waiting = True
            if _is_over(LOOK_SECONDS):
                return False
        else:
            return True


def _is_over(seconds: float = 0.0) -> bool:
    """Whether the trainer is gone, which closes standard input."""
    return bool(select.select([sys.stdin], [], [], seconds)[0])


# Whose files these are.


# Files that no row names.


def unnamed(database: Database, storage: Storage) -> tuple[set[str], set[str]]:
    """Ids of checkpoint files and of dataset files that no row names, of those there before the rows were read.

    Only while nobody is writing (``Storage.no_writers``) will none of them be named later.
    """
    checkpoints, datasets = storage.checkpoint_ids(), storage.dataset_ids()
    with database.read() as connection:
        checkpoints -= set(connection.scalars(sa.select(CHECKPOINTS.c.id)))
        datasets -= set(connection.scalars(sa.select(DATASETS.c.id)))
    return checkpoints, datasets


def clear(database: Database, storage: Storage) -> None:
    """Remove files that no row names where that loses nothing, and move the others aside; while nobody is writing."""
    checkpoints, datasets = unnamed(database, storage)
    for checkpoint_id in sorted(checkpoints):
        superfluous = _is_superseded(database, storage.path(FileKind.CHECKPOINT, checkpoint_id))
        _clear(storage, FileKind.CHECKPOINT, checkpoint_id, superfluous=superfluous)
    for dataset_id in sorted(datasets):
        superfluous = is_inline(storage.path(FileKind.DATASET, dataset_id))
        _clear(storage, FileKind.DATASET, dataset_id, superfluous=superfluous)


def _clear(storage: FileStore, kind: FileKind, file_id: str, *, superfluous: bool) -> None:
    if superfluous:
        storage.delete(kind, file_id)
        _log.info("removed %s.h5, which was forgotten or never named", file_id)
    else:
        place = storage.quarantine(kind, file_id)
        _log.warning("moved %s, which the database does not name, to %s", place.name, place.parent)


def _is_superseded(database: Database, path: Path) -> bool:
    """Whether the database names a good checkpoint of the same job that is newer, as it does of all retention drops."""
    try:
        origin = load_checkpoint(path).origin
    except CheckpointError:
        return False
    if origin is None or origin.job is None:
        return False
    newer = sa.select(CHECKPOINTS.c.id).where(
        CHECKPOINTS.c.job == origin.job, CHECKPOINTS.c.id > path.stem, CHECKPOINTS.c.fault.is_(None)
    )
    with database.read() as connection:
        return connection.scalar(newer.limit(1)) is not None
