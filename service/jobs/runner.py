"""The runner: a process that trains one job and then exits.

It is started ahead of time, imports all modules, and waits for its order, which is one line on standard input. Later,
the end of standard input means "save and stop", because the trainer closed it or died. The outcome is one line on
standard output; only the trainer records it.
"""

from __future__ import annotations

import errno
import logging
import os
import sys
from contextlib import ExitStack, closing
from dataclasses import replace
from typing import Any

import sqlalchemy as sa
from threadpoolctl import threadpool_limits

from models.definition.definition import ModelDefinition
from models.definition.given_rows import GivenRows
from models.definition.given_table import GivenTable, Place
from models.errors import TrainyardError
from models.features.fitted import FittedFeatures
from models.formats.checkpoint_file import AnyCheckpoint, CheckpointError, load_checkpoint
from models.formats.durable import UnreachableError
from models.registry import checkpoints
from models.registry.callers import Caller
from models.training.checkpoint import Checkpoint, CheckpointKind
from models.training.ensemble_checkpoint import EnsembleCheckpoint
from models.training.ensemble_run import EnsembleRun
from models.training.kernels import kind_of_run
from models.training.members import MemberLostError
from models.training.members_run import MemberFailedError
from models.training.prepared import Prepared, PreparedData
from models.training.prepared_table import PreparedTable
from models.training.request import TrainingRequest
from models.training.run import DivergedError, TrainingRun
from models.training.sweep import Sweep
from models.training.sweep_checkpoint import SweepCheckpoint
from models.training.sweep_run import SweepRun
from service.jobs import lifecycle
from service.jobs.engines.engine import Order
from service.jobs.events import KernelsEvent, add_events
from service.jobs.journal import EndOfInput, JobJournal, storage_error
from service.jobs.members.pool import ProcessPool
from service.jobs.outcome import Died, Failed, Finished, Outcome, Stale, Stopped, encode
from service.jobs.readiness import make_compiler_ready, make_ready
from service.jobs.record import Job, JobError
from service.jobs.sweep_plans import find_plan
from service.settings import Settings
from service.store.database import Database
from service.store.files import FileStore
from service.store.request_rows import given_rows
from service.store.storage_errors import storage_error_code
from service.upkeep import inspection

__all__ = ["main"]

_log = logging.getLogger("trainyard.runner")

#: Seconds between two tries to begin a job while the database does not answer: at first, and at most.
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 5.0


def _newest_good_checkpoint(database: Database, files: FileStore, job_id: str) -> AnyCheckpoint | None:
    """A job's newest checkpoint with an intact file, or None."""
    with database.read() as connection:
        candidates = checkpoints.list_checkpoints(connection, 1000, None, job=job_id)
    for candidate in candidates:
        if candidate.kind == CheckpointKind.BEST:
            continue  # Its parameters are those of an earlier epoch.
        try:
            return load_checkpoint(inspection.intact_checkpoint(database, files, candidate.id, thorough=True))
        except CheckpointError as error:
            _log.error("trying an older checkpoint, because one is unusable: %s", error)
    return None


def _start(database: Database, files: FileStore, checkpoint_id: str) -> Checkpoint:
    """The checkpoint from which a job starts. Raises CheckpointError if its file is missing or damaged."""
    found = load_checkpoint(inspection.intact_checkpoint(database, files, checkpoint_id, thorough=True))
    assert isinstance(found, Checkpoint), "the check of the request refuses others"
    return found


def _rows(
    database: Database, files: FileStore, dataset_id: str, part: dict[str, Any], definition: ModelDefinition, place: str
) -> GivenRows | GivenTable:
    """The rows of a job's dataset; ``part`` is what the request says of them. Raises OSError if the file is damaged."""
    path = inspection.intact_dataset(database, files, dataset_id)
    return given_rows(path, part.get("label"), definition, Place(place, stored=True))


def _prepared(
    database: Database, files: FileStore, job: Job, definition: ModelDefinition, fitted: FittedFeatures | None
) -> Prepared:
    """The rows of a job made ready; ``fitted`` are the features that it continues with."""
    assert job.dataset is not None, "rows of an active job are not deleted"
    request = TrainingRequest.of(job.training)
    data = _rows(database, files, job.dataset, job.training["data"], definition, "/data")
    validation = None
    if job.validation_dataset:
        part = job.training["validation"]
        validation = _rows(database, files, job.validation_dataset, part, definition, "/validation")
    if isinstance(data, GivenRows):
        assert not isinstance(validation, GivenTable)
        return PreparedData.of(definition, request, data, validation)
    assert not isinstance(validation, GivenRows)
    return PreparedTable.of(definition, request, data, validation, fitted)


