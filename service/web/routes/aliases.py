"""Routes of aliases: names for versions, of which several may share the requests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import marshmallow as ma
from flask import Response

from models.errors import InvalidError, describe
from models.identifiers import NAME_PATTERN
from models.registry import versions
from models.registry.traffic import MOST_SHARES, Shadow, Share, Traffic
from models.schemas import Bounds, Flag, Items, Number, StrictSchema, Text, Whole
from service.access.audit import Action, Subject, record
from service.web import links
from service.web.alias_documents import ALIAS_SHAPES, alias_document, whole_alias
from service.web.context import Context, context
from service.web.downloads import record_download
from service.web.json_bodies import json_response
from service.web.making_room import makes_room
from service.web.openapi import Resource, refusals
from service.web.pagination import AliasPage, page
from service.web.streaming import streamed
from service.web.table_answers import NDJSON

__all__ = ["routes"]


routes = Resource(
    "aliases", __name__, description="Names for versions, which may share the requests.", shapes=ALIAS_SHAPES
)

#: The greatest weight; weights need not sum to anything.
MOST_WEIGHT = 1e9


def _version() -> Whole:
    return Whole(Bounds(minimum=1, maximum=2**53), required=True)


class ShareSchema(StrictSchema):
    """A version, and how much of the requests it answers in proportion to the others."""

    version = _version()
    weight = Number(Bounds(above=0, maximum=MOST_WEIGHT), required=True)


class ShadowSchema(StrictSchema):
    """A version that predicts rows after another one has answered them."""

    version = _version()
    share = Number(
        Bounds(above=0, maximum=1), load_default=1.0, metadata={"description": "Share of the requests it predicts."}
    )
    log = Flag(load_default=False, metadata={"description": "Keep the rows with what both versions predict."})


def _number(given: Any) -> int | None:
    """The version that an object names; None if it names none."""
    number = given.get("version") if isinstance(given, Mapping) else None
    return number if type(number) is int else None


class AliasTargetSchema(StrictSchema):
    """What an alias will name: a version, or several by their weights."""

    examples: ClassVar[Sequence[Any]] = ({"version": 1}, {"versions": [{"version": 1, "weight": 0.9}]})
    rules: ClassVar[Mapping[str, Any]] = {"oneOf": [{"required": ["version"]}, {"required": ["versions"]}]}

    version = Whole(Bounds(minimum=1, maximum=2**53))
    versions = Items(
        ma.fields.Nested(ShareSchema),
        minimum=1,
        maximum=MOST_SHARES,
        metadata={"description": "Different versions. Each answers its weight of the sum of all weights."},
    )
    shadow = ma.fields.Nested(ShadowSchema, load_default=None, allow_none=True)

    @ma.validates_schema(pass_original=True, skip_on_field_errors=False)
    def _check(self, _data: dict[str, Any], given: Mapping[str, Any], **_options: Any) -> None:
        """Whether the members fit together, also if there are faults in some."""
        messages: dict[Any, Any] = {}
        if "version" in given and "versions" in given:
            messages["version"] = ["must be left out if the request has versions"]
        elif "version" not in given and "versions" not in given:
            messages["version"] = ["is required, or versions: a list of objects with version and weight"]
        seen = {_number(given)} - {None}
        repeated: dict[Any, Any] = {}
        shares = given.get("versions")
        for index, share in enumerate(shares if isinstance(shares, list) and len(shares) <= MOST_SHARES else ()):
            number = _number(share)
            if number in seen:
                repeated[index] = {"version": [f"must not be repeated. Received: {number}"]}
            seen |= {number} - {None}
        if repeated:
            messages["versions"] = repeated
        shadow = _number(given.get("shadow"))
        if shadow in seen:
            messages["shadow"] = {"version": [f"must be a version that the alias does not name. Received: {shadow}"]}
        if messages:
            raise ma.ValidationError(messages)

    @ma.post_load
    def _traffic(self, data: dict[str, Any], **_options: Any) -> Traffic:
        shares = [Share(**share) for share in data["versions"]] if "versions" in data else [Share(data["version"], 1.0)]
        return Traffic(tuple(sorted(shares)), None if data["shadow"] is None else Shadow(**data["shadow"]))


@routes.route("/models/<name>/aliases", methods=["GET"])
@routes.arguments(AliasPage, location="query")
@routes.response(200, "AliasList")
@routes.doc(responses=refusals(404))
def list_aliases(query: dict[str, Any], name: str) -> Response:
    """List a model's aliases in alphabetical order."""
    with context().database.read() as connection:
        found = versions.list_aliases(connection, name, query["limit"] + 1, query["after"])
    return page([alias_document(name, alias, traffic) for alias, traffic in found], query["limit"])


