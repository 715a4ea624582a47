"""The life of a job, as transitions of its row.

    queued → running → succeeded | failed | cancelled; running ⇄ paused; a lost worker puts running back to queued

The last three are final. Whoever runs a job holds its fencing number, which rises with every owner: a write under an
older number finds no row and raises ``StaleError``, so an owner that was thought dead changes nothing.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Literal

import sqlalchemy as sa

from models.clock import utc_now
from models.errors import ConflictError, MissingError
from models.registry.checkpoints import find_checkpoint
from models.registry.tables import DATASETS
from models.registry.versions import publish
from service.jobs.events import add_events
from service.jobs.exit_causes import Death
from service.store.tables import JOBS

__all__ = [
    "ACTIVE",
    "FINAL",
    "Progress",
    "StaleError",
    "abandon",
    "any_queued",
    "ask",
    "claim",
    "create",
    "drop_finished_data",
    "expire",
    "fail",
    "find",
    "finish",
    "lose",
    "renew",
    "report",
    "require_owner",
    "resume",
    "stop",
]


ACTIVE = ("queued", "running", "paused")
FINAL = ("succeeded", "failed", "cancelled")

#: Workers that may be lost without a new checkpoint in between before a job counts as poisonous.
MAXIMUM_DEATHS = 3
#: A lease that ran out.
NO_SIGN = Death("worker_lost", "its trainer gave no sign before the lease ran out")
#: What becomes of a job as its clients wish.
_WISHED = {"cancel": "cancelled", "pause": "paused"}


class StaleError(Exception):
    """The job is no longer this owner's: another one has it, or it has ended."""


@dataclass(frozen=True)
class Progress:
    """How far a job is; ``metrics`` are those of its newest epoch."""

    epoch: int
    step: int
    fraction: float
    eta_seconds: float | None
    metrics: dict[str, float | None] | None


def create(connection: sa.Connection, values: dict[str, Any]) -> None:
    """Queue a job; ``values`` are id, model, request, dataset, validation_dataset and epochs."""
    connection.execute(
        sa.insert(JOBS).values(
            **values,
            state="queued",
            created_at=utc_now(),
            attempt=1,
            deaths=0,
            fence=0,
            epoch=0,
            step=0,
            fraction=0.0,
            metrics="{}",
        )
    )
    _state_event(connection, values["id"], "queued")


def find(connection: sa.Connection, job_id: str, *, to_change: bool = False) -> sa.Row[Any]:
    """A job's row, which nobody else changes before this transaction ends where it is ``to_change``.

    Raises MissingError.
    """
    query = sa.select(JOBS).where(JOBS.c.id == job_id)
    # SQLite has one writer at a time and knows no such clause; other databases lock the row.
    row = connection.execute(query.with_for_update() if to_change else query).first()
    if row is None:
        raise MissingError("not_found", f"there is no job {job_id!r}")
    return row


# What clients ask.


def ask(connection: sa.Connection, job_id: str, wish: Literal["cancel", "pause"]) -> sa.Row[Any]:
    """Cancel or pause: at once where nobody runs the job, else its runner is told. Raises ConflictError.

    A cancel overrides a pause, and either may be asked again.
    """
    row = find(connection, job_id, to_change=True)
    if row.state in FINAL or (wish == "pause" and (row.state == "paused" or row.wanted == "cancel")):
        now = "being cancelled" if row.wanted == "cancel" and row.state == "running" else row.state
        raise ConflictError("wrong_state", f"job {job_id} is {now}: it cannot be {_WISHED[wish]}")
    if row.state == "running":
        connection.execute(sa.update(JOBS).where(JOBS.c.id == job_id).values(wanted=wish))
    else:
        _set_state(connection, job_id, _WISHED[wish])
    return find(connection, job_id)


