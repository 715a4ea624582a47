"""The events of a job: their contents, and how they are stored and read. The epoch events are the job's history."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, get_args

import sqlalchemy as sa

from models.clock import utc_now
from models.registry.callers import caller_of, visible
from service.jobs.record import JobError, State
from service.store.tables import EVENTS, JOBS

if TYPE_CHECKING:  # This imports NumPy, which the trainer does not load.
    from models.training.run import Epoch

__all__ = [
    "EVENT_TYPES",
    "EVERY_JOB",
    "CheckpointEvent",
    "EpochEvent",
    "Event",
    "EventRecord",
    "HistoryPlace",
    "KernelsEvent",
    "LostEvent",
    "StateEvent",
    "TroubleEvent",
    "add_events",
    "drop_epochs",
    "events_after",
    "list_epochs",
    "newest_epochs",
    "newest_event_id",
    "newest_event_ids",
    "newest_events",
    "newest_events_of_all",
    "seen_events",
]

#: What stands for all jobs, where a job's id is asked for.
EVERY_JOB = "every job"


@dataclass(frozen=True)
class StateEvent:
    """The job has a new state; ``error`` is the reason if it has failed."""

    type: ClassVar[str] = "state"
    state: State
    error: JobError | None = None

    def data(self) -> dict[str, Any]:
        error = {} if self.error is None else {"error": self.error._asdict()}
        return {"state": self.state, **error}


@dataclass(frozen=True)
class EpochEvent:
    """An epoch has ended, of a member if the run has several; these count from 1."""

    type: ClassVar[str] = "epoch"
    record: Epoch
    member: int = 0

    def data(self) -> dict[str, Any]:
        values = asdict(self.record)
        member = {"member": self.member} if self.member else {}
        return {**member, "epoch": values.pop("number"), **values}


@dataclass(frozen=True)
class CheckpointEvent:
    """A checkpoint is saved."""

    type: ClassVar[str] = "checkpoint"
    checkpoint: str
    epoch: int
    step: int

    def data(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class LostEvent:
    """A worker of the job has crashed; the job may be retried."""

    type: ClassVar[str] = "log"
    cause: JobError

    def data(self) -> dict[str, Any]:
        return {"level": "warning", "message": f"worker lost: {self.cause.detail}", "code": self.cause.code}


@dataclass(frozen=True)
class TroubleEvent:
    """The job could not save its state; training continues, and the save is retried."""

    type: ClassVar[str] = "log"
    error: JobError

    def data(self) -> dict[str, Any]:
        return {"level": "error", "message": self.error.detail, **self.error._asdict()}


@dataclass(frozen=True)
class KernelsEvent:
    """The job continues from a checkpoint of compiled kernels without them, because they cannot run here."""

    type: ClassVar[str] = "log"

    def data(self) -> dict[str, Any]:
        message = (
            "the job continues with NumPy, because compiled kernels, which made its checkpoint, cannot run here: "
            "llvmlite is not installed, or fails. So its bits may differ from those of a run without a break"
        )
        return {"level": "warning", "message": message, "code": "kernels_missing"}


Event = StateEvent | EpochEvent | CheckpointEvent | LostEvent | TroubleEvent | KernelsEvent
#: Every type that an event can have.
EVENT_TYPES: list[str] = list(dict.fromkeys(event.type for event in get_args(Event)))


class EventRecord(NamedTuple):
    """A stored event; ``data`` is JSON text."""

    id: int
    type: str
    at: str
    data: str


def add_events(connection: sa.Connection, job_id: str, events: Sequence[Event]) -> None:
    """Append events to a job.

    Their ids rise in the order of commits, as one transaction at a time writes: who has read up to an id misses none.
    """
    at = utc_now()
    rows = [
        {
            "job": job_id,
            "type": event.type,
            "epoch": event.record.number if isinstance(event, EpochEvent) else None,
            "member": event.member if isinstance(event, EpochEvent) else 0,
            "at": at,
            "data": json.dumps(event.data()),
        }
        for event in events
    ]
    if rows:
        connection.execute(sa.insert(EVENTS), rows)


def drop_epochs(connection: sa.Connection, job_id: str, places: Sequence[HistoryPlace]) -> None:
    """Delete epochs from a job's history."""
    if places:
        one = sa.and_(EVENTS.c.member == sa.bindparam("of_member"), EVENTS.c.epoch == sa.bindparam("at_epoch"))
        rows = [{"of_member": place.member, "at_epoch": place.epoch} for place in places]
        connection.execute(sa.delete(EVENTS).where(EVENTS.c.job == job_id, one), rows)


