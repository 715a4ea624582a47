"""The Open Inference Protocol V2 over REST, with Triton's binary tensor and classification extensions.

https://github.com/kserve/open-inference-protocol/blob/main/specification/protocol/inference_rest.md and
https://github.com/triton-inference-server/server/tree/main/docs/protocol
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from flask import Response

from models.data.rows import Array
from models.errors import ConflictError, InvalidError, describe
from models.registry.availability import availability
from models.registry.integrity import DamagedError
from models.registry.versions import Wanted
from models.serving.served_model import ServedModel
from models.version import VERSION
from service.serving.inference import Prediction, RowOverflowError
from service.serving.resolution import ServedVersion
from service.web.context import context
from service.web.json_bodies import json_response
from service.web.memory import SMALL, Held
from service.web.openapi import Resource, json_body
from service.web.protocols.compression import compressed
from service.web.protocols.exchange import ENCODED, Exchange, Reader, Reply
from service.web.protocols.given_rows import rows_of_tensors
from service.web.protocols.protocol_errors import SHAPES as ERRORS
from service.web.protocols.protocol_errors import not_ready, refusals
from service.web.protocols.server import respond
from service.web.protocols.tensor_outputs import output_forms, tensor_reply
from service.web.protocols.tensor_request import HEADER, InferRequest, read_request
from service.web.protocols.tensor_rows import input_forms, tensor_rows
from service.web.protocols.tensor_shapes import BINARY, LENGTH_HEADER, SHAPES
from service.web.protocols.version_texts import wanted_of
from service.web.readiness import readiness

if TYPE_CHECKING:
    from wsgiref.types import WSGIEnvironment

__all__ = ["reader_of", "routes"]


routes = Resource(
    "open inference",
    __name__,
    description="The Open Inference Protocol V2, with Triton's extensions for binary tensors and classification.",
    shapes={**SHAPES, **ERRORS},
)

#: What is offered beside the protocol, by the names that Triton gives it.
EXTENSIONS = ["binary_tensor_data", "classification", "model_repository", "statistics"]
#: Bytes of a value of a column while it is an object.
_CELL = 120
#: Bytes of the smallest element of a body that is one tensor.
_SMALLEST = 4
_PATH = re.compile(r"/v2/models/([^/]+)(?:/versions/([^/]+))?/infer")
_NOT_READY = "There is no such model or version, or it cannot predict."
_BODY = json_body("InferRequest")
#: The documentation of a route for inference, beside that of its answer in JSON.
_INFER: dict[str, Any] = {
    "requestBody": {**_BODY, "content": {**_BODY["content"], **BINARY}},
    "parameters": [{"in": "header", "name": HEADER, **LENGTH_HEADER}],
    "responses": {
        "200": {
            "description": "The outputs.",
            "content": {"application/json": {"schema": {"$ref": "#/components/schemas/InferResponse"}}, **BINARY},
            "headers": {HEADER: LENGTH_HEADER},
        },
        **refusals(400, 401, 403, 404, 413, 503),
    },
}


@routes.route("/v2", methods=["GET"])
@routes.response(200, "InferenceServer")
@routes.doc(responses=refusals(401))
def show_inference_server() -> Response:
    """Show the server's name, its version, and the extensions of the protocol that it offers."""
    return json_response({"name": "trainyard", "version": VERSION, "extensions": EXTENSIONS})


@routes.route("/v2/health/live", methods=["GET"])
@routes.response(200, "InferenceHealth")
@routes.doc(security=[])
def check_inference_live() -> Response:
    """Check that the web process responds."""
    return json_response({"live": True})


@routes.route("/v2/health/ready", methods=["GET"])
@routes.response(200, "InferenceHealth")
@routes.doc(security=[])
@routes.doc(responses=refusals(503))
def check_inference_ready() -> Response:
    """Check that the service can predict."""
    _, wrong = readiness()
    if not wrong:
        return json_response({"ready": True, "live": True})
    return json_response({"ready": False, "live": True, "error": "; ".join(wrong)}, 503, {"Retry-After": "1"})


@routes.route("/v2/models/<name>", methods=["GET"])
@routes.response(200, "InferenceModel")
@routes.doc(responses=refusals(401, 403, 404))
def show_inference_model(name: str) -> Response:
    """Show the input and output tensors of a model, those of its default version, and its versions, newest first.

    The newest 1,000 versions are listed. An alias may stand for a version in all addresses.
    """
    return _metadata(name, None)


@routes.route("/v2/models/<name>/versions/<version>", methods=["GET"])
@routes.response(200, "InferenceModel")
@routes.doc(responses=refusals(401, 403, 404))
def show_inference_version(name: str, version: str) -> Response:
    """Show the input and output tensors of a version, by its number or an alias."""
    return _metadata(name, wanted_of(version))


@routes.route("/v2/models/<name>/ready", methods=["GET"])
@routes.response(200, "InferenceModelReady")
@routes.doc(responses={"404": not_ready("InferenceModelReady", _NOT_READY), **refusals(400, 401, 403)})
def check_model_ready(name: str) -> Response:
    """Check that a model's default version can predict: it has been published, and its file is as it was written."""
    return _ready(name, None)


@routes.route("/v2/models/<name>/versions/<version>/ready", methods=["GET"])
@routes.response(200, "InferenceModelReady")
@routes.doc(responses={"404": not_ready("InferenceModelReady", _NOT_READY), **refusals(400, 401, 403)})
def check_version_ready(name: str, version: str) -> Response:
    """Check that a version can predict, by its number or an alias."""
    return _ready(name, wanted_of(version))


