"""The checkpoints of a running job: each is begun, written beside the training, and named by the database.

A file that is durable is named in one transaction with what the journal noted until then. A file that the database
does not name is deleted.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import ExitStack

import sqlalchemy as sa

from models.formats.durable import FileRecord
from models.registry import checkpoints, rows
from models.training.checkpoint import Checkpoint
from models.training.run import Monitor
from service.jobs.events import CheckpointEvent, add_events
from service.jobs.record import Job
from service.jobs.retention import drop_superfluous
from service.jobs.saver import Save, Saver
from service.store.database import Database
from service.store.files import FileKind, FileStore

__all__ = ["Checkpointing", "Commit"]

_log = logging.getLogger("trainyard.checkpointing")

#: Takes a checkpoint's id and a function: writes what was noted so far in one transaction with the statements of the
#: function, and makes the checkpoint the job's newest.
Commit = Callable[[str, Callable[[sa.Connection], None]], None]


class Checkpointing:
    """One save at a time; ``newest`` is the job's newest checkpoint that the database names."""

    def __init__(self, database: Database, storage: FileStore, job: Job, keep: int, monitor: Monitor) -> None:
        self._database, self._storage, self._job = database, storage, job
        self._keep, self._monitor = keep, monitor
        self.newest = job.checkpoint
        self._saver = Saver(storage)
        self._saving: Save | None = None
        #: Entered when a save begins, and left when its file is named or deleted.
        self._writing = ExitStack()

    def begin(self, checkpoint: Checkpoint, *, copy: bool) -> None:
        """Start a save, after the one before is settled; with ``copy``, the arrays may change once this returns."""
        assert self._saving is None
        self._writing.enter_context(self._storage.writing())
        self._saving = self._saver.begin(checkpoint, copy=copy)

    @property
    def written(self) -> bool:
        """Whether a save waits for ``settle``, which then need not wait for the disk."""
        return self._saving is not None and self._saving.written.done()

    def settle(self, commit: Commit) -> bool:
        """Wait for the save that is under way and have its file named; True if all is saved that was to be.

        Raises OSError if the file could not be written, and what ``commit`` raises.
        """
        if self._saving is None:
            return True
        save, self._saving = self._saving, None
        with self._writing:
            record = save.written.result()
            commit(save.id, self._naming(save, record))
            return self._keep_if_named(save)

    def drop_old_ones(self, fence: int) -> None:
        """Delete checkpoints between the first and the last beyond those to be kept; raises lifecycle.StaleError."""
        try:
            drop_superfluous(self._database, self._storage, self._job.id, fence, self._keep, self._monitor)
        except sa.exc.OperationalError as error:
            _log.warning("the database did not answer; old checkpoints go after the next one: %s", error.orig)

    def _naming(self, save: Save, record: FileRecord) -> Callable[[sa.Connection], None]:
        values = {
            "id": save.id,
            "model": self._job.model,
            "job": self._job.id,
            "kind": save.kind,
            "epoch": save.epoch,
            "step": save.step,
            "metrics": save.metrics,
            "created_at": save.created_at,
        }

        def name_it(connection: sa.Connection) -> None:
            checkpoints.add_checkpoint(connection, values, record)
            add_events(connection, self._job.id, [CheckpointEvent(save.id, save.epoch, save.step)])

        return name_it

    def _keep_if_named(self, save: Save) -> bool:
        """Whether the database names a file, which is deleted if it does not.

        A commit that is said to have failed may have taken effect. The file stays if the database does not answer.
        """
        try:
            with self._database.read() as connection:
                named = bool(rows.named_ids(connection, [save.id]))
        except sa.exc.OperationalError as error:
            _log.warning("the database did not answer whether it names %s: %s", save.id, error.orig)
            return False
        if named:
            self.newest = save.id
        else:
            self._storage.delete(FileKind.CHECKPOINT, save.id)
        return named
