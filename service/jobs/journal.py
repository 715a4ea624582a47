"""The journal of a running job: writes progress, epochs and checkpoints to the database."""

from __future__ import annotations

import json
import logging
import select
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from time import monotonic
from typing import IO, Any, Protocol

import sqlalchemy as sa

from models.definition.definition import ModelDefinition
from models.formats.checkpoint_file import AnyCheckpoint
from models.training.checkpoint import CheckpointKind, Origin
from models.training.request import TrainingRequest
from models.training.run import Epoch, Monitor, RunProgress
from service.jobs import lifecycle
from service.jobs.checkpointing import Checkpointing
from service.jobs.events import Event, TroubleEvent, add_events, drop_epochs
from service.jobs.history import History
from service.jobs.record import Job, JobError, Metrics
from service.settings import Settings
from service.store.counters import Total, count
from service.store.database import Database
from service.store.files import FileStore
from service.store.storage_errors import storage_error_code

__all__ = ["EndOfInput", "JobJournal", "StopSignal", "storage_error"]

_log = logging.getLogger("trainyard.journal")

#: Maximum number of seconds between two attempts of a last save.
LONGEST_PAUSE = 30.0


class JobRun(Protocol):
    """What a job shows of the run that carries it out."""

    @property
    def request(self) -> TrainingRequest: ...

    @property
    def definition(self) -> ModelDefinition: ...

    @property
    def monitor(self) -> Monitor: ...

    @property
    def planned(self) -> Mapping[int, int]:
        """The most epochs of each member; 0 is the member of a run with one network."""

    def best_epochs(self) -> Mapping[int, Epoch]:
        """The best epoch so far of each member that has one."""

    def progress(self) -> RunProgress:
        """How far the run is."""

    def metrics_of(self, kind: CheckpointKind) -> Metrics:
        """The metrics of a checkpoint of this kind that is saved now."""

    def details(self) -> dict[str, Any]:
        """What the job shows beside its progress."""

    def rows_of(self, member: int) -> int:
        """How many rows an epoch of a member trains on; 0 is the member of a run with one network."""


class StopSignal(Protocol):
    """The engine's signal to a runner that it should save and stop."""

    def stopping(self) -> bool:
        """Whether the runner should stop."""

    def wait(self, seconds: float) -> None:
        """Wait for ``seconds`` or until the runner should stop, whichever comes first."""


class EndOfInput:
    """The signal of the local engine: a stream ends because the trainer closed it or died."""

    def __init__(self, stream: IO[Any]) -> None:
        self._stream = stream

    def stopping(self) -> bool:
        # No more data is written to the stream, so it becomes readable only at its end.
        return bool(select.select([self._stream], [], [], 0)[0])

    def wait(self, seconds: float) -> None:
        select.select([self._stream], [], [], seconds)


