"""Job routes: list, show, wait, cancel, pause, resume, delete."""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import suppress
from inspect import cleandoc
from time import monotonic
from typing import Any, TypeVar

import marshmallow as ma
import sqlalchemy as sa
from flask import Response

from models.errors import MissingError
from models.registry import checkpoints
from models.schemas import StrictSchema, Text, left_out
from service.jobs import deletion, lifecycle
from service.jobs.document import job_document
from service.jobs.events import newest_event_ids
from service.jobs.record import FINAL, Job, State
from service.jobs.transitions import Trigger, accepting
from service.store.database import Database
from service.web import links
from service.web.context import context, shown
from service.web.fields import Fields, picked
from service.web.json_bodies import json_line, json_response
from service.web.making_room import makes_room
from service.web.openapi import Resource, refusals
from service.web.pagination import CheckpointPage, JobPage, page
from service.web.query_numbers import QueryNumber
from service.web.response_shapes import whole_or_short
from service.web.worker.later import Later

__all__ = ["routes"]


routes = Resource("jobs", __name__, description="Training jobs.")

MAXIMUM_WAIT = 60.0


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
    return page([picked(shown(job_document(job), job.owner), query["members"]) for job in jobs], query["limit"])


class JobQuery(StrictSchema):
    """Query parameters of a job: how long to wait for its end, and which of its members to show."""

    members = Fields("Job")
    wait = QueryNumber(
        load_default=0.0,
        metadata={"description": "Wait until the job has ended, for at most this many seconds (at most 60)."},
    )


@routes.route("/jobs/<job_id>", methods=["GET"])
@routes.arguments(JobQuery, location="query")
@routes.response(200, whole_or_short("Job"))
@routes.leads_to(200, links.JOB)
@routes.doc(responses=refusals(404, 503))
def show_job(query: dict[str, Any], job_id: str) -> Response:
    """Show a job.

    With `wait`, the response is sent when the job has ended or the time is up.
    """
    job = _find(job_id)
    if not query["wait"] or job.state in FINAL:
        return json_response(picked(shown(job_document(job), job.owner), query["members"]))
    until = monotonic() + min(query["wait"], MAXIMUM_WAIT)
    answer = _Ended(context().database, job, query["members"], until)
    return Response(answer, content_type="application/json", direct_passthrough=True)


class _Ended(Later):
    """The document of a job, once that has ended or the time is up."""

    def __init__(self, database: Database, job: Job, fields: Collection[str] | None, until: float) -> None:
        self._database, self._job, self._fields = database, job, fields
        self.subject, self.wake_at = job.id, until

    def look(self) -> bytes:
        # If the database does not answer, the next look comes when it does. If that is too late, or the job was
        # deleted, the last document that was read is the answer.
        with suppress(sa.exc.OperationalError, MissingError), self._database.read() as connection:
            # Read the newest event first: one that comes behind it leads to another look.
            seen = newest_event_ids(connection, [self.subject]).get(self.subject, 0)
            self._job, self.seen = lifecycle.find(connection, self.subject), seen
        self.ended = self._job.state in FINAL or self.stopping or monotonic() >= self.wake_at
        if not self.ended:
            return b""
        document = shown(job_document(self._job), self._job.owner, self._database.caller)
        return json_line(picked(document, self._fields))


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
    return page([picked(row.document(), query["members"]) for row in rows], query["limit"])
