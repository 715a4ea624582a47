"""Routes of events: those of one job, and those of all jobs."""

from __future__ import annotations

from typing import Any

from flask import Response, request

from models.schemas import StrictSchema, Text, left_out
from service.jobs import lifecycle
from service.jobs.events import EventRecord, newest_event_id, newest_events, newest_events_of_all
from service.web.context import context
from service.web.live_events import LiveEvents, LiveEventsOfAll
from service.web.openapi import Resource, refusals
from service.web.pagination import NUMBER_PATTERN, NumberPage
from service.web.streaming import streamed

__all__ = ["routes"]

routes = Resource("events", __name__, description="What happens to jobs, as lists and as live streams.")

EVENT_STREAM = "text/event-stream"
_STREAM = {200: {"content": {EVENT_STREAM: {"schema": {"type": "string"}}}}}


class StreamHeaders(StrictSchema):
    """Headers of an event stream: the event after which it continues."""

    after = Text(
        pattern=NUMBER_PATTERN,
        load_default=left_out,
        data_key="Last-Event-ID",
        metadata={"description": "The id of the last event received."},
    )


class AllEventsPage(NumberPage):
    """A page of the events of all jobs, or where a stream of them begins."""

    after = Text(
        pattern=NUMBER_PATTERN,
        load_default=left_out,
        metadata={
            "description": "An event's id: a list, which has the newest event first, goes on below it; a stream begins "
            "with the next newer one, unless there is a `Last-Event-ID`."
        },
    )


@routes.route("/jobs/<job_id>/events", methods=["GET"])
@routes.arguments(NumberPage, location="query")
@routes.arguments(StreamHeaders, location="headers")
@routes.response(200, "EventList")
@routes.doc(responses={**_STREAM, **refusals(404, 503)})
def list_job_events(query: dict[str, Any], headers: dict[str, Any], job_id: str) -> Response:
    """List or stream a job's events.

    The list has the newest event first. With `Accept: text/event-stream`, the response is a live stream in order; it
    starts with the first event, or the one after `Last-Event-ID`, and ends after the job's final state. The events of
    epochs are the points of the job's history. That of the best epoch so far, or of the newest, may be deleted later.
    """
    parts = context()
    with parts.database.read() as connection:
        lifecycle.find(connection, job_id)
    if _wants_stream():
        live = LiveEvents(parts.database, job_id, int(headers["after"] or 0), checks_key=parts.settings.keys != "off")
        return streamed(live, EVENT_STREAM)
    with parts.database.read() as connection:
        rows = newest_events(connection, job_id, _number(query["after"]), query["limit"] + 1)
    return _page(rows, query["limit"])


@routes.route("/events", methods=["GET"])
@routes.arguments(AllEventsPage, location="query")
@routes.arguments(StreamHeaders, location="headers")
@routes.response(200, "EventList")
@routes.doc(responses={**_STREAM, **refusals(503)})
def list_events(query: dict[str, Any], headers: dict[str, Any]) -> Response:
    """List or stream the events of all jobs.

    The data of each event names its `job`; the jobs are all that the caller sees. The list has the newest event first.
    With `Accept: text/event-stream`, the response is a live stream in order, which does not end. Without
    `Last-Event-ID` and `after`, it starts with what comes from now on. Its first lines, and those that it sends while
    nothing happens, are an `id` without data: a client that loses the connection goes on from there.
    """
    parts = context()
    if _wants_stream():
        after = _number(headers["after"] or query["after"])
        if after is None:
            with parts.database.read() as connection:
                after = newest_event_id(connection)
        live = LiveEventsOfAll(parts.database, after, checks_key=parts.settings.keys != "off")
        return streamed(live, EVENT_STREAM)
    with parts.database.read() as connection:
        rows = newest_events_of_all(connection, _number(query["after"]), query["limit"] + 1)
    return _page(rows, query["limit"])


def _wants_stream() -> bool:
    return request.accept_mimetypes.best_match(["application/json", EVENT_STREAM]) == EVENT_STREAM


def _number(text: str | None) -> int | None:
    return None if text is None else int(text)


def _page(rows: list[EventRecord], limit: int) -> Response:
    """A page of a list of at most ``limit`` events; one more means more pages."""
    body = ",".join(f'{{"id":{row.id},"type":"{row.type}","at":"{row.at}","data":{row.data}}}' for row in rows[:limit])
    more = "true" if len(rows) > limit else "false"
    return Response(f'{{"data":[{body}],"has_more":{more}}}\n', content_type="application/json")
