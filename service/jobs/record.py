"""A job, as its row in the database says it is."""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple

import sqlalchemy as sa

from models.registry.rows import Metrics
from models.training.sweep_document import is_sweep, training_of

__all__ = ["ACTIVE", "FINAL", "Job", "JobError", "Metrics", "State", "Wish"]


class State(StrEnum):
    """The state of a job; ``transitions.TRANSITIONS`` lists the possible changes."""

    QUEUED = "queued"
    RUNNING = "running"
    PAUSED = "paused"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


#: States that can change, and final states.
ACTIVE = (State.QUEUED, State.RUNNING, State.PAUSED)
FINAL = (State.SUCCEEDED, State.FAILED, State.CANCELLED)


class Wish(StrEnum):
    """What a client asked of a running job, until its runner has stopped."""

    CANCEL = "cancel"
    PAUSE = "pause"


class JobError(NamedTuple):
    """What went wrong with a job: a stable code, and a sentence."""

    code: str
    detail: str


@dataclass(frozen=True)
class Job:
    """One row of the table of jobs.

    ``key`` is the key of ``owner`` with which it was submitted, if any.

    ``request`` is the document of ``POST /train`` or ``POST /sweeps`` with its defaults filled in, and ``definition``
    the canonical text of what the job trains; it is None only if the model was deleted under an earlier release.
    ``details`` are what the run shows beside its progress, and ``warnings`` are about its data. ``fence`` rises with
    every owner, ``deaths`` counts the workers that were lost since the newest checkpoint. ``lease_until`` and
    ``not_before`` are in seconds since
    1970, ``eta_seconds`` is the time left. ``dataset`` is None only if the job has ended and its rows were deleted;
    ``start_from`` is a checkpoint.
    """

    id: str
    owner: str
    key: str | None
    model: str
    state: State
    wish: Wish | None
    request: dict[str, Any]
    dataset: str | None
    validation_dataset: str | None
    definition: str | None
    start_from: str | None
    created_at: str
    started_at: str | None
    finished_at: str | None
    attempt: int
    deaths: int
    fence: int
    lease_until: float | None
    not_before: float | None
    epoch: int
    epochs: int
    step: int
    fraction: float
    eta_seconds: float | None
    metrics: Metrics
    details: dict[str, Any]
    checkpoint: str | None
    version: int | None
    error: JobError | None
    warnings: list[dict[str, str]]

    @property
    def is_sweep(self) -> bool:
        """Whether it trains the trials of a sweep."""
        return is_sweep(self.request)

    @property
    def training(self) -> dict[str, Any]:
        """The document of ``POST /train``; that of the first trial if the job is a sweep."""
        return training_of(self.request)

    @classmethod
    def of(cls, row: sa.Row[Any]) -> Job:
        """The job of a row with all columns of the table."""
        error = json.loads(row.error) if row.error else None
        return cls(
            id=row.id,
            owner=row.owner,
            key=row.key,
            model=row.model,
            state=State(row.state),
            wish=Wish(row.wish) if row.wish else None,
            request=json.loads(row.request),
            dataset=row.dataset,
            validation_dataset=row.validation_dataset,
            definition=row.definition,
            start_from=row.start_from,
            created_at=row.created_at,
            started_at=row.started_at,
            finished_at=row.finished_at,
            attempt=row.attempt,
            deaths=row.deaths,
            fence=row.fence,
            lease_until=row.lease_until,
            not_before=row.not_before,
            epoch=row.epoch,
            epochs=row.epochs,
            step=row.step,
            fraction=row.fraction,
            eta_seconds=row.eta_seconds,
            metrics=json.loads(row.metrics),
            details=json.loads(row.details),
            checkpoint=row.checkpoint,
            version=row.version,
            error=None if error is None else JobError(error["code"], error["detail"]),
            warnings=json.loads(row.warnings) if row.warnings else [],
        )