class JobJournal:
    """Collects a job's reports, writes them to the database at intervals, and reads clients' wishes.

    It runs between two batches on the training thread, because a second thread would compete with the training loop
    for the interpreter's lock. Every write states the fencing number. If a write is refused, another owner has the
    job: this process changes nothing more, and ``stopping`` returns True.
    """

    def __init__(self, database: Database, files: FileStore, job: Job, run: JobRun, signal: StopSignal) -> None:
        self._database, self._job, self._signal = database, job, signal
        self._run = run
        self._history = History(run.planned)
        #: Epochs of each member since the last report, also those that a killed runner had trained before.
        self._trained = Counter[int]()
        #: Whether a commit with unknown result may have changed the history in the database.
        self._unsure = True
        #: Whether another owner has the job.
        self.lost = False
        #: Whether the run had to stop before its state could be saved on a failing disk.
        self.unsaved = False
        self._checkpointing = Checkpointing(database, files, job, run.request.keep, run.monitor)
        #: The disk's present error, and the one that the job's events already report.
        self._trouble: JobError | None = None
        self._reported_trouble: JobError | None = None
        self._stop = False
        self._begin, self._begin_done = monotonic(), run.progress().fraction
        self._due = 0.0

    @property
    def newest(self) -> str | None:
        """The job's newest checkpoint."""
        return self._checkpointing.newest

    def stopping(self) -> bool:
        """Whether to stop: a client wishes it, the trainer asks for it, or another owner has the job."""
        if self._checkpointing.written:
            self.settle()
        if monotonic() >= self._due:
            self._look()
            self._due = monotonic() + self._database.settings.report_seconds
        return self._stop

    def epoch(self, record: Epoch, member: int = 0) -> None:
        """Record an epoch, of a member if the run has several."""
        self._history.add(record, member)
        self._trained[member] += 1

    def checkpoint(self, checkpoint: AnyCheckpoint, kind: CheckpointKind) -> None:
        """Save the state, then delete old checkpoints.

        Training continues as soon as the state is copied and the previous save has ended. A failed save is reported;
        the next one follows at its usual time, if the database answers then. The last saves are waited for, and
        repeated until they succeed or the run must stop.
        """
        self.settle()
        on_the_way, pause = kind in (CheckpointKind.FIRST, CheckpointKind.BETWEEN), 1.0
        metrics = json.dumps(self._run.metrics_of(kind))
        checkpoint = replace(checkpoint, origin=Origin(self._job.id, kind, metrics, self._job.owner))
        if on_the_way and not self._checkpointing.is_sure():
            return  # The database is away. Files that nobody names must not fill the disk; the next save may be named.
        while not (self.lost or self.unsaved):
            self._checkpointing.begin(checkpoint, copy=on_the_way)
            if on_the_way or self.settle() or kind is CheckpointKind.INTERRUPTED:
                return
            self.unsaved = not self._wait(pause)
            pause = min(2.0 * pause, LONGEST_PAUSE)

    def settle(self) -> bool:
        """Wait for the current save and name its file. Returns True if everything is saved."""
        try:
            return self._checkpointing.settle(self._commit_checkpoint)
        except OSError as error:
            self._trouble = storage_error(error, self._database.settings)
            return False

    def _commit_checkpoint(self, checkpoint_id: str, name_it: Callable[[sa.Connection], None]) -> None:
        self._trouble = None
        try:
            # With the newest epoch: a run that ends here, or continues from here, finds it in the history.
            self.flush(name_it, with_newest=True, checkpoint=checkpoint_id, deaths=0, **self._definition())
            if not self.lost:
                self._checkpointing.drop_old_ones(self._job.fence)
        except sa.exc.OperationalError as error:
            _log.warning("the database did not answer; checkpoint %s is not named: %s", checkpoint_id, error.orig)
            self._trouble = storage_error(error, self._database.settings)
        except lifecycle.StaleError as error:
            self._lose(error)

    def _definition(self) -> dict[str, str]:
        """What the job's version will have, if it is not what the job was stored with."""
        canonical = self._run.definition.canonical()
        return {} if canonical == self._job.definition else {"definition": canonical}

    def _wait(self, seconds: float) -> bool:
        """Wait, and keep reporting. Returns False as soon as the run should stop."""
        until = monotonic() + seconds
        while not self._stop and (left := until - monotonic()) > 0.0:
            self._look()
            self._signal.wait(min(left, self._database.settings.report_seconds))
        return not self._stop

    def _look(self) -> None:
        self._stop = self._stop or self._signal.stopping()
        try:
            self.flush()
        except sa.exc.OperationalError as error:
            _log.warning("the database did not answer; the report comes with the next: %s", error.orig)
            if storage_error_code(error) is not None:
                self._trouble = storage_error(error, self._database.settings)
                self._stop = self._stop or self._has_wish()

    def _has_wish(self) -> bool:
        """Whether a client wishes that the job stops: on a full disk, that can be read although nothing is written."""
        with suppress(sa.exc.OperationalError, lifecycle.StaleError), self._database.read() as connection:
            return lifecycle.find_owned(connection, self._job.id, self._job.fence).wish is not None
        return False

    def end(self) -> None:
        """Wait for the current save, and see to it that the last epoch is in the history, however the run ended.

        It is there already if its state was saved.
        """
        self.settle()
        try:
            if not self.lost:
                self.flush(with_newest=True)
        except sa.exc.OperationalError as error:
            _log.warning("the database did not answer; the last epochs are not in the history: %s", error.orig)

    def flush(
        self,
        also: Callable[[sa.Connection], None] | None = None,
        *,
        with_newest: bool = False,
        **columns: Any,
    ) -> None:
        """Write the collected reports in one transaction with ``also``. Sets ``lost`` if the write is refused.

        ``with_newest`` says that the newest epoch is written too, whatever its number.
        """
        if self._unsure:
            with self._database.read() as connection:
                self._history.read(connection, self._job.id)
        changes = self._history.changes(self._run.best_epochs(), with_newest=with_newest)
        events: list[Event] = [*changes.new]
        if self._trouble is not None and self._trouble != self._reported_trouble:
            events.append(TroubleEvent(self._trouble))
        progress = self._progress()
        columns["details"] = json.dumps(self._run.details())
        columns["error"] = None if self._trouble is None else json.dumps(self._trouble._asdict())
        self._unsure = True  # A commit that reported an error may have succeeded.
        try:
            with self._database.write() as connection:
                wish = lifecycle.report(connection, self._job.id, self._job.fence, progress, **columns)
                drop_epochs(connection, self._job.id, changes.gone)
                add_events(connection, self._job.id, events)
                rows = sum(self._run.rows_of(member) * epochs for member, epochs in self._trained.items())
                count(connection, {Total.EPOCHS: self._trained.total(), Total.ROWS_TRAINED: rows})
                if also is not None:
                    also(connection)
        except lifecycle.StaleError as error:
            self._lose(error)
            return
        self._history.have_been_made(changes)
        self._trained.clear()
        self._reported_trouble, self._unsure = self._trouble, False
        self._stop = self._stop or wish is not None

    def _lose(self, error: lifecycle.StaleError) -> None:
        _log.warning("%s", error)
        self.lost = self._stop = True

    def _progress(self) -> lifecycle.Progress:
        """The run's progress; the time left is estimated from this process's speed so far."""
        now = self._run.progress()
        done = now.fraction - self._begin_done
        left = (monotonic() - self._begin) / done * (1.0 - now.fraction) if done > 0.0 else None
        return lifecycle.Progress(now.epoch, now.step, now.fraction, left, now.metrics)


def storage_error(error: OSError | sa.exc.OperationalError, settings: Settings) -> JobError:
    """The error of disk or database. It names the file without its directory, which is private to this machine."""
    detail = str(error).replace(f"{settings.data}/", "") if isinstance(error, OSError) else f"database: {error.orig}"
    if not isinstance(error, OSError) and storage_error_code(error) is None:
        return JobError("database_unavailable", detail)
    return JobError(storage_error_code(error) or "storage_error", detail)