def _train(database: Database, files: FileStore, order: Order) -> Outcome:
    with database.read() as connection:
        try:
            job = lifecycle.find_owned(connection, order.job, order.fence)
        except lifecycle.StaleError:
            return Stale()
        plan = find_plan(connection, job.id) if job.is_sweep else None
    database = database.of(Caller(job.owner, key=job.key))
    assert job.definition is not None, "only jobs that have ended lack it"
    sweep = None if plan is None else Sweep.of(job.request, plan)
    # That of a sweep changes with its end, which may have been recorded without the job's.
    definition = ModelDefinition.parse(job.definition) if sweep is None else sweep.definition
    resume = _newest_good_checkpoint(database, files, job.id)
    start = _start(database, files, job.start_from) if job.start_from and resume is None else None
    begin = resume or start
    request = TrainingRequest.of(job.training)
    # The rows are freed as soon as the run has copied them, because nothing else refers to them.
    prepared = [_prepared(database, files, job, definition, None if begin is None else begin.features)]
    settings = _settings_of(database, job, resume)
    kind = settings.kernel_kind
    with ExitStack() as held:
        run: TrainingRun | EnsembleRun | SweepRun
        if sweep is not None or definition.ensemble is not None:
            pool = held.enter_context(closing(ProcessPool(settings, settings.job_processes)))
            if sweep is not None:
                assert resume is None or isinstance(resume, SweepCheckpoint)
                run = SweepRun(request, sweep, prepared.pop(), pool, resume=resume, kernels=kind)
            else:
                assert resume is None or isinstance(resume, EnsembleCheckpoint)
                run = EnsembleRun(request, prepared.pop(), pool, resume=resume, kernels=kind)
        else:
            assert resume is None or isinstance(resume, Checkpoint)
            threads = settings.job_threads
            run = TrainingRun(request, prepared.pop(), resume=resume, threads=threads, start=start, kernels=kind)
        return _carried_out(run, JobJournal(database, files, job, run, EndOfInput(sys.stdin)))


def _train_when_possible(database: Database, files: FileStore, order: Order) -> Outcome:
    """The outcome of a job, which begins, or begins again from its newest checkpoint, when the database answers.

    Another owner may have the job by then, which this process finds out first.
    """
    signal, pause = EndOfInput(sys.stdin), FIRST_PAUSE
    while True:
        try:
            return _train(database, files, order)
        except sa.exc.OperationalError as error:
            if storage_error_code(error) is not None:
                raise
            _log.warning("the database did not answer; the job waits for it: %s", error.orig)
        signal.wait(pause)
        if signal.stopping():
            return Stopped()
        pause = min(2.0 * pause, LONGEST_PAUSE)


def _settings_of(database: Database, job: Job, resume: AnyCheckpoint | None) -> Settings:
    """The settings with the kind of kernels of a job, which is the one of the checkpoint from which it continues.

    The compiler is ready if the job needs it. Raises StaleError.
    """
    settings = database.settings
    kind = kind_of_run(settings.kernel_kind, resume)
    if kind == "llvm" and settings.kernel_kind != kind and not make_compiler_ready(settings, ahead=False):
        kind = "numpy"
    if resume is not None and kind != resume.kernels:
        event = KernelsEvent()
        _log.warning("job %s: %s", job.id, event.data()["message"])
        with database.write() as connection:
            lifecycle.require_owner(connection, job.id, job.fence)
            add_events(connection, job.id, [event])
    return replace(settings, kernels=kind)


def _carried_out(run: TrainingRun | EnsembleRun | SweepRun, journal: JobJournal) -> Outcome:
    try:
        finished = run.run(journal)
    except DivergedError as error:
        journal.end()
        return Failed("diverged", f"{error} The last good checkpoint is {journal.newest}.")
    except MemberFailedError as error:
        return Failed(error.code, str(error))
    finally:
        journal.end()
    if journal.lost:
        return Stale()
    return Finished() if finished and not journal.unsaved else Stopped()


def _outcome_of(error: Exception, settings: Settings) -> Outcome:
    """The outcome for an exception: the job has failed, or this worker has died and another one may succeed."""
    match error:
        case lifecycle.StaleError():
            return Stale()
        case TrainyardError():
            return Failed(error.code, error.detail)
        case CheckpointError():
            return Failed("checkpoint_unreadable", str(error))
        case MemberLostError(code=code, detail=detail):
            return Died(JobError(code, detail))
        case MemoryError() | OSError(errno=errno.ENOMEM) | RuntimeError(args=("can't start new thread",)):
            return Died(JobError("out_of_memory", f"memory ran out. {error}".strip()))
        case sa.exc.OperationalError():
            return Died(JobError("worker_lost", f"the database did not answer: {error.orig}"))
        case UnreachableError():
            return Died(JobError("storage_unavailable", f"a file that the job needs cannot be had: {error}"))
        case OSError():
            return Failed(*storage_error(error, settings))
    _log.error("the job failed", exc_info=error)
    return Failed("internal_error", f"{type(error).__name__}: {error}")


def main() -> None:
    """Wait for an order, carry it out, write the outcome."""
    settings = Settings.read()
    make_ready(settings.job_threads)
    if settings.kernel_kind == "llvm" and not make_compiler_ready(settings, ahead=True):
        settings = replace(settings, kernels="numpy")
    database, files = Database(settings), FileStore.of(settings)
    line = sys.stdin.buffer.readline()
    if not line:
        return  # The trainer has no order for this runner.
    order = Order.decode(line)
    try:
        with threadpool_limits(settings.job_threads):
            outcome = _train_when_possible(database, files, order)
    except Exception as error:  # noqa: BLE001 - the trainer gets it as the outcome and records it
        outcome = _outcome_of(error, settings)
    try:
        sys.stdout.write(encode(outcome) + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        os._exit(1)  # The trainer has ended. A normal exit would flush again and print an error.
