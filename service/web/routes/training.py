"""The training route."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from flask import Response

from models.training.request import TrainSchema
from service.jobs.record import Job
from service.jobs.submission import check, submit
from service.web import links
from service.web.context import context
from service.web.idempotency import idempotent, remember
from service.web.json_bodies import json_response
from service.web.openapi import Resource, refusals
from service.web.queued_jobs import queued
from service.web.stored_rows import hold_named

__all__ = ["routes"]


routes = Resource("training", __name__, description="Training and dry runs.")


@routes.route("/train", methods=["POST"])
@idempotent
@routes.arguments(TrainSchema)
@routes.response(202, "Job")
@routes.leads_to(202, links.JOB)
@routes.doc(
    responses={
        "200": {
            "description": "The result of a dry run.",
            "content": {"application/json": {"schema": {"$ref": "#/components/schemas/DryRun"}}},
        },
        **refusals(404, 409, 429, 507),
    }
)
def train(body: dict[str, Any]) -> Response:
    """Train a model.

    Queues a job and returns it. The request may define the model too. With `dry_run`, nothing is stored: the response
    has status 200 and reports parameters, memory, an estimated time from a few measured steps, and warnings about the
    data.
    """
    parts = context()
    hold_named(body["data"], body["validation"])
    if body["dry_run"]:
        checked = check(parts.database, parts.files, parts.settings, body, parts.limits)
        with parts.dry_run_slot():
            return json_response(checked.measure().document())

    def record(connection: sa.Connection, job: Job) -> None:
        remember(connection, queued(job))

    return queued(submit(parts.database, parts.files, parts.settings, body, record, parts.limits))
