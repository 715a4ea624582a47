"""Routes of jobs: look, wait, follow, cancel, pause, resume."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from time import monotonic, sleep
from typing import Any

import marshmallow as ma
import sqlalchemy as sa
from flask import Response, request

from models.registry import checkpoints
from models.schemas import StrictSchema, Text
from service.jobs import document, lifecycle
from service.jobs.events import events_after, list_epochs
from service.store.tables import EVENTS, JOBS
from service.web.context import Context, context
from service.web.json_bodies import json_response
from service.web.openapi import Resource, refusals
from service.web.pagination import NUMBER_PATTERN, CheckpointPage, JobPage, NumberPage, page

__all__ = ["routes"]


routes = Resource("jobs", __name__, description="Training jobs.")

MAXIMUM_WAIT = 60.0
#: Pause between two looks at the database for a client that waits.
LOOK_SECONDS = 0.05
#: Silence after which a stream sends a comment, so that proxies keep it open and a gone client is noticed.
KEEP_ALIVE_SECONDS = 15.0
EVENTS_AT_ONCE = 1000


class JobsQuery(JobPage):
    """Which jobs are wanted."""

    model = ma.fields.String(load_default=None)
    state = ma.fields.String(load_default=None, validate=ma.validate.OneOf([*lifecycle.ACTIVE, *lifecycle.FINAL]))


@routes.route("/jobs", methods=["GET"])
@routes.arguments(JobsQuery, location="query")
@routes.response(200, "JobList")
def list_jobs(query: dict[str, Any]) -> Response:
    """Jobs, newest first; `after` takes an id."""
    select = sa.select(JOBS).order_by(JOBS.c.id.desc()).limit(query["limit"] + 1)
    if query["after"] is not None:
        select = select.where(JOBS.c.id < query["after"])
    for column in ("model", "state"):
        if query[column] is not None:
            select = select.where(JOBS.c[column] == query[column])
    with context().database.read() as connection:
        rows = [document.job_document(row) for row in connection.execute(select)]
    return page(rows, query["limit"])


class WaitQuery(StrictSchema):
    """How long to wait for the job's end."""

    wait = ma.fields.Float(
        load_default=0.0,
        validate=ma.validate.Range(min=0, error="must be at least {min}. Received: {input}"),
        metadata={"description": "Answer when the job has ended, or after this many seconds; 60 at most."},
    )


@routes.route("/jobs/<job_id>", methods=["GET"])
@routes.arguments(WaitQuery, location="query")
@routes.response(200, "Job")
@routes.doc(responses=refusals(404, 503))
def show(query: dict[str, Any], job_id: str) -> Response:
    """One job; with `wait`, when it has ended or the time is up."""
    row = _find(job_id)
    if query["wait"] and row.state not in lifecycle.FINAL:
        until = monotonic() + min(query["wait"], MAXIMUM_WAIT)
        with context().wait_slot():
            while row.state not in lifecycle.FINAL and monotonic() < until:
                sleep(LOOK_SECONDS)
                row = _find(job_id)
    return json_response(document.job_document(row))


def _find(job_id: str) -> sa.Row[Any]:
    with context().database.read() as connection:
        return lifecycle.find(connection, job_id)


def _change(change: Callable[[sa.Connection], sa.Row[Any]]) -> Response:
    with context().database.write() as connection:
        return json_response(document.job_document(change(connection)), 202)


@routes.route("/jobs/<job_id>/cancel", methods=["POST"])
@routes.response(202, "Job")
@routes.doc(responses=refusals(404, 409))
def cancel(job_id: str) -> Response:
    """End a job between two batches; its checkpoints stay."""
    return _change(lambda connection: lifecycle.ask(connection, job_id, "cancel"))


@routes.route("/jobs/<job_id>/pause", methods=["POST"])
@routes.response(202, "Job")
@routes.doc(responses=refusals(404, 409))
def pause(job_id: str) -> Response:
    """Have a job save its state between two batches and wait."""
    return _change(lambda connection: lifecycle.ask(connection, job_id, "pause"))


