"""Routes of models and versions."""

from __future__ import annotations

import re
from typing import Any

import marshmallow as ma
import sqlalchemy as sa
from flask import Response, request, url_for

from models.definition.definition import ModelDefinition, NewDefinitionSchema
from models.errors import ConflictError, InvalidError, MissingError, describe
from models.registry import models, versions
from models.registry.models import find_model
from models.schemas import StrictSchema
from service.access.audit import Action, Subject, record
from service.access.usage import Usage
from service.jobs import lifecycle
from service.jobs.newest import newest_jobs
from service.jobs.record import ACTIVE
from service.jobs.submission import check_size
from service.store.files import FileKind
from service.store.tables import JOBS
from service.web import links
from service.web.context import context
from service.web.fields import Fields, picked
from service.web.fitted_features import FITTED, fitted_members
from service.web.idempotency import idempotent, remember
from service.web.json_bodies import json_response, read_json
from service.web.making_room import makes_room
from service.web.model_documents import is_short, model_document, newest_jobs_if_asked
from service.web.openapi import Resource, refusals
from service.web.pagination import MAXIMUM_MODELS, NUMBER_PATTERN, ModelPage, VersionPage, page
from service.web.response_shapes import whole_or_short

__all__ = ["routes"]


routes = Resource("models", __name__, description="Definitions and versions.")


@routes.route("/models", methods=["POST"])
@idempotent
@routes.arguments(NewDefinitionSchema)
@routes.response(201, "Model")
@routes.leads_to(201, links.MODEL)
@routes.doc(
    responses={
        "200": {
            "description": "The model exists, and this is its newest definition now.",
            "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Model"}}},
        },
        **refusals(409, 429),
    }
)
def define_model(given: tuple[ModelDefinition, bool]) -> Response:
    """Define a model, or give it another definition.

    Returns 200 if the model exists. The next jobs train its newest definition. Versions and jobs keep their own: see
    `GET /models/{name}/versions/{version}`. With `exact`, another definition is refused with 409.
    """
    definition, exact = given
    limits = context().limits
    check_size(definition, limits, read_json(request), "")
    with context().database.write() as connection:
        before = None
        if models.exists(connection, definition.name):
            before = find_model(connection, definition.name).definition
        else:
            limits.require_model(Usage(connection))
        row, new = models.define_model(connection, definition, exact=exact)
        if before != definition:
            record(connection, Action.MADE, Subject.MODEL, definition.name)
        location = url_for("models.show_model", name=definition.name)
        document = model_document(row, newest_jobs(connection, [row.number]))
        return remember(connection, json_response(document, 201 if new else 200, {"Location": location}))


@routes.route("/models", methods=["GET"])
@routes.arguments(ModelPage, location="query")
@routes.response(200, "ModelList")
@routes.leads_to(200, links.MODELS)
def list_models(query: dict[str, Any]) -> Response:
    """List all models, newest first.

    `after` takes a model's name. A key with the scope `admin` lists the models of all owners, and `after` then takes
    `owner~name` for those of others. With `fields=name,default,metrics,job,created_at`, or some of these, no
    definition is read, which is many times faster, and `limit` may be up to 1,000.
    """
    limit, fields = query["limit"], query["members"]
    if limit > MAXIMUM_MODELS and not is_short(fields):
        raise InvalidError.at("/limit", f"must be at most {MAXIMUM_MODELS} with definitions. Received: {limit}")
    with context().database.read() as connection:
        try:
            numbers = models.numbers_of(connection, limit + 1, query["after"], query["prefix"])
        except MissingError as error:
            raise InvalidError.at("/after", error.detail) from None
        jobs = newest_jobs_if_asked(connection, numbers, fields)
        rows = models.list_models(connection, numbers)
        return page((model_document(row, jobs, fields) for row in rows), limit)


class ModelQuery(StrictSchema):
    """Query parameter of a model: which of its members to show."""

    members = Fields("Model")


