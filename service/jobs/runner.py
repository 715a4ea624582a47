"""The runner: a process that trains one job and then exits.

It is started ahead of time, imports everything, and waits. One line on its standard input is its order; the end of
that input, later, means "save and stop", whether the trainer closed it or died. One line on standard output is its
outcome, which the trainer alone records.
"""

from __future__ import annotations

import errno
import logging
import os
import sys
from contextlib import suppress
from pathlib import Path
from time import monotonic

import numpy as np
import sqlalchemy as sa
from threadpoolctl import threadpool_limits

from models.definition.given_rows import GivenRows
from models.errors import TrainyardError
from models.formats.checkpoint_file import CheckpointError, load_checkpoint
from models.formats.dataset_file import load_dataset
from models.registry import checkpoints, models
from models.training.checkpoint import Checkpoint, CheckpointKind
from models.training.prepared import PreparedData
from models.training.request import TrainingRequest
from models.training.run import DivergedError, TrainingRun
from service.jobs import lifecycle
from service.jobs.engines.engine import Order
from service.jobs.journal import EndOfInput, JobJournal, storage_error
from service.jobs.outcome import Died, Failed, Finished, Outcome, Stale, Stopped, encode
from service.jobs.record import JobError
from service.settings import Settings
from service.store.database import Database
from service.store.files import FileStore
from service.upkeep import inspection

__all__ = ["main"]

_log = logging.getLogger("trainyard.runner")


def _newest_good_checkpoint(database: Database, storage: FileStore, job_id: str) -> Checkpoint | None:
    """The newest checkpoint of a job whose file is as the database says."""
    with database.read() as connection:
        candidates = checkpoints.checkpoint_rows(connection, 1000, None, job=job_id)
    for candidate in candidates:
        if candidate["kind"] == CheckpointKind.BEST:
            continue  # Its parameters are those of an earlier epoch.
        try:
            return load_checkpoint(inspection.intact_checkpoint(database, storage, candidate["id"], thorough=True))
        except CheckpointError as error:
            _log.error("an older checkpoint is tried, as one cannot be used: %s", error)
    return None


def _start(database: Database, storage: FileStore, checkpoint_id: str) -> Checkpoint:
    """The checkpoint from which a job begins; raises CheckpointError if its file is not what was written."""
    return load_checkpoint(inspection.intact_checkpoint(database, storage, checkpoint_id, thorough=True))


def _rows(database: Database, storage: FileStore, dataset_id: str, pointer: str) -> GivenRows:
    """The rows of a dataset that a job names; raises OSError if its file is not as it was written."""
    return GivenRows(load_dataset(inspection.intact_dataset(database, storage, dataset_id)), pointer, stored=True)


def _train(database: Database, storage: FileStore, order: Order) -> Outcome:
    with database.read() as connection:
        try:
            job = lifecycle.find_owned(connection, order.job, order.fence)
        except lifecycle.StaleError:
            return Stale()
        definition = models.find_model(connection, job.model).definition
    request, start_from = TrainingRequest.of(job.request), job.request["start_from"]
    resume = _newest_good_checkpoint(database, storage, job.id)
    validation = job.validation_dataset
    run = TrainingRun(
        definition,
        request,
        # Not a variable: the run copies the rows, and these are freed at once.
        PreparedData.of(
            definition,
            request,
            _rows(database, storage, job.dataset, "/data"),
            _rows(database, storage, validation, "/validation") if validation else None,
        ),
        resume=resume,
        threads=database.settings.job_threads,
        start=_start(database, storage, start_from) if start_from and resume is None else None,
    )
    journal = JobJournal(database, storage, job, run, EndOfInput(sys.stdin))
    try:
        finished = run.run(journal)
    except DivergedError as error:
        journal.settle()
        journal.flush()  # The epochs that led there are what its owner wants to see.
        return Failed("diverged", f"{error} The last good checkpoint is {journal.newest}.")
    finally:
        journal.settle()
    if journal.lost:
        return Stale()
    return Finished() if finished and not journal.unsaved else Stopped()


def _outcome_of(error: Exception, settings: Settings) -> Outcome:
    """What an error means for the job: it has failed, or this process has died and another may do better."""
    match error:
        case TrainyardError():
            return Failed(error.code, error.detail)
        case CheckpointError():
            return Failed("checkpoint_unreadable", str(error))
        case MemoryError() | OSError(errno=errno.ENOMEM) | RuntimeError(args=("can't start new thread",)):
            return Died(JobError("out_of_memory", f"memory ran out. {error}".strip()))
        case sa.exc.OperationalError():
            return Died(JobError("worker_lost", f"the database did not answer: {error.orig}"))
        case OSError():
            return Failed(*storage_error(error, settings))
    _log.error("the job failed", exc_info=error)
    return Failed("internal_error", f"{type(error).__name__}: {error}")


def _make_ready(threads: int) -> None:
    """Have this process be what the kernel ends if memory runs out, and BLAS take what memory it will need.

    OpenBLAS ends a process that it cannot have memory for, without a word to the caller.
    """
    with suppress(OSError):  # Not every container lets a process change this.
        Path("/proc/self/oom_score_adj").write_text("500")
    with threadpool_limits(threads):
        square = np.ones((256, 256), np.float32)
        square @ square


def main() -> None:
    """Wait for an order, carry it out, write the outcome."""
    settings = Settings.read()
    database, storage = Database(settings), FileStore(settings.data)
    _make_ready(settings.job_threads)
    line = sys.stdin.buffer.readline()
    if not line:
        return  # The trainer needs no runner any more.
    order = Order.decode(line)
    begin = monotonic()
    try:
        with threadpool_limits(settings.job_threads):
            outcome = _train(database, storage, order)
    except Exception as error:  # noqa: BLE001 - written to the trainer, which records it
        outcome = _outcome_of(error, settings)
    _log.info("job %s: %s after %.2f s", order.job, type(outcome).__name__.lower(), monotonic() - begin)
    try:
        sys.stdout.write(encode(outcome) + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        os._exit(1)  # The trainer has ended, and the interpreter's own flush at exit would only complain.