@routes.route("/models/<name>/aliases/<alias>", methods=["PUT"])
@routes.arguments(AliasTargetSchema)
@routes.response(200, "Alias")
@routes.leads_to(200, links.ALIAS)
@routes.doc(
    parameters=[
        {
            "in": "path",
            "name": "alias",
            "required": True,
            "description": "A name that is no number, because numbers name versions.",
            "example": "best",
            "schema": {"type": "string", "pattern": f"^(?![0-9]+$){NAME_PATTERN}$"},
        }
    ],
    responses=refusals(404, 409),
)
def put_alias(traffic: Traffic, name: str, alias: str) -> Response:
    """Set an alias to a version, or to several that share its requests by their weights.

    The alias `default` selects the version for requests that name no version. A request to several versions is
    answered by one of them, which the answer names: by chance, or always by the same one if the request has `sticky`, a
    text such as a customer's number, or the header `Trainyard-Sticky`. With `shadow`, another version predicts the same
    rows after the answer was sent, and `GET` shows how often both agree.
    """
    try:
        Text(pattern=NAME_PATTERN, maximum=63).deserialize(alias)
    except ma.ValidationError as error:
        raise InvalidError.at("", f"the alias {error.messages[0]}") from None
    if alias.isdecimal():
        raise InvalidError.at(
            "", f"the alias must not be a number, because numbers name versions. Received: {describe(alias)}"
        )
    with context().database.write() as connection:
        versions.set_alias(connection, name, alias, traffic)
        record(connection, Action.PUBLISHED, Subject.ALIAS, f"{name}/{alias}")
    return json_response(alias_document(name, alias, traffic))


@routes.route("/models/<name>/aliases/<alias>", methods=["GET"])
@routes.response(200, "Alias")
@routes.leads_to(200, links.ALIAS)
@routes.doc(responses=refusals(404))
def show_alias(name: str, alias: str) -> Response:
    """Show what an alias names, and of each version its metrics and what it has served.

    `default` and `latest` always exist. `latest` names the newest version, and so does `default` if it is not set.
    `version` is the one with the greatest weight. What was served is counted since the service started, whichever name
    the requests have used.
    """
    return json_response(whole_alias(context(), name, alias))


@routes.route("/models/<name>/aliases/<alias>", methods=["DELETE"])
@routes.response(204)
@routes.doc(responses=refusals(404))
@makes_room
def delete_alias(name: str, alias: str) -> Response:
    """Delete an alias.

    If `default` is deleted, it names the newest version again. What its shadow has logged is deleted too.
    """
    parts = context()
    with parts.database.write() as connection:
        number = versions.require_model(connection, name)
        versions.remove_alias(connection, name, alias)
        record(connection, Action.DELETED, Subject.ALIAS, f"{name}/{alias}")
    parts.files.shadows.clear(number, alias)
    return Response(status=204)


@routes.route("/models/<name>/aliases/<alias>/shadow", methods=["GET"])
@routes.response(200, {"type": "string"}, content_type=NDJSON)
@routes.doc(responses=refusals(404))
def download_shadow_log(name: str, alias: str) -> Response:
    """Download the rows that a shadow has predicted, as lines of JSON, the oldest first.

    Each line is a row: `at`, `request_id`, `index` (its place in the request), `sticky`, `model`, `alias`, `version`
    and `shadow_version`, `row` as the request has it (null for a table's row as an array), `prediction` and
    `probabilities` of the version that answered, `shadow_prediction` and `shadow_probabilities` of the other. There are
    none unless the shadow has `log`. The oldest lines are deleted if all logs take more than `TRAINYARD_SHADOW_BYTES`.
    """
    parts = context()
    number = _number_of(parts, name, alias)
    response = streamed(parts.files.shadows.lines(number, alias), NDJSON)
    return record_download(response, Subject.ALIAS, f"{name}/{alias}", parts.database.caller.owner)


@routes.route("/models/<name>/aliases/<alias>/shadow", methods=["DELETE"])
@routes.response(204)
@routes.doc(responses=refusals(404))
@makes_room
def clear_shadow_log(name: str, alias: str) -> Response:
    """Delete the rows that a shadow has logged. It goes on to log new ones."""
    parts = context()
    parts.files.shadows.clear(_number_of(parts, name, alias), alias)
    return Response(status=204)


def _number_of(parts: Context, name: str, alias: str) -> int:
    """The number of a model with this alias; raises MissingError."""
    with parts.database.read() as connection:
        versions.traffic(connection, name, alias)
        return versions.require_model(connection, name)
