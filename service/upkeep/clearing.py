"""Clears away files that no row names: what the database proves to be superfluous is deleted, the rest is moved aside.

This runs in processes that the trainer starts, which end early if standard input ends.
"""

from __future__ import annotations

import logging
import select
import sys
from collections.abc import Collection
from pathlib import Path

import sqlalchemy as sa

from models.formats.checkpoint_file import CheckpointError, load_checkpoint
from models.formats.dataset_file import is_inline
from models.registry.tables import CHECKPOINTS
from models.training.checkpoint import Origin
from service.niceness import UPKEEP, give_way
from service.settings import Settings
from service.store.database import Database
from service.store.files import FileKind, FileStore
from service.store.locks import LockTakenError
from service.store.naming import unnamed
from service.upkeep.directory import is_own

__all__ = ["clear_after", "clear_between_writes", "must_end"]

_log = logging.getLogger("trainyard.upkeep")

#: Seconds between two tries to clear away while files are being written.
LOOK_SECONDS = 0.1


def clear_after(settings: Settings, jobs: Collection[str]) -> int:
    """Delete the checkpoints without a row of jobs whose runners have died; the exit status, 1 if this was cut short.

    It is for a time when all files have been checked once: what such a job has then was never named, so that nobody
    has seen it, and the job computes it again if it goes on.
    """
    give_way(UPKEEP)
    database, files = Database(settings), FileStore.of(settings)
    try:
        done = not is_own(database, files) or clear_between_writes(database, files, jobs)
    except (OSError, sa.exc.OperationalError) as error:
        _log.warning("files of killed runners are cleared away in a moment: %s", getattr(error, "orig", error))
        done = False
    database.dispose()
    return 0 if done else 1


def clear_between_writes(database: Database, files: FileStore, jobs: Collection[str] | None = None) -> bool:
    """Clear files away as soon as no process writes; False if the trainer ends first.

    With ``jobs``, only their checkpoints, all of which are deleted.
    """
    waiting = False
    while True:
        try:
            with files.no_writers():
                _clear(database, files) if jobs is None else _delete_of(database, files, jobs)
        except LockTakenError:
            if not waiting:
                _log.info("files are being written: what no row names is cleared away afterwards")
                waiting = True
            if must_end(LOOK_SECONDS):
                return False
        else:
            return True


def must_end(seconds: float = 0.0) -> bool:
    """Whether standard input has ended, which the trainer holds open for as long as it lives."""
    return bool(select.select([sys.stdin], [], [], seconds)[0])


def _clear(database: Database, files: FileStore) -> None:
    """Delete files that no row names if that loses nothing, else move them aside; only within ``no_writers``."""
    for kind, ids in unnamed(database, files).items():
        for file_id in sorted(ids):
            path = files.local(kind, file_id)
            if is_inline(path) if kind is FileKind.DATASET else _is_superseded(database, path):
                files.delete(kind, file_id)
                _log.info("removed %s, which no row names any more", path.name)
            else:
                place = files.quarantine(kind, file_id)
                _log.warning("moved %s, which the database does not name, to %s", path.name, place.parent)


def _delete_of(database: Database, files: FileStore, jobs: Collection[str]) -> None:
    """Delete the checkpoints of jobs that no row names; only within ``no_writers``."""
    for file_id in sorted(unnamed(database, files)[FileKind.CHECKPOINT]):
        path = files.local(FileKind.CHECKPOINT, file_id)
        origin = _origin(path)
        if origin is not None and origin.job in jobs:
            files.delete(FileKind.CHECKPOINT, file_id)
            _log.info("removed %s, whose writer was killed before it was named", path.name)


def _origin(path: Path) -> Origin | None:
    try:
        return load_checkpoint(path).origin
    except CheckpointError:
        return None


def _is_superseded(database: Database, path: Path) -> bool:
    """Whether the database names a good checkpoint of the same job with more steps: retention may delete this one."""
    try:
        found = load_checkpoint(path)
    except CheckpointError:
        return False
    if found.origin is None or found.origin.job is None:
        return False
    further = sa.select(CHECKPOINTS.c.id).where(
        CHECKPOINTS.c.job == found.origin.job, CHECKPOINTS.c.step > found.step, CHECKPOINTS.c.fault.is_(None)
    )
    with database.read() as connection:
        return connection.scalar(further.limit(1)) is not None
