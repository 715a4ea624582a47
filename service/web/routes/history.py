"""The route of a job's history."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from flask import Response, request

from models.schemas import left_out
from service.jobs import lifecycle
from service.jobs.events import HistoryPlace, list_epochs, newest_event_ids
from service.jobs.record import Job
from service.jobs.thinned_history import best_epochs, thinned
from service.web.context import Context, context
from service.web.openapi import Resource, refusals
from service.web.pagination import MAXIMUM_EPOCHS, HistoryPage
from service.web.query_numbers import QueryWhole
from service.web.streaming import streamed

__all__ = ["routes"]

routes = Resource("history", __name__, description="The epochs of jobs.")

NDJSON = "application/x-ndjson"
#: Epochs that a stream reads at once.
EPOCHS_AT_ONCE = 1000


class HistoryQuery(HistoryPage):
    """A page of a job's epochs, or about so many of all of them."""

    points = QueryWhole(
        2,
        MAXIMUM_EPOCHS,
        load_default=left_out,
        metadata={
            "description": "About so many epochs, of each member if there are several, instead of a page: the ends, "
            "the best one, and the extremes of `loss` and `validation_loss` between them. `limit` has no effect then."
        },
    )


@routes.route("/jobs/<job_id>/history", methods=["GET"])
@routes.arguments(HistoryQuery, location="query")
@routes.response(200, "History")
@routes.doc(
    responses={200: {"content": {NDJSON: {"schema": {"$ref": "#/components/schemas/Epoch"}}}}, **refusals(404, 503)},
)
def show_history(query: dict[str, Any], job_id: str) -> Response:
    """List the epochs so far, oldest first.

    If the job trains several members, each epoch has its `member`, and `member` selects those of one. If `Accept` asks
    for `application/x-ndjson`, the response is a stream with one epoch per line. Of more than 10,000 epochs, the
    history has some: see `History`. With `points`, it has as many as a drawing needs, and the answer's `event` is what
    to send as `Last-Event-ID` for a stream of the job's events that goes on behind them.
    """
    limit, member = query["limit"], query["member"]
    after = _place(query["after"] or "0", member)
    with context().database.read() as connection:
        job = lifecycle.find(connection, job_id)
        if query["points"] is not None:
            everything = _all_epochs(connection, job_id, after, member)
            return _few(connection, job, thinned(everything, query["points"], best_epochs(job)))
        if _wants_lines():
            return streamed(_epoch_lines(context(), job_id, after, limit, member), NDJSON)
        limit = MAXIMUM_EPOCHS if limit is None else limit
        epochs = list_epochs(connection, job_id, after, limit + 1, member)
    data, more = ",".join(text for _, text in epochs[:limit]), "true" if len(epochs) > limit else "false"
    return Response(f'{{"data":[{data}],"has_more":{more}}}\n', content_type="application/json")


def _few(connection: sa.Connection, job: Job, epochs: Iterator[str]) -> Response:
    """Some epochs, and the newest event, which is read first: what comes between is seen twice rather than never."""
    newest = newest_event_ids(connection, [job.id]).get(job.id, 0)
    if _wants_lines():
        return Response("".join(f"{text}\n" for text in epochs), content_type=NDJSON)
    return Response(
        f'{{"data":[{",".join(epochs)}],"has_more":false,"event":{newest}}}\n', content_type="application/json"
    )


def _wants_lines() -> bool:
    return request.accept_mimetypes.best_match(["application/json", NDJSON]) == NDJSON


def _all_epochs(
    connection: sa.Connection, job_id: str, after: HistoryPlace, member: int | None
) -> Iterator[tuple[HistoryPlace, str]]:
    """Every epoch beyond ``after``, of which few are in memory at a time."""
    while epochs := list_epochs(connection, job_id, after, EPOCHS_AT_ONCE, member):
        yield from epochs
        after = epochs[-1][0]


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
        wanted = int(min(left, EPOCHS_AT_ONCE))
        with parts.database.read() as connection:
            epochs = list_epochs(connection, job_id, after, wanted, member)
        yield "".join(f"{text}\n" for _, text in epochs)
        if len(epochs) < wanted:
            return
        after, left = epochs[-1][0], left - wanted
