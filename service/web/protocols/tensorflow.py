"""TensorFlow Serving's REST API, which is KServe's V1 protocol too.

https://www.tensorflow.org/tfx/serving/api_rest and
https://kserve.github.io/website/docs/concepts/architecture/data-plane/v1-protocol. A label is an alias.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Any

import orjson
from flask import Response, request

from models.data.labels import label_text
from models.data.rows import Array
from models.errors import Faults, InvalidError, MissingError, describe, escaped, listed, unknown_field
from models.registry.availability import availability, own_names
from models.registry.versions import Wanted, resolve
from models.serving.served_model import ServedModel
from service.serving.inference import Prediction, RowOverflowError
from service.serving.resolution import ServedVersion
from service.web.context import context
from service.web.json_bodies import is_json, json_line, json_response, require_json
from service.web.memory import SMALL, Held
from service.web.openapi import Resource, json_body
from service.web.protocols import json_rows, python_json
from service.web.protocols.exchange import Exchange, Reader, Reply, version_header
from service.web.protocols.given_rows import rows_of_json
from service.web.protocols.protocol_errors import SHAPES as ERRORS
from service.web.protocols.protocol_errors import not_ready, refusals
from service.web.protocols.server import respond
from service.web.protocols.tensorflow_documents import SHAPES, SIGNATURES, metadata_document, status_document

if TYPE_CHECKING:
    from wsgiref.types import WSGIEnvironment

__all__ = ["reader_of", "routes"]

routes = Resource(
    "tensorflow",
    __name__,
    description="TensorFlow Serving's REST API, which is KServe's V1 protocol too.",
    shapes={**SHAPES, **ERRORS},
)

_PATH = re.compile(r"/v1/models/([^/:]+)(?:/versions/([0-9]{1,18})|/labels/([^/:]+))?:(predict|classify)")
#: What a request for predictions, or for classes, may have.
_PREDICT_FIELDS = {"signature_name", "instances", "inputs"}
_CLASSIFY_FIELDS = {"signature_name", "context", "examples"}
#: Names of the signature of ``:classify``.
_CLASSIFY_SIGNATURES = ("serving_default", "classify", "tensorflow/serving/classify")
#: Times its JSON that the answer of ``:classify`` takes while it is made.
_PAIRED = 3
#: Why ``:regress`` is refused.
_NO_REGRESSION = "models here are classifiers, which regress nothing; use :classify or :predict"


class _Predict(Exchange):
    """A request for predictions: rows as ``instances``, or columns as ``inputs``."""

    def __init__(self, model: str, wanted: Wanted, body: Any) -> None:
        self.model, self.wanted = model, wanted
        _require_members(body, _PREDICT_FIELDS)
        if ("instances" in body) == ("inputs" in body):
            have = "both" if "instances" in body else "neither"
            raise InvalidError.at("", f"must have instances, a list of rows, or inputs, columns. Received: {have}")
        self._by_row = "instances" in body
        name = "instances" if self._by_row else "inputs"
        self.place, self._given = f"/{name}", body[name]
        self._output = SIGNATURES[_signature(body, SIGNATURES)]

    @property
    def count(self) -> int:
        return json_rows.count(self._given)

    def rows(self, network: ServedModel) -> Array:
        read = json_rows.by_row if self._by_row else json_rows.by_column
        return read(self._given, network, self.place)

    def given(self) -> Sequence[Any]:
        return rows_of_json(self._given)

    def moved(self, error: RowOverflowError) -> InvalidError:
        return json_rows.overflow(error, self._given, self.place)

    def reply(self, version: ServedVersion, prediction: Prediction) -> Reply:
        values = prediction.probabilities if self._output == "probabilities" else prediction.labels()
        return Reply(
            json_line({"predictions" if self._by_row else "outputs": values}), headers=version_header(prediction)
        )


class _Classify(Exchange):
    """A request for the classes of examples, each with its score."""

    place = "/examples"

    def __init__(self, model: str, wanted: Wanted, body: Any) -> None:
        self.model, self.wanted = model, wanted
        _require_members(body, _CLASSIFY_FIELDS)
        _signature(body, _CLASSIFY_SIGNATURES)
        self._examples = _examples(body)

    @property
    def count(self) -> int:
        return json_rows.count(self._examples)

    def rows(self, network: ServedModel) -> Array:
        return json_rows.objects(self._examples, network, self.place)

    def given(self) -> Sequence[Any]:
        return rows_of_json(self._examples)

    def read(self, version: ServedVersion, held: Callable[[], Held]) -> Array:
        rows, network = super().read(version, held), version.network
        # Every class of every row has its label, and all of these pairs are in memory until they are joined.
        memory = _PAIRED * len(rows) * (network.label_bytes + network.row_bytes)
        if memory > SMALL:
            held().add(memory)
        return rows

    def reply(self, version: ServedVersion, prediction: Prediction) -> Reply:
        return Reply(b'{"results":%b}\n' % _results(prediction), headers=version_header(prediction))


class _Reading(Reader):
    """Reads the requests of one path."""

    def __init__(self, exchange: type[_Predict] | type[_Classify], model: str, wanted: Wanted) -> None:
        self._exchange, self._model, self._wanted = exchange, model, wanted

    def takes(self, environ: WSGIEnvironment) -> bool:
        return is_json(environ.get("CONTENT_TYPE", ""))

    def read(self, environ: WSGIEnvironment, body: bytes, held: Held | None) -> Exchange:
        return self._exchange(self._model, self._wanted, python_json.parse(body, held))


def reader_of(path: str) -> Reader | None:
    """The reader of a path of ``:predict`` or ``:classify``; None for another path."""
    found = _PATH.fullmatch(path)
    if found is None:
        return None
    model, version, label, verb = found.groups()
    return _Reading(_VERBS[verb], model, label if version is None else int(version))


_VERBS: dict[str, type[_Predict] | type[_Classify]] = {"predict": _Predict, "classify": _Classify}


def _require_members(body: Any, known: set[str]) -> None:
    if not isinstance(body, dict):
        raise InvalidError.at("", f"must be an object. Received: {describe(body)}")
    if not body.keys() <= known:
        faults = Faults()
        for name in body.keys() - known:
            faults.add(f"/{escaped(name)}", unknown_field(name, known))
        faults.check()


def _signature(body: dict[str, Any], known: Collection[str]) -> str:
    name = body.get("signature_name", "serving_default")
    if not isinstance(name, str) or name not in known:
        raise InvalidError.at("/signature_name", f"must be one of {listed(known)}. Received: {describe(name)}")
    return name


def _examples(body: dict[str, Any]) -> list[Any]:
    """The examples, each with what their context adds."""
    examples, shared = body.get("examples"), body.get("context", {})
    if not isinstance(examples, list) or not examples:
        detail = f"must be a list of at least one object by column. Received: {describe(examples)}"
        raise InvalidError.at("/examples", detail)
    if not isinstance(shared, dict):
        raise InvalidError.at("/context", f"must be an object by column. Received: {describe(shared)}")
    faults = Faults()
    for place, example in enumerate(examples):
        if type(example) is not dict:
            faults.add(f"/examples/{place}", f"must be an object by column. Received: {describe(example)}")
            continue
        for name in example.keys() & shared.keys():
            faults.add(f"/examples/{place}/{escaped(name)}", "must be left out, because context has it for all")
    faults.check()
    return [{**shared, **example} for example in examples] if shared else examples


def _results(prediction: Prediction) -> bytes:
    """For each row a list of pairs in the order of the classes, a label as text and its score, as JSON."""
    labels = [orjson.dumps(label_text(label)) for label in prediction.classes]
    rows = orjson.dumps(prediction.probabilities, option=orjson.OPT_SERIALIZE_NUMPY)[2:-2].split(b"],[")
    pairs = (b",".join([b"[%b,%b]" % pair for pair in zip(labels, row.split(b","), strict=True)]) for row in rows)
    return b"[[%b]]" % b"],[".join(pairs)


# The routes: of a model's default version, of a version by its number, and of one by a label.


def _answered(exchange: type[_Predict] | type[_Classify], model: str, wanted: Wanted = None) -> Response:
    require_json(request)
    return respond(_Reading(exchange, model, wanted))


def _number(version: str) -> int:
    if re.fullmatch("[0-9]{1,18}", version) is None:
        detail = f"a version is a number; an alias is a label, /labels/{describe(version)[1:-1]}"
        raise MissingError("not_found", f"{detail}. Received: {describe(version)}")
    return int(version)


_PREDICTED = {"requestBody": json_body("InstancesRequest"), "responses": refusals(400, 404, 413, 415, 503)}
_CLASSIFIED = {"requestBody": json_body("ExamplesRequest"), "responses": refusals(400, 404, 413, 415, 503)}


@routes.route("/v1/models/<bare:name>:predict", methods=["POST"])
@routes.response(200, "InstancesAnswer")
@routes.doc(**_PREDICTED)
def predict_instances(name: str) -> Response:
    """Predict rows with a model's default version.

    `instances` are answered as `predictions`, `inputs` as `outputs`: probabilities, or with the signature `predictions`
    the class of each row. Rows are lists of numbers, or objects by column.
    """
    return _answered(_Predict, name)


@routes.route("/v1/models/<bare:name>/versions/<bare:version>:predict", methods=["POST"])
@routes.response(200, "InstancesAnswer")
@routes.doc(**_PREDICTED)
def predict_instances_by_version(name: str, version: str) -> Response:
    """Predict rows with a version by its number."""
    return _answered(_Predict, name, _number(version))


@routes.route("/v1/models/<bare:name>/labels/<bare:alias>:predict", methods=["POST"])
@routes.response(200, "InstancesAnswer")
@routes.doc(**_PREDICTED)
def predict_instances_by_label(name: str, alias: str) -> Response:
    """Predict rows with a version by an alias."""
    return _answered(_Predict, name, alias)


@routes.route("/v1/models/<bare:name>:classify", methods=["POST"])
@routes.response(200, "ExamplesAnswer")
@routes.doc(**_CLASSIFIED)
def classify_examples(name: str) -> Response:
    """Predict the classes of examples with a model's default version, each class with its score."""
    return _answered(_Classify, name)


