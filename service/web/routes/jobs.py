"""Job routes: list, show, wait, follow, cancel, pause, resume, delete."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from inspect import cleandoc
from time import monotonic
from typing import Any, TypeVar

import marshmallow as ma
import sqlalchemy as sa
from flask import Response, request

from models.errors import MissingError
from models.registry import checkpoints
from models.schemas import StrictSchema, Text, left_out
from service.access.keys import is_still_good
from service.jobs import deletion, lifecycle
from service.jobs.document import job_document
from service.jobs.events import HistoryPlace, events_after, list_epochs, newest_event_ids, newest_events
from service.jobs.record import FINAL, Job, State
from service.jobs.transitions import Trigger, accepting
from service.store.database import Database
from service.web import links
from service.web.context import Context, context, shown
from service.web.json_bodies import json_bytes, json_response
from service.web.making_room import makes_room
from service.web.openapi import Resource, refusals
from service.web.pagination import (
    MAXIMUM_EPOCHS,
    NUMBER_PATTERN,
    CheckpointPage,
    HistoryPage,
    JobPage,
    NumberPage,
    page,
)
from service.web.query_numbers import QueryNumber
from service.web.worker.later import Later

__all__ = ["LiveEvents", "routes"]


routes = Resource("jobs", __name__, description="Training jobs.")

MAXIMUM_WAIT = 60.0
#: Seconds without events after which a stream sends a comment. This keeps proxies from closing the stream, and
#: detects clients that have disconnected.
KEEP_ALIVE_SECONDS = 15.0
EVENTS_AT_ONCE = 1000
NDJSON = "application/x-ndjson"


class JobsQuery(JobPage):
    """Query parameters of the list of jobs."""

    model = ma.fields.String(load_default=left_out)
    state = Text(choices=tuple(state.value for state in State), load_default=left_out)


@routes.route("/jobs", methods=["GET"])
@routes.arguments(JobsQuery, location="query")
@routes.response(200, "JobList")
@routes.leads_to(200, links.JOBS)
def list_jobs(query: dict[str, Any]) -> Response:
    """List jobs, newest first.

    `after` takes a job's id.
    """
    with context().database.read() as connection:
        jobs = lifecycle.list_jobs(
            connection, query["limit"] + 1, query["after"], model=query["model"], state=query["state"]
        )
    return page([shown(job_document(job), job.owner) for job in jobs], query["limit"])


class WaitQuery(StrictSchema):
    """Query parameter of a job: how long to wait for its end."""

    wait = QueryNumber(
        load_default=0.0,
        metadata={"description": "Wait until the job has ended, for at most this many seconds (at most 60)."},
    )


@routes.route("/jobs/<job_id>", methods=["GET"])
@routes.arguments(WaitQuery, location="query")
@routes.response(200, "Job")
@routes.leads_to(200, links.JOB)
@routes.doc(responses=refusals(404, 503))
def show_job(query: dict[str, Any], job_id: str) -> Response:
    """Show a job.

    With `wait`, the response is sent when the job has ended or the time is up.
    """
    job = _find(job_id)
    if not query["wait"] or job.state in FINAL:
        return json_response(shown(job_document(job), job.owner))
    answer = _Ended(context().database, job, monotonic() + min(query["wait"], MAXIMUM_WAIT))
    return Response(answer, content_type="application/json", direct_passthrough=True)


class _Ended(Later):
    """The document of a job, once that has ended or the time is up."""

    def __init__(self, database: Database, job: Job, until: float) -> None:
        self._database, self._job = database, job
        self.subject, self.wake_at = job.id, until

    def look(self) -> bytes:
        with self._database.read() as connection:
            # Read the newest event first: one that comes behind it leads to another look.
            self.seen = newest_event_ids(connection, [self.subject]).get(self.subject, 0)
            with suppress(MissingError):  # If the job was deleted, its last document is the answer.
                self._job = lifecycle.find(connection, self.subject)
        self.ended = self._job.state in FINAL or self.stopping or monotonic() >= self.wake_at
        return json_bytes(shown(job_document(self._job), self._job.owner, self._database.caller)) if self.ended else b""


def _find(job_id: str) -> Job:
    with context().database.read() as connection:
        return lifecycle.find(connection, job_id)


View = TypeVar("View", bound=Callable[..., Response])


def _accepted_in_states(trigger: Trigger) -> Callable[[View], View]:
    """Add to a route's documentation in which states a job accepts the request."""

    def describe(view: View) -> View:
        *others, last = accepting(trigger)
        states = f"{', '.join(others)} or {last}" if others else last
        view.__doc__ = f"{cleandoc(view.__doc__ or '')}\n\nA job must be {states}. Otherwise the status is 409."
        return view

    return describe