def resume(connection: sa.Connection, job_id: str) -> sa.Row[Any]:
    """Queue a paused job again, or take back a pause that has not happened yet. Raises ConflictError."""
    row = find(connection, job_id, to_change=True)
    if row.state == "running" and row.wanted == "pause":
        connection.execute(sa.update(JOBS).where(JOBS.c.id == job_id).values(wanted=None))
    elif row.state == "paused":
        _set_state(connection, job_id, "queued")
    else:
        raise ConflictError("wrong_state", f"job {job_id} is {row.state}: only a paused job can be resumed")
    return find(connection, job_id)


def abandon(connection: sa.Connection, model: str) -> None:
    """Cancel all active jobs of a model at once, so that their runners' writes come too late."""
    query = sa.select(JOBS.c.id).where(JOBS.c.model == model, JOBS.c.state.in_(ACTIVE)).with_for_update()
    for job_id in list(connection.scalars(query)):
        connection.execute(sa.update(JOBS).where(JOBS.c.id == job_id).values(fence=JOBS.c.fence + 1))
        _set_state(connection, job_id, "cancelled")


# What owners do.


def any_queued(connection: sa.Connection, now: float) -> bool:
    """Whether a job waits for an owner."""
    return connection.scalar(_queued(now)) is not None


def _queued(now: float) -> sa.Select[Any]:
    """The oldest job that may be claimed now."""
    due = sa.or_(JOBS.c.not_before.is_(None), JOBS.c.not_before <= now)
    return sa.select(JOBS.c.id).where(JOBS.c.state == "queued", due).order_by(JOBS.c.id).limit(1)


def claim(connection: sa.Connection, now: float, lease: float) -> sa.Row[Any] | None:
    """Become the owner of the oldest queued job; None where there is none."""
    job_id: str | None = connection.scalar(_queued(now).with_for_update(skip_locked=True))
    if job_id is None:
        return None
    connection.execute(
        sa.update(JOBS)
        .where(JOBS.c.id == job_id)
        .values(
            fence=JOBS.c.fence + 1,
            lease_until=now + lease,
            started_at=sa.func.coalesce(JOBS.c.started_at, utc_now()),
            wanted=None,
        )
    )
    _set_state(connection, job_id, "running")
    return find(connection, job_id)


def renew(connection: sa.Connection, job_id: str, fence: int, now: float, lease: float) -> None:
    """Stay the owner for another lease; raises StaleError."""
    _owned_update(connection, job_id, fence, lease_until=now + lease)


def report(connection: sa.Connection, job_id: str, fence: int, progress: Progress, **columns: Any) -> str | None:
    """Record how far a job is; what its clients want of it. Raises StaleError."""
    if progress.metrics is not None:
        columns["metrics"] = json.dumps(progress.metrics)
    _owned_update(
        connection,
        job_id,
        fence,
        epoch=progress.epoch,
        step=progress.step,
        fraction=progress.fraction,
        eta_seconds=progress.eta_seconds,
        **columns,
    )
    wanted: str | None = connection.scalar(sa.select(JOBS.c.wanted).where(JOBS.c.id == job_id))
    return wanted


def finish(connection: sa.Connection, job_id: str, fence: int, publish_version: bool) -> None:
    """The job has trained to its end: publish its newest checkpoint and close it, in one. Raises StaleError."""
    _owned_update(connection, job_id, fence, eta_seconds=0.0, fraction=1.0)
    row = find(connection, job_id)
    if publish_version:
        metrics = find_checkpoint(connection, row.checkpoint)["metrics"]
        version = publish(connection, row.model, job_id, row.checkpoint, json.dumps(metrics))
        connection.execute(sa.update(JOBS).where(JOBS.c.id == job_id).values(version=version))
    _set_state(connection, job_id, "succeeded")


def fail(connection: sa.Connection, job_id: str, fence: int, code: str, detail: str) -> None:
    """The job cannot go on. Raises StaleError."""
    error = {"code": code, "detail": detail}
    _owned_update(connection, job_id, fence, error=json.dumps(error), eta_seconds=None)
    _set_state(connection, job_id, "failed", error=error)


def stop(connection: sa.Connection, job_id: str, fence: int) -> None:
    """The runner stopped with its state saved: as a client wished, or back to the queue. Raises StaleError."""
    _owned_update(connection, job_id, fence, eta_seconds=None)
    state = _WISHED.get(find(connection, job_id).wanted, "queued")
    _set_state(connection, job_id, state)


