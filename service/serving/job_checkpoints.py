"""Checkpoints that are no version, as requests name them: by id, or as the best or last one of a job."""

from __future__ import annotations

import json
from typing import NamedTuple

import sqlalchemy as sa

from models.definition.definition import ModelDefinition
from models.errors import ConflictError, InvalidError, MissingError, describe
from models.registry import checkpoints, versions
from models.registry.callers import caller_of, visible
from models.registry.checkpoints import CheckpointRow
from models.registry.versions import OfJob
from models.training.checkpoint import CheckpointKind
from models.training.request import TrainingRequest
from models.training.sweep_document import is_sweep
from service.store.tables import JOBS

__all__ = ["Chosen", "choose", "nothing_saved"]

#: The kinds of checkpoints that hold the state of a run after some of its steps, as those without a kind may.
STATES = (CheckpointKind.BETWEEN, CheckpointKind.INTERRUPTED, CheckpointKind.LAST, CheckpointKind.UNKNOWN)


class Chosen(NamedTuple):
    """A checkpoint, and whether the best epoch that its file holds is meant rather than its present state."""

    row: CheckpointRow
    best: bool = False


def choose(connection: sa.Connection, model: str, wanted: str | OfJob) -> Chosen:
    """The checkpoint of a model that is meant: an id, or a checkpoint of a job.

    Raises MissingError if there is no such model, job or checkpoint, InvalidError if it belongs to another model, and
    ConflictError if the job has not saved it yet.
    """
    versions.require_model(connection, model)
    if isinstance(wanted, OfJob):
        return _of_job(connection, model, wanted)
    row = checkpoints.find_checkpoint(connection, wanted)
    if row.model != model or row.owner != caller_of(connection).owner:
        raise InvalidError.at(
            "/version", f"must be a checkpoint of model {describe(model)}. Received: one of {describe(row.model)}"
        )
    return Chosen(row)


def _of_job(connection: sa.Connection, model: str, wanted: OfJob) -> Chosen:
    columns = (JOBS.c.owner, JOBS.c.model, JOBS.c.request, JOBS.c.definition)
    job = connection.execute(visible(connection, sa.select(*columns), JOBS).where(JOBS.c.id == wanted.job)).first()
    if job is None:
        raise MissingError("not_found", f"there is no job {describe(wanted.job)}")
    if job.model != model or job.owner != caller_of(connection).owner:
        raise InvalidError.at(
            "/version/job", f"must be a job of model {describe(model)}. Received: one of {describe(job.model)}"
        )
    if wanted.checkpoint not in ("best", "last"):
        row = checkpoints.find_checkpoint(connection, wanted.checkpoint)
        if row.job != wanted.job:
            raise MissingError("not_found", f"job {wanted.job} has no checkpoint {describe(wanted.checkpoint)}")
        return Chosen(row)
    request = json.loads(job.request)
    if is_sweep(request):
        return _of_sweep(connection, wanted.job)
    # Several members answer with their best epochs at any time.
    several = job.definition is not None and ModelDefinition.parse(job.definition).ensemble is not None
    best = wanted.checkpoint == "best" and not several
    if best:
        if not TrainingRequest.of(request).tracks_best:
            detail = (
                f'job {wanted.job} does not look for its best epoch; train with "publish": "best" or early_stopping'
            )
            raise ConflictError("no_checkpoint", detail)
        ended = checkpoints.newest_of_job(connection, wanted.job, [CheckpointKind.BEST])
        if ended is not None:
            return Chosen(ended)
    state = checkpoints.newest_of_job(connection, wanted.job, STATES)
    if state is None:
        raise nothing_saved(wanted)
    return Chosen(state, best)


def _of_sweep(connection: sa.Connection, job: str) -> Chosen:
    """The best trial of a sweep; the states of a sweep under way answer nothing."""
    ended = checkpoints.newest_of_job(connection, job, [CheckpointKind.BEST])
    if ended is None:
        raise ConflictError("no_checkpoint", f"sweep {job} has not ended; its best trial answers when it has")
    return Chosen(ended)


def nothing_saved(wanted: str | OfJob) -> ConflictError:
    """The error for a job that has not saved what is wanted yet, and for a checkpoint that holds nothing to answer."""
    if isinstance(wanted, str):
        detail = (
            f"checkpoint {wanted} holds no member that has ended, or trials of a sweep; a later one of its job does"
        )
        return ConflictError("no_checkpoint", detail)
    what = "an epoch that was its best" if wanted.checkpoint == "best" else "a state of its training"
    advice = 'train with "checkpoint": {"every_seconds": 5} to have one saved every 5 seconds'
    return ConflictError("no_checkpoint", f"job {wanted.job} has not saved {what} yet; wait until it ends, or {advice}")
