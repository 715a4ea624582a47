"""The runner: a process of its own that trains one job and then exits.

It is started ahead of time, imports everything, and waits. One JSON line on its standard input names the job and its
fencing number; the end of that input, later, means "save and stop", whether the trainer closed it or died. One JSON
line on standard output tells how it ended; the trainer alone records that.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import sys
from contextlib import suppress
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
import sqlalchemy as sa
from threadpoolctl import threadpool_limits

from models.definition.given_rows import GivenRows
from models.errors import TrainyardError
from models.formats.checkpoint_file import CheckpointError, load_checkpoint
from models.formats.dataset_file import load_dataset
from models.registry import checkpoints, models
from models.training.checkpoint import Checkpoint
from models.training.prepared import PreparedData
from models.training.request import TrainingRequest
from models.training.run import DivergedError, TrainingRun
from service.jobs.exit_causes import Death
from service.jobs.journal import Reporter, storage_error
from service.settings import Settings
from service.store.database import Database
from service.store.files import Storage
from service.store.tables import JOBS
from service.upkeep import inspection

__all__ = ["main"]

_log = logging.getLogger("trainyard.runner")


def _newest_good_checkpoint(database: Database, storage: Storage, job_id: str) -> Checkpoint | None:
    """The newest checkpoint of a job whose file is as the database knows it."""
    with database.read() as connection:
        candidates = checkpoints.checkpoint_rows(connection, 1000, None, job=job_id)
    for candidate in candidates:
        if candidate["kind"] == "best":
            continue  # Its parameters are those of an earlier epoch.
        try:
            return load_checkpoint(inspection.intact_checkpoint(database, storage, candidate["id"], thorough=True))
        except CheckpointError as error:
            _log.error("an older checkpoint is tried, as one cannot be used: %s", error)
    return None


def _start(database: Database, storage: Storage, checkpoint_id: str) -> Checkpoint:
    """The checkpoint from which a job begins; raises CheckpointError where its file is not what was written."""
    return load_checkpoint(inspection.intact_checkpoint(database, storage, checkpoint_id, thorough=True))


def _rows(database: Database, storage: Storage, dataset_id: str, pointer: str) -> GivenRows:
    """The rows of a dataset that a job names; raises OSError if its file is not as it was written."""
    return GivenRows(load_dataset(inspection.intact_dataset(database, storage, dataset_id)), pointer, stored=True)


def _train(database: Database, storage: Storage, job_id: str, fence: int) -> dict[str, Any]:
    """Run a job; the outcome for the trainer."""
    with database.read() as connection:
        row = connection.execute(sa.select(JOBS).where(JOBS.c.id == job_id, JOBS.c.fence == fence)).first()
        if row is None:
            return {"outcome": "lost"}
        definition = models.find_model(connection, row.model).definition
    request, start_from = TrainingRequest.of(json.loads(row.request)), json.loads(row.request)["start_from"]
    resume = _newest_good_checkpoint(database, storage, job_id)
    validation = row.validation_dataset
    run = TrainingRun(
        definition,
        request,
        # Not a variable: the run copies the rows, and these are freed at once.
        PreparedData.of(
            definition,
            request,
            _rows(database, storage, row.dataset, "/data"),
            _rows(database, storage, validation, "/validation") if validation else None,
        ),
        resume=resume,
        threads=database.settings.job_threads,
        start=_start(database, storage, start_from) if start_from and resume is None else None,
    )
    reporter = Reporter(database, storage, row, fence, run)
    try:
        finished = run.run(reporter)
    except DivergedError as error:
        reporter.settle()
        reporter.flush()  # The epochs that led there are what its owner wants to see.
        detail = f"{error} The last good checkpoint is {reporter.newest}."
        return {"outcome": "failed", "code": "diverged", "detail": detail}
    finally:
        reporter.settle()
    if reporter.lost:
        return {"outcome": "lost"}
    return {"outcome": "finished" if finished and not reporter.unsaved else "stopped"}


def _outcome_of(error: Exception, settings: Settings) -> dict[str, Any]:
    """What an error means for the job: it has failed, or this process has died and another may do better."""
    match error:
        case TrainyardError():
            return {"outcome": "failed", "code": error.code, "detail": error.detail}
        case CheckpointError():
            return {"outcome": "failed", "code": "checkpoint_unreadable", "detail": str(error)}
        case MemoryError() | OSError(errno=errno.ENOMEM) | RuntimeError(args=("can't start new thread",)):
            return {"outcome": "died", **Death("out_of_memory", f"memory ran out. {error}".strip())._asdict()}
        case sa.exc.OperationalError():
            return {"outcome": "died", **Death("worker_lost", f"the database did not answer: {error.orig}")._asdict()}
        case OSError():
            return {"outcome": "failed", **storage_error(error, settings)}
    _log.error("the job failed", exc_info=error)
    return {"outcome": "failed", "code": "internal_error", "detail": f"{type(error).__name__}: {error}"}


def _make_ready(threads: int) -> None:
    """Have this process be what the kernel ends where memory runs out, and BLAS take what memory it will need.

    OpenBLAS ends a process that it cannot have memory for, without a word to the caller.
    """
    with suppress(OSError):  # Not every container lets a process speak of this.
        Path("/proc/self/oom_score_adj").write_text("500")
    with threadpool_limits(threads):
        square = np.ones((256, 256), np.float32)
        square @ square


def main() -> None:
    """Wait for a job, run it, tell how it ended."""
    settings = Settings.read()
    database, storage = Database(settings), Storage(settings.data)
    _make_ready(settings.job_threads)
    line = sys.stdin.buffer.readline()
    if not line:
        return  # The trainer needs no runner any more.
    order = json.loads(line)
    begin = monotonic()
    try:
        with threadpool_limits(settings.job_threads):
            outcome = _train(database, storage, order["job"], order["fence"])
    except Exception as error:  # noqa: BLE001 - told to the trainer, which records it
        outcome = _outcome_of(error, settings)
    _log.info("job %s: %s after %.2f s", order["job"], outcome["outcome"], monotonic() - begin)
    try:
        sys.stdout.write(json.dumps(outcome) + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        os._exit(1)  # The trainer is gone, and the interpreter's own flush at exit would only complain.
