"""The life of a job: functions that change its state as ``transitions.TRANSITIONS`` allows.

The owner of a job holds its fencing number, which rises with every owner. A write with an older number finds no row
and raises ``StaleError``, so a former owner that is still alive changes nothing.
Functions take an open SQLAlchemy connection and leave the transaction to the caller. Those that change something need
one that may write (``Database.write``): what they read then stays so until it ends.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from models.clock import utc_now
from models.errors import ConflictError, MissingError, describe
from models.registry.callers import Caller, asking_as, caller_of, visible
from models.registry.checkpoints import find_checkpoint
from models.registry.rows import older_than
from models.registry.tables import DATASETS, MODELS
from models.registry.versions import number_of, publish
from service.access.audit import Action, Subject, record
from service.jobs.events import LostEvent, StateEvent, add_events
from service.jobs.record import ACTIVE, FINAL, Job, JobError, Metrics, State, Wish
from service.jobs.transitions import TRANSITIONS, Situation, Trigger
from service.store.clock import seconds_now
from service.store.counters import Total, count
from service.store.tables import JOBS

__all__ = [
    "Progress",
    "StaleError",
    "abandon",
    "cancel",
    "claim",
    "create",
    "drop_finished_data",
    "expire",
    "fail",
    "find",
    "find_owned",
    "finish",
    "finished_data",
    "list_jobs",
    "lose",
    "next_due",
    "next_lease_end",
    "oldest_wait",
    "pause",
    "renew",
    "report",
    "require_owner",
    "resume",
    "shorten_waits",
    "state_of",
    "stop",
    "waits_too_long",
]


#: Number of crashes without a new checkpoint after which a job fails.
MAXIMUM_DEATHS = 3
#: More jobs than ever run at the same time.
MOST_RUNNING = 2**31 - 1
#: The error for an expired lease.
NO_SIGN = JobError("worker_lost", "its trainer sent no heartbeat before the lease expired")
#: What counts jobs that come to their end.
_ENDED = {
    State.SUCCEEDED: Total.JOBS_SUCCEEDED,
    State.FAILED: Total.JOBS_FAILED,
    State.CANCELLED: Total.JOBS_CANCELLED,
}
#: Why a client's request is refused.
_REFUSALS = {
    Trigger.CANCEL: "it cannot be cancelled",
    Trigger.PAUSE: "it cannot be paused",
    Trigger.RESUME: "only a paused job can be resumed",
}


class StaleError(Exception):
    """This owner has lost the job: another owner holds it, or it has ended."""


@dataclass(frozen=True)
class Progress:
    """A job's progress; ``metrics`` are those of its newest epoch."""

    epoch: int
    step: int
    fraction: float
    eta_seconds: float | None
    metrics: Metrics | None