@routes.route("/v2/models/<name>/infer", methods=["POST"])
@routes.response(200, "InferResponse")
@routes.doc(**_INFER)
def infer_with_model(name: str) -> Response:
    """Predict the rows in tensors with a model's default version.

    A model without columns takes one tensor, `inputs`; a model of a table takes one for each column and, if all columns
    are numbers, the single one too. A tensor's elements are in `data`, flat or nested, or they are raw bytes after the
    JSON: then `Inference-Header-Content-Length` is the length of the JSON, and the parameter `binary_data_size` that
    of the tensor. With the length 0, the whole body is one tensor.

    The outputs are `probabilities` and `predictions`: as raw bytes if `binary_data_output`, or `binary_data` of an
    output, is true. With `classification`, an output is `score:index:label` of that many most probable classes.
    """
    return respond(_InferReader(name, None))


@routes.route("/v2/models/<name>/versions/<version>/infer", methods=["POST"])
@routes.response(200, "InferResponse")
@routes.doc(**_INFER)
def infer_with_version(name: str, version: str) -> Response:
    """Predict the rows in tensors with a version, by its number or an alias."""
    return respond(_InferReader(name, version))


def _metadata(name: str, wanted: Wanted) -> Response:
    parts = context()
    found = parts.serving.steady(name, wanted)
    with parts.database.read() as connection:
        listed = availability(connection, name)
    document = {
        "name": name,
        "versions": [str(each.version) for each in listed],
        "platform": "trainyard",
        "inputs": [form._asdict() for form in input_forms(found.network)],
        "outputs": [form._asdict() for form in output_forms(found.network)],
    }
    return json_response(document)


def _ready(name: str, wanted: Wanted) -> Response:
    document: dict[str, Any] = {"name": name, "ready": True, "live": True}
    try:
        context().serving.steady(name, wanted)
    except (ConflictError, DamagedError) as error:
        # The protocol wants a status of 4xx, and no one of 5xx for what a client may ask.
        return json_response({**document, "ready": False, "error": str(error)}, 404)
    return json_response(document)


class _Inference(Exchange):
    """A request for inference."""

    def __init__(self, model: str, wanted: Wanted, given: InferRequest, environ: WSGIEnvironment, size: int) -> None:
        self.model, self.wanted, self._given, self._size = model, wanted, given, size
        self._codings = environ.get("HTTP_ACCEPT_ENCODING")
        self.sticky = _sequence(given)
        self.place = given.inputs[0].place if given.inputs else ""

    @property
    def count(self) -> int:
        if self._given.raw is not None:
            return max(1, self._size // _SMALLEST)
        # An element takes a byte at least, whatever the shape says.
        return max(1, min(self._given.inputs[0].shape[0], self._size))

    def read(self, version: ServedVersion, held: Callable[[], Held]) -> Array:
        network, count = version.network, self.count
        if self._given.raw is not None:
            count = count // network.inputs + 1
        memory = count * network.definition.inputs * ENCODED
        if network.plan is not None and not (network.takes_matrix and len(self._given.inputs) < 2):
            memory += count * len(network.plan.columns) * _CELL
        if memory > SMALL:
            held().add(memory)
        return self.rows(network)

    def rows(self, network: ServedModel) -> Array:
        return tensor_rows(self._given, network)

    def given(self) -> Sequence[Any] | None:
        return rows_of_tensors(self._given)

    def reply(self, version: ServedVersion, prediction: Prediction) -> Reply:
        reply = tensor_reply(self._given, version, prediction)
        return reply if self._codings is None else compressed(reply, self._codings)

    def moved(self, error: RowOverflowError) -> InvalidError:
        """A row of tensors has no JSON pointer of its own."""
        detail = f"row {error.row} {error.reason}"
        return error.with_problems([replace(problem, pointer=self.place, detail=detail) for problem in error.problems])


def _sequence(given: InferRequest) -> str | None:
    """What stands for a sequence of requests in Triton's protocol, which one version should answer."""
    sequence = given.parameters.get("sequence_id")
    return str(sequence) if sequence else None


class _InferReader(Reader):
    """Reads the requests of one address."""

    def __init__(self, model: str, version: str | None) -> None:
        self._model, self._version, self._wanted = model, version, wanted_of(version)

    def read(self, environ: WSGIEnvironment, body: bytes, held: Held | None) -> Exchange:
        given = read_request(body, environ.get("HTTP_INFERENCE_HEADER_CONTENT_LENGTH"), held)
        wanted = self._wanted
        if given.version:
            if self._version not in (None, given.version):
                detail = f"must be {describe(self._version)}, as in the address, or be left out"
                raise InvalidError.at("/model_version", f"{detail}. Received: {describe(given.version)}")
            wanted = wanted_of(given.version)
        return _Inference(self._model, wanted, given, environ, len(body))


def reader_of(path: str) -> Reader | None:
    """The reader of ``/v2/models/M/infer`` and ``/v2/models/M/versions/V/infer``."""
    found = _PATH.fullmatch(path) if path.startswith("/v2/") else None
    if found is None:
        return None
    model, version = (part and part.encode("latin-1").decode(errors="replace") for part in found.groups())
    return _InferReader(model, version)