def _change(change: Callable[[sa.Connection, str], Job], job_id: str) -> Response:
    with context().database.write() as connection:
        job = change(connection, job_id)
        return json_response(shown(job_document(job), job.owner), 202)


@routes.route("/jobs/<job_id>/cancel", methods=["POST"])
@routes.response(202, "Job")
@routes.leads_to(202, links.JOB)
@routes.doc(responses=refusals(404, 409))
@_accepted_in_states(Trigger.CANCEL)
@makes_room
def cancel_job(job_id: str) -> Response:
    """Cancel a job.

    A running job ends after its current batch. Its checkpoints stay.
    """
    return _change(lifecycle.cancel, job_id)


@routes.route("/jobs/<job_id>/pause", methods=["POST"])
@routes.response(202, "Job")
@routes.leads_to(202, links.JOB)
@routes.doc(responses=refusals(404, 409))
@_accepted_in_states(Trigger.PAUSE)
@makes_room
def pause_job(job_id: str) -> Response:
    """Pause a job.

    A running job saves its state after its current batch, and waits until it is resumed.
    """
    return _change(lifecycle.pause, job_id)


@routes.route("/jobs/<job_id>/resume", methods=["POST"])
@routes.response(202, "Job")
@routes.doc(responses=refusals(404, 409))
@_accepted_in_states(Trigger.RESUME)
def resume_job(job_id: str) -> Response:
    """Resume a paused job.

    The job is queued again, continues from its saved state, and computes the same numbers as without the pause.
    """
    return _change(lifecycle.resume, job_id)


@routes.route("/jobs/<job_id>", methods=["DELETE"])
@routes.response(204)
@routes.doc(responses=refusals(404, 409))
@makes_room
def delete_job(job_id: str) -> Response:
    """Delete a job that has ended, with its events.

    Its versions and checkpoints stay. A job that has not ended is refused with 409: cancel it first.
    """
    deletion.delete_job(context().database, job_id)
    return Response(status=204)


@routes.route("/jobs/<job_id>/history", methods=["GET"])
@routes.arguments(HistoryPage, location="query")
@routes.response(200, "History")
@routes.doc(
    responses={200: {"content": {NDJSON: {"schema": {"$ref": "#/components/schemas/Epoch"}}}}, **refusals(404, 503)},
)
def show_history(query: dict[str, Any], job_id: str) -> Response:
    """List the epochs so far, oldest first.

    If the job trains several members, each epoch has its `member`, and `member` selects those of one. If `Accept` asks
    for `application/x-ndjson`, the response is a stream with one epoch per line. Of more than 10,000 epochs, the
    history has some: see `History`.
    """
    limit, member = query["limit"], query["member"]
    after = _place(query["after"] or "0", member)
    with context().database.read() as connection:
        lifecycle.find(connection, job_id)
        if request.accept_mimetypes.best_match(["application/json", NDJSON]) == NDJSON:
            return _stream(_epoch_lines(context(), job_id, after, limit, member), NDJSON)
        limit = MAXIMUM_EPOCHS if limit is None else limit
        epochs = list_epochs(connection, job_id, after, limit + 1, member)
    data, more = ",".join(text for _, text in epochs[:limit]), "true" if len(epochs) > limit else "false"
    return Response(f'{{"data":[{data}],"has_more":{more}}}', content_type="application/json")


def _place(after: str, member: int | None) -> HistoryPlace:
    """The place that ``after`` names: an epoch, of ``member`` if only its epochs are wanted, or ``member:epoch``."""
    first, _, second = after.rpartition(":")
    return HistoryPlace(int(first) if first else member or 0, int(second))


def _epoch_lines(
    parts: Context, job_id: str, after: HistoryPlace, limit: int | None, member: int | None
) -> Iterator[str]:
    """At most ``limit`` epochs beyond ``after``, one per line, of which few are in memory at a time."""
    left = math.inf if limit is None else limit
    while left:
        wanted = int(min(left, EVENTS_AT_ONCE))
        with parts.database.read() as connection:
            epochs = list_epochs(connection, job_id, after, wanted, member)
        yield "".join(f"{text}\n" for _, text in epochs)
        if len(epochs) < wanted:
            return
        after, left = epochs[-1][0], left - wanted