@routes.route("/v1/models/<bare:name>/versions/<bare:version>:classify", methods=["POST"])
@routes.response(200, "ExamplesAnswer")
@routes.doc(**_CLASSIFIED)
def classify_examples_by_version(name: str, version: str) -> Response:
    """Predict the classes of examples with a version by its number."""
    return _answered(_Classify, name, _number(version))


@routes.route("/v1/models/<bare:name>/labels/<bare:alias>:classify", methods=["POST"])
@routes.response(200, "ExamplesAnswer")
@routes.doc(**_CLASSIFIED)
def classify_examples_by_label(name: str, alias: str) -> Response:
    """Predict the classes of examples with a version by an alias."""
    return _answered(_Classify, name, alias)


def refuse_regression() -> None:
    """Refuse ``:regress`` with a sentence; there is no such route."""
    if request.url_rule is None and request.path.startswith("/v1/models/") and request.path.endswith(":regress"):
        raise MissingError("not_found", _NO_REGRESSION)


routes.before_app_request(refuse_regression)


@routes.route("/v1/models", methods=["GET"])
@routes.response(200, "ModelNames")
def list_model_names() -> Response:
    """List the names of the caller's own models in alphabetical order."""
    with context().database.read() as connection:
        return json_response({"models": own_names(connection)})