def events_after(connection: sa.Connection, job_id: str, after: int, limit: int) -> list[EventRecord]:
    """Events with ids above ``after``, oldest first."""
    return _records(connection, _of(job_id).where(EVENTS.c.id > after).order_by(EVENTS.c.id).limit(limit))


def newest_event_id(connection: sa.Connection) -> int:
    """The id of the newest event of all jobs of all owners; 0 before any."""
    return connection.scalar(sa.select(sa.func.max(EVENTS.c.id))) or 0


def newest_event_ids(connection: sa.Connection, job_ids: Collection[str]) -> dict[str, int]:
    """The id of the newest event of each of these jobs that has one, and of all jobs if ``EVERY_JOB`` is among them."""
    newest = sa.select(EVENTS.c.job, sa.func.max(EVENTS.c.id)).where(EVENTS.c.job.in_(job_ids)).group_by(EVENTS.c.job)
    found = {job: int(number) for job, number in connection.execute(newest)}
    return {**found, EVERY_JOB: newest_event_id(connection)} if EVERY_JOB in job_ids else found


def newest_events(connection: sa.Connection, job_id: str, before: int | None, limit: int) -> list[EventRecord]:
    """Events with ids below ``before``, or all if that is None, newest first."""
    query = _of(job_id).order_by(EVENTS.c.id.desc()).limit(limit)
    return _records(connection, query if before is None else query.where(EVENTS.c.id < before))


def seen_events(connection: sa.Connection, after: int, until: int, limit: int) -> list[EventRecord]:
    """Events of all jobs that the caller sees with ids above ``after``, up to ``until``, oldest first."""
    query = _seen(connection).where(EVENTS.c.id > after, EVENTS.c.id <= until)
    return _named(connection, query.order_by(EVENTS.c.id).limit(limit))


def newest_events_of_all(connection: sa.Connection, before: int | None, limit: int) -> list[EventRecord]:
    """Events of all jobs that the caller sees with ids below ``before``, or all if that is None, newest first."""
    query = _seen(connection).order_by(EVENTS.c.id.desc()).limit(limit)
    return _named(connection, query if before is None else query.where(EVENTS.c.id < before))


def _seen(connection: sa.Connection) -> sa.Select[Any]:
    query = sa.select(*(EVENTS.c[name] for name in EventRecord._fields), EVENTS.c.job)
    if caller_of(connection).sees_all:
        return query
    return query.where(sa.exists(visible(connection, sa.select(JOBS.c.id).where(JOBS.c.id == EVENTS.c.job), JOBS)))


def _named(connection: sa.Connection, query: sa.Select[Any]) -> list[EventRecord]:
    """Events whose data names their job."""
    return [
        EventRecord(row.id, row.type, row.at, f'{{"job": {json.dumps(row.job)}, {row.data[1:]}')
        for row in connection.execute(query)
    ]


def _of(job_id: str) -> sa.Select[Any]:
    return sa.select(*(EVENTS.c[name] for name in EventRecord._fields)).where(EVENTS.c.job == job_id)


def _records(connection: sa.Connection, query: sa.Select[Any]) -> list[EventRecord]:
    return [EventRecord(*row) for row in connection.execute(query)]


class HistoryPlace(NamedTuple):
    """A place in a job's history: an epoch of a member, or of the only network if ``member`` is 0."""

    member: int
    epoch: int


def list_epochs(
    connection: sa.Connection, job_id: str, after: HistoryPlace, limit: int, member: int | None = None
) -> list[tuple[HistoryPlace, str]]:
    """The place and the record, as JSON text, of each epoch after ``after``: member after member, in order.

    With ``member``, only its epochs.
    """
    place = (EVENTS.c.member, EVENTS.c.epoch)
    later = sa.or_(place[0] > after.member, sa.and_(place[0] == after.member, place[1] > after.epoch))
    query = sa.select(*place, EVENTS.c.data).where(EVENTS.c.job == job_id, EVENTS.c.epoch.is_not(None), later)
    if member is not None:
        query = query.where(place[0] == member)
    found = connection.execute(query.order_by(*place).limit(limit))
    return [(HistoryPlace(number, epoch), data) for number, epoch, data in found]


def newest_epochs(connection: sa.Connection, job_id: str) -> dict[int, int]:
    """The last epoch in the history of each member; 0 is the member of a job with one network."""
    newest = sa.select(EVENTS.c.member, sa.func.max(EVENTS.c.epoch)).where(EVENTS.c.job == job_id)
    newest = newest.where(EVENTS.c.epoch.is_not(None)).group_by(EVENTS.c.member)
    return {int(member): int(epoch) for member, epoch in connection.execute(newest)}