@routes.route("/jobs/<job_id>/checkpoints", methods=["GET"])
@routes.arguments(CheckpointPage, location="query")
@routes.response(200, "CheckpointList")
@routes.leads_to(200, links.CHECKPOINTS)
@routes.doc(responses=refusals(404))
def list_job_checkpoints(query: dict[str, Any], job_id: str) -> Response:
    """List a job's checkpoints, newest first."""
    with context().database.read() as connection:
        lifecycle.find(connection, job_id)
        rows = checkpoints.list_checkpoints(connection, query["limit"] + 1, query["after"], job=job_id)
    return page([row.document() for row in rows], query["limit"])


class StreamHeaders(StrictSchema):
    """Headers of an event stream: the event after which it continues."""

    after = Text(
        pattern=NUMBER_PATTERN,
        load_default=left_out,
        data_key="Last-Event-ID",
        metadata={"description": "The id of the last event received."},
    )


@routes.route("/jobs/<job_id>/events", methods=["GET"])
@routes.arguments(NumberPage, location="query")
@routes.arguments(StreamHeaders, location="headers")
@routes.response(200, "EventList")
@routes.doc(
    responses={
        200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}},
        **refusals(404, 503),
    },
)
def list_job_events(query: dict[str, Any], headers: dict[str, Any], job_id: str) -> Response:
    """List or stream a job's events.

    The list has the newest event first. With `Accept: text/event-stream`, the response is a live stream in order; it
    starts with the first event, or the one after `Last-Event-ID`, and ends after the job's final state. The events of
    epochs are the points of the job's history. That of the best epoch so far, or of the newest, may be deleted later.
    """
    _find(job_id)
    if request.accept_mimetypes.best_match(["application/json", "text/event-stream"]) == "text/event-stream":
        parts = context()
        live = LiveEvents(parts.database, job_id, int(headers["after"] or 0), checks_key=parts.settings.keys != "off")
        return _stream(live, "text/event-stream")
    before = None if query["after"] is None else int(query["after"])
    with context().database.read() as connection:
        rows = newest_events(connection, job_id, before, query["limit"] + 1)
    body = ",".join(
        f'{{"id":{row.id},"type":"{row.type}","at":"{row.at}","data":{row.data}}}' for row in rows[: query["limit"]]
    )
    more = "true" if len(rows) > query["limit"] else "false"
    return Response(f'{{"data":[{body}],"has_more":{more}}}', content_type="application/json")


def _stream(pieces: Iterable[Any], content_type: str) -> Response:
    """A streamed response."""
    response = Response(pieces, content_type=content_type, direct_passthrough=isinstance(pieces, Later))
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Accel-Buffering"] = "no"
    return response


class LiveEvents(Later):
    """A job's events as server-sent events (WHATWG HTML, section 9.2).

    With ``checks_key``, they end if the caller's key is revoked or expires.
    """

    def __init__(self, database: Database, job_id: str, after: int, *, checks_key: bool = False) -> None:
        self._database, self._checks_key = database, checks_key
        self.subject, self.seen = job_id, after
        self._begun = False

    def look(self) -> bytes:
        try:
            with self._database.read() as connection:
                # Read the state first, so that every event up to the final state is among the rows.
                over = lifecycle.state_of(connection, self.subject) in FINAL
                rows = events_after(connection, self.subject, self.seen, EVENTS_AT_ONCE)
                if self._checks_key and not is_still_good(connection, self._database.caller.key):
                    over, rows = True, []
        except MissingError:  # The job was deleted.
            over, rows = True, []
        # A job may end between these two reads. Then its last event is here, and no further one leads to another look.
        over = over or any(row.type == "state" and json.loads(row.data)["state"] in FINAL for row in rows)
        pieces = [] if self._begun else [f": stream of {self.subject}\n\n"]
        self._begun = True
        pieces += [f"id: {row.id}\nevent: {row.type}\ndata: {row.data}\n\n" for row in rows]
        if rows:
            self.seen = rows[-1].id
        if not pieces and monotonic() >= self.wake_at:
            pieces = [": still here\n\n"]
        if pieces:
            self.wake_at = monotonic() + KEEP_ALIVE_SECONDS
        if len(rows) == EVENTS_AT_ONCE and not self.stopping:
            self.wake_at = 0.0  # There may be more.
        else:
            self.ended = over or self.stopping
        return "".join(pieces).encode()