def lose(connection: sa.Connection, job_id: str, fence: int, death: Death, now: float, retry: float) -> None:
    """The worker is gone: queue the job again, or give it up after too many deaths. Raises StaleError.

    The first time it may be claimed at once, so that an accident does not cost its turn; after a second death without
    a new checkpoint, in ``retry`` seconds, and in twice as many after each further one.
    """
    _owned_update(connection, job_id, fence, deaths=JOBS.c.deaths + 1)
    row = find(connection, job_id)
    told = {"level": "warning", "message": f"worker lost: {death.detail}", "code": death.code}
    add_events(connection, job_id, [("log", None, told)])
    if row.wanted == "cancel":
        _set_state(connection, job_id, "cancelled")
    elif row.deaths >= MAXIMUM_DEATHS:
        detail = f"{row.deaths} workers were lost without a new checkpoint; the last one: {death.detail}"
        fail(connection, job_id, fence, death.code, detail)
    else:
        pause = retry * 2.0 ** (row.deaths - 2) if row.deaths > 1 else 0.0
        values = {"attempt": JOBS.c.attempt + 1, "not_before": now + pause}
        connection.execute(sa.update(JOBS).where(JOBS.c.id == job_id).values(**values))
        _set_state(connection, job_id, "paused" if row.wanted == "pause" else "queued")


def drop_finished_data(connection: sa.Connection) -> list[str]:
    """Forget rows that came within training requests whose jobs have ended; the ids of files that may go."""
    needed = sa.union(
        sa.select(JOBS.c.dataset).where(JOBS.c.state.in_(ACTIVE)),
        sa.select(JOBS.c.validation_dataset).where(JOBS.c.state.in_(ACTIVE), JOBS.c.validation_dataset.is_not(None)),
    )
    query = sa.select(DATASETS.c.id).where(DATASETS.c.name.is_(None), DATASETS.c.id.not_in(needed))
    gone = list(connection.scalars(query))
    if gone:
        connection.execute(sa.delete(DATASETS).where(DATASETS.c.id.in_(gone)))
    return gone


def expire(connection: sa.Connection, now: float, retry: float) -> None:
    """Take every job whose owner gave no sign in time away from it."""
    query = sa.select(JOBS.c.id, JOBS.c.fence).where(JOBS.c.state == "running", JOBS.c.lease_until < now)
    # A row that is locked is being changed by its owner, which thereby gives a sign.
    for row in list(connection.execute(query.with_for_update(skip_locked=True))):
        lose(connection, row.id, row.fence, NO_SIGN, now, retry)


def require_owner(connection: sa.Connection, job_id: str, fence: int) -> None:
    """Raise StaleError unless the job is held under ``fence``, and go on being so to this transaction's end."""
    _owned_update(connection, job_id, fence, state="running")


def _owned_update(connection: sa.Connection, job_id: str, fence: int, **columns: Any) -> None:
    changed = connection.execute(
        sa.update(JOBS).where(JOBS.c.id == job_id, JOBS.c.fence == fence, JOBS.c.state == "running").values(**columns)
    )
    if changed.rowcount != 1:
        raise StaleError(f"job {job_id} is no longer held under number {fence}")


def _set_state(connection: sa.Connection, job_id: str, state: str, **told: Any) -> None:
    columns: dict[str, Any] = {"state": state}
    if state != "queued":
        columns["not_before"] = None
    if state != "running":
        columns |= {"lease_until": None, "wanted": None, "eta_seconds": 0.0 if state == "succeeded" else None}
    if state in FINAL:
        columns["finished_at"] = utc_now()
    connection.execute(sa.update(JOBS).where(JOBS.c.id == job_id).values(**columns))
    _state_event(connection, job_id, state, **told)


# Events, of which those of type "epoch" are the history.


def _state_event(connection: sa.Connection, job_id: str, state: str, **told: Any) -> None:
    add_events(connection, job_id, [("state", None, {"state": state, **told})])
