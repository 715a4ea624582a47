"""The training route."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from flask import Response

from models.definition.definition import loss_field, optimizer_field
from models.training.dry_run import dry_run
from models.training.request import TrainingRequest, TrainSchema
from service.jobs.submission import check, check_start_checkpoint, resolve_definition, store
from service.store.request_rows import Source
from service.web.context import context
from service.web.idempotency import idempotent
from service.web.json_bodies import json_response
from service.web.openapi import Resource, refusals

__all__ = ["routes"]


routes = Resource("training", __name__, description="Training and dry runs.")


@routes.route("/train", methods=["POST"])
@idempotent
@routes.arguments(TrainSchema)
@routes.response(202, "Job")
@routes.doc(
    responses={
        "200": {
            "description": "The result of a dry run.",
            "content": {"application/json": {"schema": {"$ref": "#/components/schemas/DryRun"}}},
        },
        **refusals(400, 404, 409, 413, 503),
    }
)
def train(body: dict[str, Any]) -> Response:
    """Train a model.

    Queues a job and returns it. The request may define the model too. With `dry_run`, nothing is stored: the response
    has status 200 and reports parameters, memory, an estimated time from a few measured steps, and warnings about the
    data.
    """
    request = TrainingRequest.of(body)
    parts = context()
    data = Source(parts.database, parts.files, body["data"], "/data")
    definition, is_new = resolve_definition(body["model"], data.rows.dataset)
    given = body["validation"]
    validation = None
    if given and "fraction" not in given:
        validation = Source(parts.database, parts.files, given, "/validation")
    prepared = check(definition, request, data, validation)
    check_start_checkpoint(body["start_from"], definition, request.reinitialize)
    if body.pop("dry_run"):
        with parts.dry_run_slot():
            return json_response(dry_run(definition, request, prepared).document())
    body["optimizer"] = request.optimizer or definition.optimizer
    body["loss"] = request.loss or definition.loss
    if request.class_weights is None:
        body["class_weights"] = definition.class_weights
    told = {
        **body,
        "model": definition.name,
        "data": data.document(),
        "validation": validation.document() if validation else given,
        "optimizer": optimizer_field().serialize("optimizer", body),
        "loss": loss_field().serialize("loss", body),
        "early_stopping": None if request.early_stopping is None else asdict(request.early_stopping),
    }
    return store(definition if is_new else None, definition.name, request, told, data, validation)