def create(
    connection: sa.Connection,
    job_id: str,
    *,
    model: str,
    request: dict[str, Any],
    dataset: str,
    validation_dataset: str | None,
    definition: str | None = None,
    epochs: int | None = None,
    warnings: Sequence[dict[str, str]] = (),
    running_limit: int | None = None,
    reserved_bytes: int | None = None,
) -> Job:
    """Queue a job of the caller; ``request`` is the document to store with it.

    ``definition`` is the canonical text of what it trains; the model's newest definition if left out. ``epochs`` is the
    most that it trains; that of the request if left out. ``warnings`` are documents about its data. ``running_limit``
    is how many jobs of its owner may run, if it is not that of the settings. ``reserved_bytes`` are those of the
    checkpoints that it may keep, which count as stored until it ends.
    """
    caller = caller_of(connection)
    number = number_of(connection, model)
    newest = sa.select(MODELS.c.definition).where(MODELS.c.number == number).scalar_subquery()
    connection.execute(
        sa.insert(JOBS).values(
            id=job_id,
            owner=caller.owner,
            key=caller.key,
            running_limit=running_limit,
            reserved_bytes=reserved_bytes,
            model=model,
            model_number=number,
            request=json.dumps(request, ensure_ascii=False),
            dataset=dataset,
            validation_dataset=validation_dataset,
            definition=newest if definition is None else definition,
            warnings=json.dumps(list(warnings), ensure_ascii=False),
            start_from=request.get("start_from"),
            epochs=request["epochs"] if epochs is None else epochs,
            state=State.QUEUED,
            queued_at=seconds_now(),
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
    add_events(connection, job_id, [StateEvent(State.QUEUED)])
    return find(connection, job_id)


# Queries.


def find(connection: sa.Connection, job_id: str) -> Job:
    """A job by id; raises MissingError."""
    query = visible(connection, sa.select(JOBS), JOBS).where(JOBS.c.id == job_id)
    row = connection.execute(query).first()
    if row is None:
        raise MissingError("not_found", f"there is no job {describe(job_id)}")
    return Job.of(row)


def find_owned(connection: sa.Connection, job_id: str, fence: int) -> Job:
    """A running job whose owner has the number ``fence``. Raises StaleError."""
    row = connection.execute(sa.select(JOBS).where(_owned(job_id, fence))).first()
    if row is None:
        raise _stale(job_id, fence)
    return Job.of(row)


def state_of(connection: sa.Connection, job_id: str) -> State:
    """The state of a job; raises MissingError."""
    query = visible(connection, sa.select(JOBS.c.state), JOBS).where(JOBS.c.id == job_id)
    state: str | None = connection.scalar(query)
    if state is None:
        raise MissingError("not_found", f"there is no job {describe(job_id)}")
    return State(state)


def list_jobs(
    connection: sa.Connection, limit: int, after: str | None, *, model: str | None = None, state: State | None = None
) -> list[Job]:
    """Jobs, newest first, that are older than ``after``; those of one model or in one state if these are given."""
    query = visible(connection, sa.select(JOBS), JOBS).order_by(JOBS.c.number.desc()).limit(limit)
    if after is not None:
        query = query.where(older_than(connection, JOBS, after))
    if model is not None:
        query = query.where(JOBS.c.model == model)
    if state is not None:
        query = query.where(JOBS.c.state == state)
    return [Job.of(row) for row in connection.execute(query)]


# Clients' requests.


def cancel(connection: sa.Connection, job_id: str) -> Job:
    """Cancel a job, at once if it is not running, else after the current batch. Raises ConflictError."""
    return _move(connection, find(connection, job_id), Trigger.CANCEL)


def pause(connection: sa.Connection, job_id: str) -> Job:
    """Pause a job, at once if it is not running, else after the current batch. Raises ConflictError."""
    return _move(connection, find(connection, job_id), Trigger.PAUSE)


def resume(connection: sa.Connection, job_id: str) -> Job:
    """Queue a paused job again, or withdraw a pause that has not taken effect. Raises ConflictError."""
    return _move(connection, find(connection, job_id), Trigger.RESUME)


def abandon(connection: sa.Connection, model: str) -> None:
    """Cancel all active jobs of a model at once; later writes of their runners are refused."""
    query = sa.select(JOBS).where(JOBS.c.model_number == number_of(connection, model), JOBS.c.state.in_(ACTIVE))
    for row in list(connection.execute(query)):
        _move(connection, Job.of(row), Trigger.ABANDON, fence=JOBS.c.fence + 1)


# Owners' actions.


def next_due(connection: sa.Connection, most: int = MOST_RUNNING) -> float | None:
    """When the first of the queued jobs may be claimed, in seconds since 1970; None if there is none."""
    due = sa.func.min(sa.func.coalesce(JOBS.c.not_before, 0.0))
    return connection.scalar(sa.select(due).where(_may_run(most)))


def _may_run(most: int) -> sa.ColumnElement[bool]:
    """The condition of a queued job of whose owner fewer jobs run than may: ``most``, or as the job says."""
    return sa.and_(JOBS.c.state == State.QUEUED, _running() < sa.func.coalesce(JOBS.c.running_limit, most))


def _running() -> sa.ScalarSelect[int]:
    """How many jobs run of the owner of a job of the enclosing select."""
    others = JOBS.alias("others")
    same = sa.and_(others.c.owner == JOBS.c.owner, others.c.state == State.RUNNING)
    return sa.select(sa.func.count()).select_from(others).where(same).correlate(JOBS).scalar_subquery()


def _last_start() -> sa.ScalarSelect[str]:
    """When a job of the owner of a job of the enclosing select was started last; empty if none was."""
    others = JOBS.alias("others")
    query = sa.select(sa.func.coalesce(sa.func.max(others.c.started_at), "")).select_from(others)
    return query.where(others.c.owner == JOBS.c.owner).correlate(JOBS).scalar_subquery()


def _queued(now: float, most: int) -> sa.Select[Any]:
    """The job that is to be claimed now: the oldest one of the owner whose turn it is.

    That is the owner with the fewest running jobs; of several, the one none of whose jobs was started for longest.
    """
    due = sa.or_(JOBS.c.not_before.is_(None), JOBS.c.not_before <= now)
    query = sa.select(JOBS.c.id, JOBS.c.queued_at, JOBS.c.not_before).where(_may_run(most), due)
    return query.order_by(_running(), _last_start(), JOBS.c.number).limit(1)


def claim(connection: sa.Connection, now: float, lease: float, most: int = MOST_RUNNING) -> Job | None:
    """Claim a queued job, the owners in turn. Returns None if there is none of an owner of whose jobs fewer run."""
    found = connection.execute(_queued(now, most)).first()
    if found is None:
        return None
    # A job that is tried again waits from the time on at which it may be claimed.
    waited = max(0.0, now - max(found.queued_at or now, found.not_before or 0.0))
    count(connection, {Total.QUEUE_WAITS: 1, Total.QUEUE_WAIT_SECONDS: waited})
    return _move(
        connection,
        find(connection, found.id),
        Trigger.CLAIM,
        fence=JOBS.c.fence + 1,
        lease_until=now + lease,
        started_at=sa.func.coalesce(JOBS.c.started_at, utc_now()),
    )


def renew(connection: sa.Connection, job_id: str, fence: int, now: float, lease: float) -> None:
    """Extend the lease. Raises StaleError."""
    _owned_update(connection, job_id, fence, lease_until=now + lease)


def report(connection: sa.Connection, job_id: str, fence: int, progress: Progress, **columns: Any) -> Wish | None:
    """Record a job's progress. Returns the clients' wish. Raises StaleError."""
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
    wish: str | None = connection.scalar(sa.select(JOBS.c.wish).where(JOBS.c.id == job_id))
    return Wish(wish) if wish else None


def finish(connection: sa.Connection, job_id: str, fence: int, publish_version: bool) -> None:
    """Finish a trained job, and publish its newest checkpoint if asked to. Raises StaleError."""
    _owned_update(connection, job_id, fence, eta_seconds=0.0, fraction=1.0)
    job = find(connection, job_id)
    version = None
    if publish_version:
        assert job.checkpoint is not None
        metrics = find_checkpoint(connection, job.checkpoint).metrics
        with asking_as(connection, Caller(job.owner, key=job.key)):
            version = publish(connection, job.model, job_id, job.checkpoint, json.dumps(metrics), job.definition)
            record(connection, Action.PUBLISHED, Subject.VERSION, f"{job.model}/{version}")
    _move(connection, job, Trigger.FINISH, version=version)


def fail(connection: sa.Connection, job_id: str, fence: int, code: str, detail: str) -> None:
    """Record that a job has failed. Raises StaleError."""
    require_owner(connection, job_id, fence)
    _move(connection, find(connection, job_id), Trigger.FAIL, JobError(code, detail))


def stop(connection: sa.Connection, job_id: str, fence: int) -> None:
    """Record that a runner has saved its state and stopped: as a client wished, or to be queued again.

    Raises StaleError.
    """
    require_owner(connection, job_id, fence)
    _move(connection, find(connection, job_id), Trigger.STOP)


def lose(connection: sa.Connection, job_id: str, fence: int, cause: JobError, now: float, retry: float) -> None:
    """Record a worker's death: queue the job again, or fail it after too many deaths. Raises StaleError.

    After the first death, the job may be claimed at once. After a second death without a new checkpoint, it waits for
    ``retry`` seconds, and twice as long after each further one.
    """
    _owned_update(connection, job_id, fence, deaths=JOBS.c.deaths + 1)
    add_events(connection, job_id, [LostEvent(cause)])
    job = find(connection, job_id)
    if job.deaths >= MAXIMUM_DEATHS:
        detail = f"{job.deaths} workers were lost without a new checkpoint; the last one: {cause.detail}"
        _move(connection, job, Trigger.GIVE_UP, JobError(cause.code, detail))
        return
    columns: dict[str, Any] = {}
    state = _following(job, Trigger.LOSE).state
    if state in ACTIVE:
        columns["attempt"] = job.attempt + 1
    if state is State.QUEUED and job.deaths > 1:
        columns["not_before"] = now + _delay(job.deaths, retry)
    _move(connection, job, Trigger.LOSE, **columns)


def _delay(deaths: int, retry: float) -> float:
    """Seconds for which a job waits after its second death, or a later one; a first death costs it no turn."""
    return retry * 2.0 ** (deaths - 2)


def finished_data(connection: sa.Connection) -> list[str]:
    """The ids of datasets that came within training requests, all of whose jobs have ended."""
    needed = sa.union(
        sa.select(JOBS.c.dataset).where(JOBS.c.state.in_(ACTIVE), JOBS.c.dataset.is_not(None)),
        sa.select(JOBS.c.validation_dataset).where(JOBS.c.state.in_(ACTIVE), JOBS.c.validation_dataset.is_not(None)),
    )
    query = sa.select(DATASETS.c.id).where(DATASETS.c.name.is_(None), DATASETS.c.id.not_in(needed))
    return list(connection.scalars(query))


def drop_finished_data(connection: sa.Connection) -> list[str]:
    """Delete the rows of ``finished_data``; the ids of files that may be deleted after that."""
    gone = finished_data(connection)
    if gone:
        connection.execute(sa.delete(DATASETS).where(DATASETS.c.id.in_(gone)))
    return gone


def oldest_wait(connection: sa.Connection, now: float) -> float:
    """Seconds for which the job that has waited longest has been in the queue; 0 if no job is queued."""
    since: float | None = connection.scalar(
        sa.select(sa.func.min(JOBS.c.queued_at)).where(JOBS.c.state == State.QUEUED)
    )
    return 0.0 if since is None else max(0.0, now - since)


def next_lease_end(connection: sa.Connection) -> float | None:
    """When the first lease of a running job ends, in seconds since 1970; None if no job runs."""
    query = sa.select(sa.func.min(JOBS.c.lease_until)).where(JOBS.c.state == State.RUNNING)
    end: float | None = connection.scalar(query)
    return end


def _too_long(now: float, lease: float, retry: float) -> tuple[sa.ColumnElement[bool], sa.ColumnElement[bool]]:
    """Which jobs have a lease, and which a delay, that ends later than one that begins now."""
    longest = now + _delay(MAXIMUM_DEATHS - 1, retry)
    return (
        sa.and_(JOBS.c.state == State.RUNNING, JOBS.c.lease_until > now + lease),
        sa.and_(JOBS.c.state == State.QUEUED, JOBS.c.not_before > longest),
    )


def waits_too_long(connection: sa.Connection, now: float, lease: float, retry: float) -> bool:
    """Whether a lease or a delay ends later than it can: the clock has been set back since it began."""
    return connection.scalar(sa.select(JOBS.c.id).where(sa.or_(*_too_long(now, lease, retry))).limit(1)) is not None


def shorten_waits(connection: sa.Connection, now: float, lease: float, retry: float) -> None:
    """Let such leases and delays begin now, so that no job waits for as long as the clock was set back."""
    leases, delays = _too_long(now, lease, retry)
    connection.execute(sa.update(JOBS).where(leases).values(lease_until=now + lease))
    connection.execute(sa.update(JOBS).where(delays).values(not_before=now + _delay(MAXIMUM_DEATHS - 1, retry)))


def expire(connection: sa.Connection, now: float, retry: float) -> None:
    """End the ownership of every job with an expired lease."""
    query = sa.select(JOBS.c.id, JOBS.c.fence).where(JOBS.c.state == State.RUNNING, JOBS.c.lease_until < now)
    for row in list(connection.execute(query)):
        lose(connection, row.id, row.fence, NO_SIGN, now, retry)


def require_owner(connection: sa.Connection, job_id: str, fence: int) -> None:
    """Raise StaleError unless ``fence`` is the job's number, which then stays so until this transaction ends."""
    _owned_update(connection, job_id, fence, state=State.RUNNING)


def _owned(job_id: str, fence: int) -> sa.ColumnElement[bool]:
    """The row of a job if its owner has the number ``fence``."""
    return sa.and_(JOBS.c.id == job_id, JOBS.c.fence == fence, JOBS.c.state == State.RUNNING)


def _owned_update(connection: sa.Connection, job_id: str, fence: int, **columns: Any) -> None:
    changed = connection.execute(sa.update(JOBS).where(_owned(job_id, fence)).values(**columns))
    if changed.rowcount != 1:
        raise _stale(job_id, fence)


def _stale(job_id: str, fence: int) -> StaleError:
    return StaleError(f"job {job_id} is no longer held under number {fence}")


def _following(job: Job, trigger: Trigger) -> Situation:
    """The next situation. Raises ConflictError if there is no such transition."""
    following = TRANSITIONS[Situation(job.state, job.wish)].get(trigger)
    if following is None:
        now = "being cancelled" if job.wish is Wish.CANCEL and trigger is Trigger.PAUSE else job.state
        why = _REFUSALS.get(trigger, f"{describe(trigger)} is no transition from there")
        raise ConflictError("wrong_state", f"job {job.id} is {now}: {why}")
    return following


def _move(connection: sa.Connection, job: Job, trigger: Trigger, error: JobError | None = None, **columns: Any) -> Job:
    """Make a transition and set ``columns``. Returns the changed job. Raises ConflictError.

    ``error`` is the error of a job that fails.
    """
    following = _following(job, trigger)
    columns |= {"state": following.state, "wish": following.wish}
    if following.state is not State.QUEUED:
        columns["not_before"] = None
    if following.state is not State.RUNNING:
        columns |= {"lease_until": None, "eta_seconds": 0.0 if following.state is State.SUCCEEDED else None}
    if following.state in FINAL:
        columns["finished_at"] = utc_now()
    if following.state is not job.state:
        columns["queued_at"] = seconds_now() if following.state is State.QUEUED else None
    if following.state is not State.FAILED:
        error = None
    elif error is not None:
        columns["error"] = json.dumps(error._asdict())
    connection.execute(sa.update(JOBS).where(JOBS.c.id == job.id).values(**columns))
    if following.state is not job.state:
        add_events(connection, job.id, [StateEvent(following.state, error)])
    if following.state in FINAL:
        # Behind the events, as everywhere: transactions that lock the same in different orders may wait for each other.
        count(connection, {_ENDED[following.state]: 1})
    return find(connection, job.id)
