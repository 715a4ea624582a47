"""Triton's extension of the Open Inference Protocol for the repository of models.

https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_model_repository.md

Every published version can answer at any time; whether a worker has it in memory is only a matter of time.
"""

from __future__ import annotations

from typing import Any

from flask import Response, request

from models.errors import Faults, InvalidError, describe, escaped, unknown_field
from models.registry.published import Default, default_versions
from service.web.context import context
from service.web.json_bodies import json_response, parse_json, read_body
from service.web.memory import held_by
from service.web.openapi import Resource, json_body
from service.web.protocols.protocol_errors import SHAPES as ERRORS
from service.web.protocols.protocol_errors import refusals
from service.web.protocols.tensor_shapes import SHAPES

__all__ = ["routes"]


routes = Resource(
    "inference repository",
    __name__,
    description="Triton's model repository extension of the Open Inference Protocol.",
    shapes={**SHAPES, **ERRORS},
)

_REFUSALS = refusals(400, 401, 403, 404, 413, 503)


@routes.route("/v2/repository/index", methods=["POST"])
@routes.response(200, "IndexResponse")
@routes.doc(requestBody={**json_body("IndexRequest"), "required": False}, responses=refusals(400, 401, 403, 413, 503))
def index_inference_models() -> Response:
    """List models, the newest first, each with the version that answers if a request names none.

    At most 10,000 are listed. A model without a version, and one whose file is damaged or missing, is `UNAVAILABLE`.
    The metadata of a model list all its versions.
    """
    ready = _body({"ready", "repository_name"}).get("ready", False)
    if type(ready) is not bool:
        raise InvalidError.at("/ready", f"must be true or false. Received: {describe(ready)}")
    with context().database.read() as connection:
        found = default_versions(connection)
    return json_response([_entry(each) for each in found if not ready or _is_ready(each)])


@routes.route("/v2/repository/models/<name>/load", methods=["POST"])
@routes.response(200, "Loaded")
@routes.doc(requestBody={**json_body("LoadRequest"), "required": False}, responses=_REFUSALS)
def load_inference_model(name: str) -> Response:
    """Load a model's default version into the memory of the worker that answers.

    It need not be loaded before it is asked for predictions: this fails early if it cannot be.
    """
    parameters = _parameters()
    if "config" in parameters:
        raise InvalidError.at("/parameters/config", "must be left out: a version's configuration does not change")
    context().serving.steady(name, None)
    return json_response({})


@routes.route("/v2/repository/models/<name>/unload", methods=["POST"])
@routes.response(200, "Loaded")
@routes.doc(requestBody={**json_body("LoadRequest"), "required": False}, responses=_REFUSALS)
def unload_inference_model(name: str) -> Response:
    """Drop all versions of a model from the memory of the worker that answers.

    The model stays available: the next request for it loads it again.
    """
    _parameters()
    context().serving.unload(name)
    return json_response({})


def _body(known: set[str]) -> dict[str, Any]:
    """The body, which may be empty, whatever its type is."""
    content = read_body(request)
    document: Any = parse_json(content, held_by(request.environ)) if content.strip() else {}
    if type(document) is not dict:
        raise InvalidError.at("", f"must be an object. Received: {describe(document)}")
    faults = Faults()
    for name in document:
        if name not in known:
            faults.add(f"/{escaped(name)}", unknown_field(name, known))
    faults.check()
    return document


def _parameters() -> dict[str, Any]:
    parameters = _body({"parameters"}).get("parameters")
    if parameters is None:
        return {}
    if type(parameters) is not dict:
        raise InvalidError.at("/parameters", f"must be an object. Received: {describe(parameters)}")
    return parameters


def _is_ready(found: Default) -> bool:
    return found.version is not None and found.fault is None


def _entry(found: Default) -> dict[str, str]:
    if found.version is None:
        reason = "it has no version yet; one is published when a job succeeds"
        return {"name": found.model, "state": "UNAVAILABLE", "reason": reason}
    state = {"name": found.model, "version": str(found.version)}
    if found.fault is not None:
        return {**state, "state": "UNAVAILABLE", "reason": f"its file is {found.fault}"}
    return {**state, "state": "READY", "reason": ""}
