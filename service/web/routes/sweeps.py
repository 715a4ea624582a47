"""The route of sweeps; what follows are the routes of jobs."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from flask import Response

from models.training.search import SweepSchema
from service.jobs.record import Job
from service.jobs.sweeps import check_sweep, submit_sweep
from service.web import links
from service.web.context import context
from service.web.idempotency import idempotent, remember
from service.web.json_bodies import json_response
from service.web.openapi import Resource, refusals
from service.web.queued_jobs import queued
from service.web.stored_rows import hold_named

__all__ = ["routes"]


routes = Resource("sweeps", __name__, description="Trains a request with many values, and publishes the best network.")


@routes.route("/sweeps", methods=["POST"])
@idempotent
@routes.arguments(SweepSchema)
@routes.response(202, "Job")
@routes.leads_to(202, links.JOB)
@routes.doc(
    responses={
        "200": {
            "description": "The result of a dry run: `members` trials, and the seconds of all of them together.",
            "content": {"application/json": {"schema": {"$ref": "#/components/schemas/DryRun"}}},
        },
        **refusals(404, 409, 429, 507),
    }
)
def sweep(body: dict[str, Any]) -> Response:
    """Train a request with many values side by side, and publish the best network.

    Queues a job and returns it. Its `members` are the trials; all routes of jobs work for it. Every trial is checked
    before anything is stored. With `dry_run`, nothing is stored: the response has status 200 and estimates the time.
    """
    parts = context()
    hold_named(body["train"].get("data"), body["train"].get("validation"))
    if body["dry_run"]:
        checked = check_sweep(parts.database, parts.files, parts.settings, body, parts.limits)
        with parts.dry_run_slot():
            return json_response(checked.measure(parts.settings.job_processes))

    def record(connection: sa.Connection, job: Job) -> None:
        remember(connection, queued(job))

    return queued(submit_sweep(parts.database, parts.files, parts.settings, body, record, parts.limits))
