"""Housekeeping: a thread of the trainer that keeps data directory and database in step.

At the start it looks at every file that the database names and clears away what no row names. Then it keeps a file for
each model, from which a lost database can be made again. Nothing is deleted that the database does not prove to be
superfluous; what may be of use to somebody is moved aside.
"""

from __future__ import annotations

import logging
import threading
from contextlib import suppress
from pathlib import Path
from time import monotonic

import sqlalchemy as sa

from models.checkpoints import CheckpointError, load_checkpoint
from models.datasets import is_inline
from models.errors import MissingError
from models.files import write_durably
from models.model_files import ModelFileError, State, load_model_file, model_file, save_model_file, states
from models.tables import CHECKPOINTS, DATASETS, IDENTITY, MODELS
from service.database import Database
from service.inspection import inspect
from service.storage import Storage

__all__ = ["Housekeeper", "adopt", "is_own", "keep_model_file", "unnamed"]

_log = logging.getLogger("trainyard.housekeeping")

TURN_SECONDS = 0.5
#: Files of models that are brought up to date in one turn.
FILES_A_TURN = 50
#: Joining waits no longer for a turn that hangs on a disk.
JOIN_SECONDS = 10.0


class Housekeeper:
    """The housekeeping of one data directory, for as long as its trainer is at work."""

    def __init__(self, database: Database, storage: Storage) -> None:
        self._database, self._storage = database, storage
        self._own: bool | None = None
        self._cleared = False
        self._inspection = inspect(database, storage)
        self._known: dict[str, State] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="housekeeping", daemon=True)

    def start(self) -> None:
        """Begin; returns at once."""
        self._thread.start()

    def stop(self) -> None:
        """Write what changed last, and end."""
        self._stop.set()
        self._thread.join(JOIN_SECONDS)

    def _run(self) -> None:
        while True:
            last = self._stop.is_set()
            try:
                self._turn()
            except (OSError, sa.exc.OperationalError) as error:
                _log.warning("housekeeping goes on in the next turn: %s", getattr(error, "orig", error))
                self._inspection = inspect(self._database, self._storage)
            if last:
                return
            self._stop.wait(TURN_SECONDS)

    def _turn(self) -> None:
        if self._own is None:
            self._own = is_own(self._database, self._storage)
            if not self._own:
                _log.error(
                    "the database does not know the files in %s: they are left as they are. If it was lost, stop the "
                    "service and run `python -m service reindex`",
                    self._storage.data,
                )
        if self._own:
            if not self._cleared:
                self._clear()
            self._keep_model_files()
        self._inspect()

    def _clear(self) -> None:
        with suppress(BlockingIOError), self._storage.nobody_writing():
            clear(self._database, self._storage)
            self._cleared = True

    def _inspect(self) -> None:
        """Look at more of the files that the database names, until all were looked at."""
        until = monotonic() + TURN_SECONDS
        for found in self._inspection:
            if found.finding.fault is not None:
                _log.error("%s: %s; it is not used", found.path.name, found.finding.fault)
            if monotonic() > until:
                return

    def _keep_model_files(self) -> None:
        """Write the files of models that changed, and remove those of models that are no more."""
        with self._database.read() as connection:
            now = states(connection)
        for name in self._storage.model_names() - now.keys():
            self._storage.model(name).unlink(missing_ok=True)
            self._known.pop(name, None)
        changed = [name for name, state in now.items() if self._known.get(name) != state]
        for name in changed[:FILES_A_TURN]:
            with suppress(MissingError):  # It was deleted just now.
                keep_model_file(self._database, self._storage.model(name), name)
                self._known[name] = now[name]


def keep_model_file(database: Database, path: Path, name: str) -> None:
    """Bring a model's file up to date; raises MissingError where there is no such model, OSError where it fails."""
    with database.read() as connection:
        wanted = model_file(connection, name)
    if path.exists():
        with suppress(ModelFileError):  # A damaged one is written anew.
            if load_model_file(path) == wanted:
                return
    save_model_file(path, wanted)


# Whose files these are.


def is_own(database: Database, storage: Storage) -> bool:
    """Whether the files belong to this database; one that names nothing takes no directory that has files."""
    mark = _mark(storage)
    if mark.exists():
        return mark.read_text() == _identity(database)
    if storage.checkpoint_ids() or storage.dataset_ids() or storage.model_names():
        with database.read() as connection:
            named = (connection.scalar(sa.select(table.c[0]).limit(1)) for table in (MODELS, CHECKPOINTS, DATASETS))
            if all(first is None for first in named):
                return False
    adopt(database, storage)
    return True


def adopt(database: Database, storage: Storage) -> None:
    """Mark the files as those of this database."""
    write_durably(_mark(storage), [memoryview(_identity(database).encode())])


def _identity(database: Database) -> str:
    with database.read() as connection:
        return str(connection.scalar(sa.select(IDENTITY.c.id)))


def _mark(storage: Storage) -> Path:
    return storage.data / "database.id"


# Files that no row names.


def unnamed(database: Database, storage: Storage) -> tuple[set[str], set[str]]:
    """Ids of checkpoint files and of dataset files that no row names, of those there before the rows were read.

    Only while nobody is writing (``Storage.nobody_writing``) will none of them be named later.
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
        path = storage.checkpoint(checkpoint_id)
        _clear(path, storage.aside, superfluous=_is_superseded(database, path))
    for dataset_id in sorted(datasets):
        path = storage.dataset(dataset_id)
        _clear(path, storage.aside, superfluous=is_inline(path))


def _clear(path: Path, aside: Path, *, superfluous: bool) -> None:
    if superfluous:
        path.unlink(missing_ok=True)
        _log.info("removed %s, which was forgotten or never named", path.name)
        return
    aside.mkdir(exist_ok=True)
    path.rename(aside / path.name)
    _log.warning("moved %s, which the database does not name, to %s", path.name, aside)


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