@routes.route("/models/<name>", methods=["GET"])
@routes.arguments(ModelQuery, location="query")
@routes.response(200, whole_or_short("Model"))
@routes.leads_to(200, links.MODEL)
@routes.doc(responses=refusals(404))
def show_model(query: dict[str, Any], name: str) -> Response:
    """Show a model.

    Of a model that reads a table, `features`, `inputs` and `parameters` show what the default version has learned:
    the width, range and levels of each column. `inputs` and `parameters` are null before the first version, and if the
    newest definition has other features than the default version, which `GET /models/{name}/versions/default` shows.
    """
    fields = query["members"]
    with context().database.read() as connection:
        row = find_model(connection, name)
        default = None if row.default is None else versions.resolve(connection, name, row.default).checkpoint
        jobs = newest_jobs_if_asked(connection, [row.number], fields)
    document = model_document(row, jobs, fields)
    if fields is None or not fields.isdisjoint(FITTED):
        document |= picked(fitted_members(row.definition, default), fields)
    return json_response(document)


class ForceSchema(StrictSchema):
    """Query parameter of a deletion: whether to delete a model with active jobs."""

    force = ma.fields.Boolean(load_default=False, metadata={"description": "Cancel the model's active jobs."})


@routes.route("/models/<name>", methods=["DELETE"])
@routes.arguments(ForceSchema, location="query")
@routes.response(204)
@routes.doc(responses=refusals(404, 409))
@makes_room
def delete_model(query: dict[str, Any], name: str) -> Response:
    """Delete a model with its versions, aliases and checkpoints.

    The records of its jobs stay.
    """
    parts = context()
    with parts.database.write() as connection:
        number = versions.require_model(connection, name)
        active = connection.scalar(
            sa.select(sa.func.count()).where(JOBS.c.model_number == number, JOBS.c.state.in_(ACTIVE))
        )
        if active and not query["force"]:
            raise ConflictError(
                "model_in_use", f"model {describe(name)} has {active} active jobs; ?force=true cancels them"
            )
        lifecycle.abandon(connection, name)
        gone = models.delete_model(connection, name)
        record(connection, Action.DELETED, Subject.MODEL, name)
    parts.files.delete(FileKind.CHECKPOINT, *gone)
    parts.files.shadows.clear(number)
    return Response(status=204)


@routes.route("/models/<name>/versions", methods=["GET"])
@routes.arguments(VersionPage, location="query")
@routes.response(200, "VersionList")
@routes.doc(responses=refusals(404))
def list_versions(query: dict[str, Any], name: str) -> Response:
    """List a model's versions, newest first.

    `after` takes a version number.
    """
    after = None if query["after"] is None else int(query["after"])
    with context().database.read() as connection:
        rows = versions.list_versions(connection, name, query["limit"] + 1, after)
    return page([picked(row.document(whole=False), query["members"]) for row in rows], query["limit"])


class VersionQuery(StrictSchema):
    """Query parameter of a version: which of its members to show."""

    members = Fields("Version")


@routes.route("/models/<name>/versions/<version>", methods=["GET"])
@routes.arguments(VersionQuery, location="query")
@routes.response(200, whole_or_short("Version"))
@routes.leads_to(200, links.VERSION)
@routes.doc(responses=refusals(404, 409))
def show_version(query: dict[str, Any], name: str, version: str) -> Response:
    """Show a version with its definition, by number or alias.

    Of a version that reads a table, `inputs`, `parameters` and `features` show what it has learned of each column.
    """
    wanted = int(version) if re.fullmatch(NUMBER_PATTERN, version) else version
    with context().database.read() as connection:
        row = versions.resolve(connection, name, wanted)
    fields, fitted = query["members"], dict[str, Any]()
    if fields is None or not fields.isdisjoint(FITTED):
        fitted = fitted_members(ModelDefinition.parse(row.definition), row.checkpoint)
    return json_response(picked({**row.document(), **fitted}, fields))
