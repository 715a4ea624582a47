"""The files of models follow the registry."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import sys
from contextlib import suppress
from pathlib import Path

import sqlalchemy as sa

from models.errors import MissingError
from models.formats.model_file import ModelFileError, load_model_file, save_model_file
from models.registry.snapshots import model_file
from service.settings import Settings
from service.store.database import Database
from service.store.files import Storage
from service.upkeep.directory import is_own
from service.upkeep.startup_check import NICENESS

__all__ = ["KEEPER_LOCK", "keep_files"]


_log = logging.getLogger("trainyard.housekeeping")

#: Held by the one who keeps the files of models, so that no older state replaces a newer one.
KEEPER_LOCK = "keeper.lock"


def keep_files(settings: Settings) -> None:
    """Bring the files of models up to date: of each line's names, a JSON list, the answer has those that are."""
    os.nice(NICENESS)
    database, storage = Database(settings), Storage(settings.data)
    with (settings.data / KEEPER_LOCK).open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # One whose trainer was killed ends soon.
        for line in sys.stdin:
            done = [name for name in json.loads(line) if _keep(database, storage, name)]
            sys.stdout.write(json.dumps(done) + "\n")
            sys.stdout.flush()
    database.dispose()


def _keep(database: Database, storage: Storage, name: str) -> bool:
    try:
        if is_own(database, storage):
            _keep_model_file(database, storage.model(name), name)
    except (OSError, sa.exc.OperationalError) as error:
        _log.warning("models/%s.h5 is written in a moment: %s", name, getattr(error, "orig", error))
        return False
    return True


def _keep_model_file(database: Database, path: Path, name: str) -> None:
    """Make a model's file say what the database says; it goes where there is no such model."""
    try:
        with database.read() as connection:
            wanted = model_file(connection, name)
    except MissingError:
        path.unlink(missing_ok=True)
        return
    if path.exists():
        with suppress(ModelFileError):  # A damaged one is written anew.
            if load_model_file(path) == wanted:
                return
    save_model_file(path, wanted)
