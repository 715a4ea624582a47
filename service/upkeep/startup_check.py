"""The check of all files when a trainer starts: what is missing or damaged is noted, what no row names is cleared away.

Nothing is deleted unless the database proves that it is superfluous; other files are moved aside. The check runs in a
process that the trainer starts, and ends early if standard input ends.
"""

from __future__ import annotations

import logging

import sqlalchemy as sa

from service.niceness import UPKEEP, give_way
from service.settings import Settings
from service.store.database import Database
from service.store.files import FileStore
from service.upkeep.clearing import clear_between_writes, must_end
from service.upkeep.directory import is_own
from service.upkeep.inspection import inspect
from service.upkeep.shadow_logs import clear_shadow_logs

__all__ = ["check"]

_log = logging.getLogger("trainyard.upkeep")


def check(settings: Settings) -> int:
    """Inspect all files once and clear away what no row names; the exit status, 1 if this was cut short."""
    give_way(UPKEEP)
    database, files = Database(settings), FileStore.of(settings)
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
        if must_end():
            return False
    if not own:
        return True
    clear_shadow_logs(database, files)
    return clear_between_writes(database, files)
