"""The check of all files when a trainer starts: what is missing or damaged is noted, what no row names is cleared away.

Nothing is deleted unless the database proves that it is superfluous; other files are moved aside. The check runs in a
process that the trainer starts, and ends early if standard input ends.
"""

from __future__ import annotations

import logging
import select
import sys
from pathlib import Path

import sqlalchemy as sa

from models.formats.checkpoint_file import CheckpointError, load_checkpoint
from models.formats.dataset_file import is_inline
from models.registry.tables import CHECKPOINTS
from service.niceness import UPKEEP, give_way
from service.settings import Settings
from service.store.database import Database
from service.store.files import FileKind, FileStore
from service.store.locks import LockTakenError
from service.store.naming import unnamed
from service.upkeep.directory import is_own
from service.upkeep.inspection import inspect

__all__ = ["check"]

_log = logging.getLogger("trainyard.upkeep")

#: Seconds between two tries to clear away while files are being written.
LOOK_SECONDS = 0.1


def check(settings: Settings) -> int:
    """Inspect all files once and clear away what no row names; the exit status, 1 if this was cut short."""
    give_way(UPKEEP)
    database, files = Database(settings), FileStore(settings.data)
    try:
        done = _check(database, files)
    except (OSError, sa.exc.OperationalError) as error:
        _log.warning("the check of all files starts again in a moment: %s", getattr(error, "orig", error))
        done = False
    database.dispose()
    return 0 if done else 1


def _check(database: Database, files: FileStore) -> bool:
    own = is_own(database, files)
    if not own:
        _log.error(
            "the files in %s belong to another database: they are not touched. If that database was lost, stop the "
            "service and run `trainyard reindex`",
            files.data,
        )
    for found in inspect(database, files):
        if found.finding.fault is not None:
            _log.error("%s: %s; it is not used", found.path.name, found.finding.fault)
        if _must_end():
            return False
    return not own or _clear_between_writes(database, files)


def _clear_between_writes(database: Database, files: FileStore) -> bool:
    """Clear files away as soon as no process writes; False if the trainer ends first."""
    waiting = False
    while True:
        try:
            with files.no_writers():
                _clear(database, files)
        except LockTakenError:
            if not waiting:
                _log.info("files are being written: what no row names is cleared away afterwards")
                waiting = True
            if _must_end(LOOK_SECONDS):
                return False
        else:
            return True


def _must_end(seconds: float = 0.0) -> bool:
    """Whether standard input has ended, which the trainer holds open for as long as it lives."""
    return bool(select.select([sys.stdin], [], [], seconds)[0])


def _clear(database: Database, files: FileStore) -> None:
    """Delete files that no row names if that loses nothing, else move them aside; only within ``no_writers``."""
    for kind, ids in unnamed(database, files).items():
        for file_id in sorted(ids):
            path = files.path(kind, file_id)
            if is_inline(path) if kind is FileKind.DATASET else _is_superseded(database, path):
                files.delete(kind, file_id)
                _log.info("removed %s, which no row names any more", path.name)
            else:
                place = files.quarantine(kind, file_id)
                _log.warning("moved %s, which the database does not name, to %s", path.name, place.parent)


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
