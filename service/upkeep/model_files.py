"""The files of models: one for each model, kept equal to the database, which can be rebuilt from them."""

from __future__ import annotations

import json
import logging
import sys
from contextlib import suppress

import sqlalchemy as sa

from models.errors import MissingError
from models.formats.model_file import ModelFileError, load_model_file, model_file_image
from models.registry.snapshots import model_file
from service.niceness import UPKEEP, give_way
from service.settings import Settings
from service.store.database import Database
from service.store.files import FileKind, FileStore
from service.store.locks import Lock
from service.upkeep.directory import is_own

__all__ = ["write_model_files"]

_log = logging.getLogger("trainyard.upkeep")


def write_model_files(settings: Settings) -> None:
    """Update files of models on request, until standard input ends.

    Each line of input is a JSON list of models' names. The line of output for it lists those whose files are now up to
    date.
    """
    give_way(UPKEEP)
    database, files = Database(settings), FileStore.of(settings)
    with files.locks.exclusive(Lock.MODEL_FILES, wait=True):  # The process of a killed trainer ends soon.
        for line in sys.stdin:
            done = [name for name in json.loads(line) if _write(database, files, name)]
            sys.stdout.write(json.dumps(done) + "\n")
            sys.stdout.flush()
    database.dispose()


def _write(database: Database, files: FileStore, name: str) -> bool:
    """Update a model's file if the files belong to this database. Returns False if that failed."""
    try:
        if is_own(database, files):
            _follow(database, files, name)
    except (OSError, sa.exc.OperationalError) as error:
        _log.warning("models/%s.h5 is not written yet, and will be retried: %s", name, getattr(error, "orig", error))
        return False
    return True


def _follow(database: Database, files: FileStore, name: str) -> None:
    """Write the database's present content to a model's file, or delete the file if there is no such model."""
    # Before the rows are read: if another machine writes newer ones meanwhile, this must not replace them.
    before = files.stat(FileKind.MODEL, name)
    try:
        with database.read() as connection:
            wanted = model_file(connection, name)
    except MissingError:
        files.delete(FileKind.MODEL, name)
        return
    if before is not None:
        with suppress(ModelFileError):  # A damaged file is replaced.
            if load_model_file(files.local(FileKind.MODEL, name)) == wanted:
                return
    files.put(FileKind.MODEL, name, model_file_image(wanted), over=before)
