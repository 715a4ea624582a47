"""The route of a job's history."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from flask import Response, request

from service.jobs import lifecycle
from service.jobs.events import HistoryPlace, list_epochs
from service.web.context import Context, context
from service.web.openapi import Resource, refusals
from service.web.pagination import MAXIMUM_EPOCHS, HistoryPage
from service.web.streaming import streamed

__all__ = ["routes"]

routes = Resource("history", __name__, description="The epochs of jobs.")

NDJSON = "application/x-ndjson"
#: Epochs that a stream reads at once.
EPOCHS_AT_ONCE = 1000


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
            return streamed(_epoch_lines(context(), job_id, after, limit, member), NDJSON)
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
        wanted = int(min(left, EPOCHS_AT_ONCE))
        with parts.database.read() as connection:
            epochs = list_epochs(connection, job_id, after, wanted, member)
        yield "".join(f"{text}\n" for _, text in epochs)
        if len(epochs) < wanted:
            return
        after, left = epochs[-1][0], left - wanted
