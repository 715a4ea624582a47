"""The route that makes a kept checkpoint a version."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, ClassVar

import sqlalchemy as sa
from flask import Response, url_for

from models.errors import InvalidError, describe
from models.identifiers import id_pattern
from models.registry import checkpoints, versions
from models.registry.tables import VERSIONS
from models.schemas import StrictSchema, Text
from service.access.audit import Action, Subject, record
from service.web import links
from service.web.context import context
from service.web.json_bodies import json_response
from service.web.openapi import Resource, refusals

__all__ = ["routes"]


routes = Resource("publishing", __name__, description="Makes a checkpoint that a job has kept a version.")


class KeptSchema(StrictSchema):
    """The checkpoint that becomes a version."""

    examples: ClassVar[Sequence[Any]] = ({"checkpoint": "ckpt_06f3n9w0s5vkqk2d3a4b5"},)

    checkpoint = Text(
        required=True,
        pattern=id_pattern("ckpt"),
        maximum=64,
        metadata={"description": "A checkpoint of this model, also of a job that runs."},
    )


@routes.route("/models/<name>/versions", methods=["POST"])
@routes.arguments(KeptSchema)
@routes.response(201, "Version")
@routes.leads_to(201, links.VERSION)
@routes.doc(
    responses={
        "200": {
            "description": "The checkpoint is this version already.",
            "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Version"}}},
        },
        **refusals(404, 409),
    }
)
def publish_checkpoint(body: dict[str, Any], name: str) -> Response:
    """Publish a checkpoint that a job has kept as the model's next version.

    So a job that was cancelled, or still runs, can answer by its number. No file is copied, and a published checkpoint
    stays however many newer ones its job may keep. A checkpoint that is a version already is returned with status 200.
    """
    parts, wanted = context(), body["checkpoint"]
    with parts.database.read() as connection:
        versions.require_model(connection, name)
        of = checkpoints.find_checkpoint(connection, wanted)
        if of.model != name or of.owner != parts.database.caller.owner:
            detail = f"must be a checkpoint of model {describe(name)}. Received: one of {describe(of.model)}"
            raise InvalidError.at("/checkpoint", detail)
    # Its file is read now, so that no version is published that cannot answer.
    definition = parts.serving.version(name, wanted).network.definition
    with parts.database.write() as connection:
        number = versions.require_model(connection, name)
        found = checkpoints.find_checkpoint(connection, wanted)
        known = sa.select(sa.func.max(VERSIONS.c.version)).where(
            VERSIONS.c.model_number == number, VERSIONS.c.checkpoint == found.id
        )
        before = connection.scalar(known)
        version = before or versions.publish(
            connection, name, found.job, found.id, json.dumps(found.metrics), definition.canonical()
        )
        if before is None:
            record(connection, Action.PUBLISHED, Subject.VERSION, f"{name}/{version}")
        document = versions.resolve(connection, name, version).document()
    location = url_for("models.show_version", name=name, version=version)
    return json_response(document, 201 if before is None else 200, {"Location": location})
