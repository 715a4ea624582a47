"""Routes of models, their versions and aliases."""

from __future__ import annotations

import re
from typing import Any

import marshmallow as ma
import sqlalchemy as sa
from flask import Response, request, url_for

from models import registry, versions
from models.definitions import DefinitionSchema, ModelDefinition
from models.errors import ConflictError, InvalidError, MissingError
from models.identifiers import NAME_PATTERN
from models.schemas import Bounds, StrictSchema, Text, Whole
from service import queue
from service.context import context, page
from service.database import JOBS
from service.idempotency import idempotent, remember
from service.openapi import Resource, refusals
from service.pages import NUMBER_PATTERN, NumberPage, PageSchema
from service.wire import json_response, read_json

__all__ = ["models"]

models = Resource("models", __name__, description="Definitions, versions and aliases.")


@models.route("/models", methods=["POST"])
@idempotent
@models.arguments(DefinitionSchema)
@models.response(201, "Model")
@models.doc(responses={"200": {"description": "The very same definition was there."}, **refusals(409)})
def define(definition: ModelDefinition) -> Response:
    """Define a model; the same definition again is answered with 200."""
    check_size(definition, read_json(request), "")
    with context().database.write() as connection:
        row, new = registry.define(connection, definition)
        location = url_for("models.show", name=definition.name)
        return remember(connection, json_response(row.document(), 201 if new else 200, {"Location": location}))


def check_size(definition: ModelDefinition, given: dict[str, Any], pointer: str) -> None:
    """Raise InvalidError where a model has more parameters than this service allows; ``given`` is what it came from."""
    limit, count = context().settings.max_parameters, definition.parameter_count
    if count > limit:
        place = "hidden" if "hidden" in given else "layers"
        raise InvalidError.at(f"{pointer}/{place}", f"must have at most {limit} parameters in all. Received: {count}")


@models.route("/models", methods=["GET"])
@models.arguments(PageSchema, location="query")
@models.response(200, "ModelList")
def list_models(query: dict[str, Any]) -> Response:
    """All models, newest first; `after` takes a name."""
    with context().database.read() as connection:
        try:
            names = registry.model_names(connection, query["limit"] + 1, query["after"])
        except MissingError as error:
            raise InvalidError.at("/after", error.detail) from None
        rows = [registry.find_model(connection, name).document() for name in names]
    return page(rows, query["limit"])


@models.route("/models/<name>", methods=["GET"])
@models.response(200, "Model")
@models.doc(responses=refusals(404))
def show(name: str) -> Response:
    """One model."""
    with context().database.read() as connection:
        return json_response(registry.find_model(connection, name).document())


class ForceSchema(StrictSchema):
    """Whether to go through with it."""

    force = ma.fields.Boolean(load_default=False, metadata={"description": "Cancel active jobs of the model."})


@models.route("/models/<name>", methods=["DELETE"])
@models.arguments(ForceSchema, location="query")
@models.response(204)
@models.doc(responses=refusals(404, 409))
def delete(query: dict[str, Any], name: str) -> Response:
    """Delete a model with its versions, aliases and checkpoints; its jobs stay on record."""
    parts = context()
    with parts.database.write() as connection:
        active = connection.scalar(
            sa.select(sa.func.count()).where(JOBS.c.model == name, JOBS.c.state.in_(queue.ACTIVE))
        )
        if active and not query["force"]:
            raise ConflictError("model_in_use", f"model {name!r} has {active} active jobs; ?force=true cancels them")
        queue.abandon(connection, name)
        gone = registry.delete_model(connection, name)
    for checkpoint_id in gone:
        parts.storage.checkpoint(checkpoint_id).unlink(missing_ok=True)
    return Response(status=204)


@models.route("/models/<name>/versions", methods=["GET"])
@models.arguments(NumberPage, location="query")
@models.response(200, "VersionList")
@models.doc(responses=refusals(404))
def list_versions(query: dict[str, Any], name: str) -> Response:
    """A model's versions, newest first; `after` takes a version's number."""
    after = None if query["after"] is None else int(query["after"])
    with context().database.read() as connection:
        rows = versions.versions(connection, name, query["limit"] + 1, after)
    return page(rows, query["limit"])


@models.route("/models/<name>/versions/<version>", methods=["GET"])
@models.response(200, "Version")
@models.doc(responses=refusals(404, 409))
def show_version(name: str, version: str) -> Response:
    """One version, by number or alias."""
    wanted = int(version) if re.fullmatch(NUMBER_PATTERN, version) else version
    with context().database.read() as connection:
        return json_response(versions.resolve(connection, name, wanted))


@models.route("/models/<name>/aliases", methods=["GET"])
@models.response(200, "AliasList")
@models.doc(responses=refusals(404))
def list_aliases(name: str) -> Response:
    """The aliases that were set."""
    with context().database.read() as connection:
        found = versions.aliases(connection, name)
    rows = [{"model": name, "alias": alias, "version": version} for alias, version in found.items()]
    return json_response({"data": rows, "has_more": False})


class AliasTargetSchema(StrictSchema):
    """What an alias shall name."""

    version = Whole(Bounds(minimum=1, maximum=2**53), required=True)


@models.route("/models/<name>/aliases/<alias>", methods=["PUT"])
@models.arguments(AliasTargetSchema)
@models.response(200, "Alias")
@models.doc(responses=refusals(404, 409))
def put_alias(body: dict[str, Any], name: str, alias: str) -> Response:
    """Let an alias name a version; `default` is what requests get that name no version."""
    try:
        Text(pattern=NAME_PATTERN, maximum=63).deserialize(alias)
    except ma.ValidationError as error:
        raise InvalidError.at("", f"the alias {error.messages[0]}") from None
    if alias.isdecimal():
        raise InvalidError.at("", f"the alias must not be a number, which names a version itself. Received: {alias!r}")
    with context().database.write() as connection:
        versions.set_alias(connection, name, alias, body["version"])
    return json_response({"model": name, "alias": alias, "version": body["version"]})


@models.route("/models/<name>/aliases/<alias>", methods=["GET"])
@models.response(200, "Alias")
@models.doc(responses=refusals(404))
def show_alias(name: str, alias: str) -> Response:
    """The version that an alias names; `default` and `latest` answer also where nobody has set them."""
    with context().database.read() as connection:
        if alias == versions.DEFAULT:
            versions.require_model(connection, name)
            version = versions.default_of(connection, name)
        elif alias == versions.LATEST:
            versions.require_model(connection, name)
            version = versions.newest_of(connection, name)
        else:
            version = versions.aliases(connection, name).get(alias)
            if version is None:
                raise MissingError("not_found", f"model {name!r} has no alias {alias!r}")
    return json_response({"model": name, "alias": alias, "version": version})


@models.route("/models/<name>/aliases/<alias>", methods=["DELETE"])
@models.response(204)
@models.doc(responses=refusals(404))
def delete_alias(name: str, alias: str) -> Response:
    """Forget an alias; `default` then follows the newest version again."""
    with context().database.write() as connection:
        versions.remove_alias(connection, name, alias)
    return Response(status=204)