def _status(name: str, wanted: Wanted = None) -> Response:
    """The status of one version, or of all if none is wanted."""
    assert wanted is None or isinstance(wanted, (int, str))
    with context().database.read() as connection:
        only = None if wanted is None else resolve(connection, name, wanted).version
        found = availability(connection, name, only)
    document = status_document(name, found)
    return json_response(document, 200 if document["ready"] else 404)


_STATUS = {
    "responses": {"404": not_ready("ModelStatus", "There is no such model or version, or none of it can answer.")}
}


@routes.route("/v1/models/<bare:name>", methods=["GET"])
@routes.response(200, "ModelStatus")
@routes.doc(**_STATUS)
def show_model_status(name: str) -> Response:
    """Show the state of a model's versions, newest first, and whether the model is ready.

    A model is ready if a version is available. Of more than 1,000 versions, the newest are shown.
    """
    return _status(name)


@routes.route("/v1/models/<bare:name>/versions/<bare:version>", methods=["GET"])
@routes.response(200, "ModelStatus")
@routes.doc(**_STATUS)
def show_model_status_by_version(name: str, version: str) -> Response:
    """Show the state of a version by its number."""
    return _status(name, _number(version))


@routes.route("/v1/models/<bare:name>/labels/<bare:alias>", methods=["GET"])
@routes.response(200, "ModelStatus")
@routes.doc(**_STATUS)
def show_model_status_by_label(name: str, alias: str) -> Response:
    """Show the state of a version by an alias."""
    return _status(name, alias)


def _metadata(name: str, wanted: Wanted = None) -> Response:
    return json_response(metadata_document(context().serving.steady(name, wanted)))


@routes.route("/v1/models/<bare:name>/metadata", methods=["GET"])
@routes.response(200, "SignatureMetadata")
@routes.doc(responses=refusals(404, 503))
def show_model_metadata(name: str) -> Response:
    """Show what the default version of a model takes and answers, as TensorFlow's signatures."""
    return _metadata(name)


@routes.route("/v1/models/<bare:name>/versions/<bare:version>/metadata", methods=["GET"])
@routes.response(200, "SignatureMetadata")
@routes.doc(responses=refusals(404, 503))
def show_model_metadata_by_version(name: str, version: str) -> Response:
    """Show what a version takes and answers, by its number."""
    return _metadata(name, _number(version))


@routes.route("/v1/models/<bare:name>/labels/<bare:alias>/metadata", methods=["GET"])
@routes.response(200, "SignatureMetadata")
@routes.doc(responses=refusals(404, 503))
def show_model_metadata_by_label(name: str, alias: str) -> Response:
    """Show what a version takes and answers, by an alias."""
    return _metadata(name, alias)
