"""Checkpoints of a running job: each is written in the background during training, then named in the database.

A durable file is named in the same transaction as the reports that the journal has collected. A file that the database
does not name is deleted.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import ExitStack

import sqlalchemy as sa

from models.formats.checkpoint_file import AnyCheckpoint
from models.registry import checkpoints
from models.training.run import Monitor
from service.jobs.events import CheckpointEvent, add_events
from service.jobs.record import Job
from service.jobs.retention import drop_superfluous
from service.jobs.saver import Save, Saver, Written
from service.store.counters import Total, count
from service.store.database import Database
from service.store.files import FileKind, FileStore
from service.store.naming import delete_unnamed

__all__ = ["Checkpointing", "Commit"]

_log = logging.getLogger("trainyard.checkpointing")

#: Takes a checkpoint's id and a function: in one transaction, writes the collected reports, runs the function's
#: statements, and makes the checkpoint the job's newest.
Commit = Callable[[str, Callable[[sa.Connection], None]], None]


class Checkpointing:
    """Saves checkpoints, one at a time; ``newest`` is the job's newest checkpoint that the database names."""

    def __init__(self, database: Database, files: FileStore, job: Job, keep: int, monitor: Monitor) -> None:
        self._database, self._files, self._job = database, files, job
        self._keep, self._monitor = keep, monitor
        self.newest = job.checkpoint
        self._saver = Saver(files)
        self._saving: Save | None = None
        #: Files of which the database did not answer whether it names them.
        self._unsure: list[str] = []
        #: Entered when a save begins, and left when its file is named or deleted.
        self._writing = ExitStack()

    def begin(self, checkpoint: AnyCheckpoint, *, copy: bool) -> None:
        """Start a save; the previous one must be settled. With ``copy``, the arrays may change once this returns."""
        assert self._saving is None
        self._writing.enter_context(self._files.writing())
        self._saving = self._saver.begin(checkpoint, copy=copy)

    def is_sure(self) -> bool:
        """Whether no file may be left that the database does not name; deletes those that it does not name."""
        if not self._unsure:
            return True
        try:
            named = delete_unnamed(self._database, self._files, FileKind.CHECKPOINT, self._unsure)
        except sa.exc.OperationalError:
            return False
        self.newest = next((one for one in reversed(self._unsure) if one in named), self.newest)
        self._unsure.clear()
        return True

    @property
    def written(self) -> bool:
        """Whether a save is on disk, so that ``settle`` need not wait for it."""
        return self._saving is not None and self._saving.written.done()

    def settle(self, commit: Commit) -> bool:
        """Wait for the current save and name its file. Returns True if everything is saved.

        Raises OSError if the file could not be written, and the exceptions of ``commit``.
        """
        if self._saving is None:
            return True
        save, self._saving = self._saving, None
        with self._writing:
            written = save.written.result()
            commit(save.id, self._naming(save, written))
            return self._keep_if_named(save)

    def drop_old_ones(self, fence: int) -> None:
        """Delete old checkpoints between the first and the last one. Raises lifecycle.StaleError."""
        try:
            drop_superfluous(self._database, self._files, self._job.id, fence, self._keep, self._monitor)
        except sa.exc.OperationalError as error:
            _log.warning("the database did not answer; old checkpoints go after the next one: %s", error.orig)

    def _naming(self, save: Save, written: Written) -> Callable[[sa.Connection], None]:
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
            checkpoints.add_checkpoint(connection, values, written.record)
            counted = {Total.CHECKPOINT_BYTES: written.record.bytes, Total.CHECKPOINT_SECONDS: written.seconds}
            count(connection, {Total.CHECKPOINTS: 1, **counted})
            add_events(connection, self._job.id, [CheckpointEvent(save.id, save.epoch, save.step)])

        return name_it

    def _keep_if_named(self, save: Save) -> bool:
        """Whether the database names a file. If it does not, the file is deleted.

        If the database does not answer, the file stays.
        """
        self._unsure.append(save.id)
        if not self.is_sure():
            _log.warning("the database did not answer whether it names %s", save.id)
            return False
        return self.newest == save.id
