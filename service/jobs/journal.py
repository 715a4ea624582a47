"""The journal of a running job: progress, epochs and checkpoints on their way to the database."""

from __future__ import annotations

import json
import logging
import select
import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, replace
from time import monotonic
from typing import Any

import sqlalchemy as sa

from models.formats.durable import FileRecord
from models.registry import checkpoints, rows
from models.training.checkpoint import METRICS, Checkpoint, Origin
from models.training.run import CheckpointKind, Epoch, TrainingRun
from service.jobs import lifecycle
from service.jobs.events import add_events, newest_epoch
from service.jobs.retention import drop_superfluous
from service.jobs.saver import Save, Saver
from service.settings import Settings
from service.store.database import Database
from service.store.faults import storage_fault
from service.store.files import Storage

__all__ = ["Reporter", "epoch_document", "epoch_metrics", "job_details", "storage_error"]

_log = logging.getLogger("trainyard.runner")

#: Seconds between two tries of a last save at most.
LONGEST_PAUSE = 30.0


class Reporter:
    """The job's journal: keeps what happens, writes it to the database every so often, and learns what is wanted.

    It works between two batches, on the thread that trains: a second thread would have to win the interpreter's lock
    from a training loop for every row it writes. Every write says the fencing number; the first one that is refused
    ends this process's right to change anything, and ``stopping`` answers yes.
    """

    def __init__(self, database: Database, storage: Storage, row: sa.Row[Any], fence: int, run: TrainingRun) -> None:
        self._database, self._storage, self._row, self._fence = database, storage, row, fence
        self._run, self._training, self._request = run, run.training, run.request
        #: The newest epoch that the database has, and whether that may have changed since.
        self._known, self._unsure = 0, True
        self.lost, self.newest = False, row.checkpoint
        #: Whether the run was to stop before a disk that failed could be written again.
        self.unsaved = False
        self._monitor = run.monitor
        self._saver = Saver(storage)
        self._saving: Save | None = None
        #: From the beginning of a save to its end, which names the file.
        self._writing = ExitStack()
        self._trouble: dict[str, str] | None = None
        self._told_trouble: dict[str, str] | None = None
        self._stop = False
        self._records: list[Epoch] = []
        self._begin, self._begin_done = monotonic(), self._epochs_done()
        self._due = 0.0

    def stopping(self) -> bool:
        """Whether to save and stop: a client asked for it, the trainer is gone, or the job is no longer ours."""
        if self._saving is not None and self._saving.written.done():
            self.settle()
        if monotonic() >= self._due:
            self._look()
            self._due = monotonic() + self._database.settings.report_seconds
        return self._stop

    def epoch(self, record: Epoch) -> None:
        """Take note of an epoch."""
        self._records.append(record)

    def checkpoint(self, checkpoint: Checkpoint, kind: CheckpointKind) -> None:
        """Save the state; old ones between are deleted after that.

        Training goes on as soon as the state is copied, or an earlier save has ended. One that fails is told, and the
        next one comes in its time. The last ones are waited for, and tried until they succeed or the run is to stop.
        """
        self.settle()
        on_the_way, pause = kind in ("first", "between"), 1.0
        values = self._values(checkpoint, kind)
        checkpoint = replace(checkpoint, origin=Origin(values["job"], kind, values["metrics"]))
        while not (self.lost or self.unsaved):
            self._writing.enter_context(self._storage.writing())
            self._saving = self._saver.begin(checkpoint, values, copy=on_the_way)
            if on_the_way or self.settle() or kind == "interrupted":
                return
            self.unsaved = not self._wait(pause)
            pause = min(2.0 * pause, LONGEST_PAUSE)

    def _values(self, checkpoint: Checkpoint, kind: CheckpointKind) -> dict[str, Any]:
        return {
            "model": self._row.model,
            "job": self._row.id,
            "kind": kind,
            "epoch": checkpoint.state.epoch,
            "step": checkpoint.state.step,
            "metrics": json.dumps(epoch_metrics(self._run, kind)),
            "created_at": checkpoint.created_at,
        }

    def settle(self) -> bool:
        """Wait for the save that is under way and name its file; whether all is saved that was to be."""
        if self._saving is None:
            return True
        save, self._saving = self._saving, None
        with self._writing:
            return self._settle(save)

    def _settle(self, save: Save) -> bool:
        try:
            record = save.written.result()
        except OSError as error:
            self._trouble = storage_error(error, self._database.settings)
            return False
        try:
            self._name({**save.values, "mtime_ns": save.path.stat().st_mtime_ns}, record)
        except sa.exc.OperationalError as error:
            if storage_fault(error) is None:
                raise
            self._trouble = storage_error(error, self._database.settings)
        return self._keep_if_named(save)

    def _keep_if_named(self, save: Save) -> bool:
        """Whether the database names a file, which is deleted where it does not.

        A commit that is said to have failed may have taken effect; where that cannot be told, the file stays.
        """
        try:
            with self._database.read() as connection:
                named = bool(rows.named_ids(connection, [save.values["id"]]))
        except sa.exc.OperationalError as error:
            _log.warning("whether %s is named cannot be told: %s", save.path.name, error.orig)
            return False
        if named:
            self.newest = save.values["id"]
        else:
            save.path.unlink(missing_ok=True)
        return named

    def _name(self, values: dict[str, Any], record: FileRecord) -> None:
        """Have the database name a file that is durable."""
        told = {"checkpoint": values["id"], "epoch": values["epoch"], "step": values["step"]}

        def name_it(connection: sa.Connection) -> None:
            checkpoints.add_checkpoint(connection, values, record)
            add_events(connection, self._row.id, [("checkpoint", None, told)])

        self._trouble = None
        self.flush(name_it, checkpoint=values["id"], deaths=0)
        if not self.lost:
            self._drop_old_ones()

    def _wait(self, seconds: float) -> bool:
        """Let time pass, telling and looking as ever; False as soon as the run is to stop."""
        until = monotonic() + seconds
        while not self._stop and (left := until - monotonic()) > 0.0:
            self._look()
            select.select([sys.stdin], [], [], min(left, self._database.settings.report_seconds))
        return not self._stop

    def _drop_old_ones(self) -> None:
        """Delete checkpoints between the first and the last beyond those to be kept."""
        try:
            drop_superfluous(
                self._database, self._storage, self._row.id, self._fence, self._request.keep, self._monitor
            )
        except sa.exc.OperationalError as error:
            _log.warning("the database did not answer; old checkpoints go after the next one: %s", error.orig)
        except lifecycle.StaleError as error:
            self._lose(error)

    def _look(self) -> None:
        # Readable means at its end: the trainer, which has nothing more to say, closed it or is gone.
        if select.select([sys.stdin], [], [], 0)[0]:
            self._stop = True
        try:
            self.flush()
        except sa.exc.OperationalError as error:
            _log.warning("the database did not answer; the report comes with the next: %s", error.orig)
            if storage_fault(error) is not None:
                self._trouble = storage_error(error, self._database.settings)

    def flush(self, also: Callable[[sa.Connection], None] | None = None, **columns: Any) -> None:
        """Write what was noted so far, in one transaction with ``also``; ``lost`` tells whether it was refused."""
        if self._unsure:
            with self._database.read() as connection:
                self._known = newest_epoch(connection, self._row.id)
        new = [record for record in self._records if record.number > self._known]
        events: list[tuple[str, int | None, dict[str, Any]]] = [
            ("epoch", record.number, epoch_document(record)) for record in new
        ]
        progress = self._progress(self._records[-1] if self._records else None)
        if self._trouble is not None and self._trouble != self._told_trouble:
            events.append(("log", None, {"level": "error", "message": self._trouble["detail"], **self._trouble}))
        columns["details"] = json.dumps(job_details(self._run))
        columns["error"] = None if self._trouble is None else json.dumps(self._trouble)
        self._unsure = True  # A commit that is said to have failed may have taken effect.
        try:
            with self._database.write() as connection:
                wanted = lifecycle.report(connection, self._row.id, self._fence, progress, **columns)
                add_events(connection, self._row.id, events)
                if also is not None:
                    also(connection)
        except lifecycle.StaleError as error:
            self._lose(error)
            return
        self._records, self._told_trouble, self._unsure = [], self._trouble, False
        self._known = new[-1].number if new else self._known
        self._stop = self._stop or wanted is not None

    def _lose(self, error: lifecycle.StaleError) -> None:
        _log.warning("%s", error)
        self.lost = self._stop = True

    def _epochs_done(self) -> float:
        return self._training.epoch + self._training.position / self._training.samples

    def _progress(self, newest: Epoch | None) -> lifecycle.Progress:
        """How far the run is; the time left is judged by this process's pace so far."""
        done, epochs = self._epochs_done(), self._request.epochs
        pace = (monotonic() - self._begin) / (done - self._begin_done) if done > self._begin_done else None
        return lifecycle.Progress(
            epoch=self._training.epoch,
            step=self._training.step,
            fraction=min(1.0, done / epochs) if epochs else 1.0,
            eta_seconds=None if pace is None else max(0.0, (epochs - done) * pace),
            metrics=None if newest is None else {name: getattr(newest, name) for name in METRICS},
        )


def epoch_document(record: Epoch) -> dict[str, Any]:
    values = asdict(record)
    return {"epoch": values.pop("number"), **values}


def epoch_metrics(run: TrainingRun, kind: CheckpointKind) -> dict[str, Any]:
    """The metrics of the epoch whose parameters a checkpoint of this kind holds, where one has ended."""
    epoch = run.best.epoch if kind == "best" and run.best is not None else len(run.history)
    if not epoch:
        return {}
    values = epoch_document(run.history[epoch - 1])
    return {name: values[name] for name in METRICS}


def job_details(run: TrainingRun) -> dict[str, Any]:
    best = None
    if run.best is not None and run.best.epoch:
        best = {"epoch": run.best.epoch, "monitor": run.best.monitor, "value": run.best.value}
    return {"best": best, "stopped_by": run.stopped_by}


def storage_error(error: OSError | sa.exc.OperationalError, settings: Settings) -> dict[str, str]:
    """What is wrong with the disk; clients know a file by its name and not by the directory of this machine."""
    detail = str(error).replace(f"{settings.data}/", "") if isinstance(error, OSError) else f"database: {error.orig}"
    return {"code": storage_fault(error) or "storage_error", "detail": detail}