@routes.route("/jobs/<job_id>/resume", methods=["POST"])
@routes.response(202, "Job")
@routes.doc(responses=refusals(404, 409))
def resume(job_id: str) -> Response:
    """Queue a paused job again; it goes on to the same bits."""
    return _change(lambda connection: lifecycle.resume(connection, job_id))


@routes.route("/jobs/<job_id>/history", methods=["GET"])
@routes.response(200, "History")
@routes.doc(responses=refusals(404))
def history(job_id: str) -> Response:
    """Every epoch so far, in order."""
    with context().database.read() as connection:
        lifecycle.find(connection, job_id)
        epochs = list_epochs(connection, job_id)
    return Response('{"data":[' + ",".join(epochs) + "]}", content_type="application/json")


@routes.route("/jobs/<job_id>/checkpoints", methods=["GET"])
@routes.arguments(CheckpointPage, location="query")
@routes.response(200, "CheckpointList")
@routes.doc(responses=refusals(404))
def list_checkpoints(query: dict[str, Any], job_id: str) -> Response:
    """A job's checkpoints, newest first."""
    with context().database.read() as connection:
        lifecycle.find(connection, job_id)
        rows = checkpoints.checkpoint_rows(connection, query["limit"] + 1, query["after"], job=job_id)
    return page([checkpoints.checkpoint_document(row) for row in rows], query["limit"])


class StreamHeaders(StrictSchema):
    """Where a stream goes on."""

    after = Text(
        pattern=NUMBER_PATTERN,
        load_default=None,
        data_key="Last-Event-ID",
        metadata={"description": "The id of the last event that came."},
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
def events(query: dict[str, Any], headers: dict[str, Any], job_id: str) -> Response:
    """What happened to a job, newest first.

    With `Accept: text/event-stream`, a live stream in order, from the first event or from the one after
    `Last-Event-ID`, that ends after the job's final state.
    """
    _find(job_id)
    if request.accept_mimetypes.best_match(["application/json", "text/event-stream"]) == "text/event-stream":
        return _stream(context(), job_id, int(headers["after"] or 0))
    select = sa.select(EVENTS).where(EVENTS.c.job == job_id).order_by(EVENTS.c.id.desc()).limit(query["limit"] + 1)
    if query["after"] is not None:
        select = select.where(EVENTS.c.id < int(query["after"]))
    with context().database.read() as connection:
        rows = list(connection.execute(select))
    body = ",".join(
        f'{{"id":{row.id},"type":"{row.type}","at":"{row.at}","data":{row.data}}}' for row in rows[: query["limit"]]
    )
    more = "true" if len(rows) > query["limit"] else "false"
    return Response(f'{{"data":[{body}],"has_more":{more}}}', content_type="application/json")


def _stream(parts: Context, job_id: str, after: int) -> Response:
    parts.take_wait_slot()
    response = Response(_live_events(parts, job_id, after), content_type="text/event-stream")
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Accel-Buffering"] = "no"
    # Runs however the stream ends, also when the client leaves before it began.
    response.call_on_close(parts.waiting.release)
    return response


def _live_events(parts: Context, job_id: str, after: int) -> Iterator[str]:
    """Events in the form of server-sent events (WHATWG HTML, section 9.2)."""
    yield ": stream of " + job_id + "\n\n"
    quiet_since = monotonic()
    while True:
        with parts.database.read() as connection:
            # The state is asked for first: what happened before it was final is then among the events.
            ended = lifecycle.find(connection, job_id).state in lifecycle.FINAL
            rows = events_after(connection, job_id, after, EVENTS_AT_ONCE)
        for row in rows:
            yield f"id: {row.id}\nevent: {row.type}\ndata: {row.data}\n\n"
            after = row.id
            quiet_since = monotonic()
        if len(rows) == EVENTS_AT_ONCE:
            continue
        if ended:
            return
        if monotonic() - quiet_since > KEEP_ALIVE_SECONDS:
            yield ": still here\n\n"
            quiet_since = monotonic()
        sleep(LOOK_SECONDS)
