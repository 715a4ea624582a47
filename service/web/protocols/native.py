"""Predictions. Speed matters here, so the route parses its body without a schema and without a loop over numbers.

``PredictionServer`` responds without Flask, whose request and response objects would double the time. It leaves
everything that it cannot answer, above all errors, to the route.
"""

from __future__ import annotations

import io
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from flask import Response, request

from models.data.rows import Array, number_matrix
from models.errors import InvalidError, Problem, TrainyardError, describe, escaped, unknown_field
from models.registry import versions
from models.serving.served_model import ServedModel
from service.serving.inference import Prediction, RowOverflowError, infer, require_top_k
from service.serving.resolution import Serving
from service.web.context import Context, context
from service.web.errors import request_id_of
from service.web.json_bodies import is_json, json_bytes, json_response, parse_json, read_json
from service.web.openapi import Resource, json_body, refusals

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

__all__ = ["PredictionServer", "routes"]


routes = Resource("predictions", __name__, description="Class predictions with softmax probabilities.")

_FIELDS = {"model", "inputs", "version", "top_k"}
#: Key in ``environ`` under which the middleware passes its error to the route.
_REFUSAL = "trainyard.refusal"
#: Longer numbers exceed every limit, and Python refuses to parse integers with thousands of digits.
_LENGTH_DIGITS = 18


@routes.route("/predict", methods=["POST"])
@routes.response(200, "Prediction")
@routes.doc(
    requestBody=json_body("PredictRequest"),
    responses=refusals(400, 404, 409, 422),
)
def predict() -> Response:
    """Predict the classes of rows with a published version of a model."""
    refusal: TrainyardError | None = request.environ.get(_REFUSAL)
    if refusal is not None:
        raise refusal
    return json_response(_answer(context().serving, read_json(request)))


class PredictionServer:
    """WSGI middleware that responds to valid ``POST /predict`` requests and passes on all others."""

    def __init__(self, application: WSGIApplication, parts: Context) -> None:
        self._application, self._parts = application, parts

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ.get("PATH_INFO") == "/predict" and environ["REQUEST_METHOD"] == "POST":
            answer = self._try(environ)
            if answer is not None:
                headers = [
                    ("Content-Type", "application/json"),
                    ("Content-Length", str(len(answer))),
                    ("X-Request-Id", request_id_of(environ)),
                ]
                start_response("200 OK", headers)
                return [answer]
        return self._application(environ, start_response)

    def _try(self, environ: WSGIEnvironment) -> bytes | None:
        """The response body, or None if the route must respond; it gets the error or the body through ``environ``."""
        length = _length(environ)
        if environ.get("HTTP_CONTENT_ENCODING"):
            return None
        if length is None or length > self._parts.settings.max_body_bytes:
            return None
        if not is_json(environ.get("CONTENT_TYPE", "")):
            return None
        try:
            body = environ["wsgi.input"].read(length)
        except OSError:
            return None
        # The route may have to read the body again; it refuses a body that ended early.
        environ["wsgi.input"] = io.BytesIO(body)
        if len(body) != length:
            return None
        try:
            return json_bytes(_answer(self._parts.serving, parse_json(body)))
        except TrainyardError as error:
            environ[_REFUSAL] = error
        except Exception:  # noqa: BLE001, S110 - the route raises it again
            pass
        return None


def _length(environ: WSGIEnvironment) -> int | None:
    """The body's length according to the request; None if it is missing or invalid."""
    text = environ.get("CONTENT_LENGTH", "")
    return int(text) if text.isdecimal() and len(text) <= _LENGTH_DIGITS else None


def _answer(serving: Serving, body: Any) -> dict[str, object]:
    """The response document for a parsed body."""
    model, inputs, wanted, top_k = _arguments(body)
    version = serving.version(model, wanted)
    try:
        prediction = infer(version, _rows(inputs, version.network))
    except RowOverflowError as error:
        raise error.moved("", "/inputs") from None
    return _document(prediction, top_k)


def _document(prediction: Prediction, top_k: int | None) -> dict[str, object]:
    """A prediction as this protocol shows it."""
    document: dict[str, object] = {
        "model": prediction.model,
        "version": prediction.version,
        "classes": prediction.classes,
        "predictions": prediction.labels(),
        "probabilities": prediction.probabilities,
    }
    if top_k is not None:
        document["top"] = _top(prediction, top_k)
    return document


def _top(prediction: Prediction, top_k: int) -> list[list[dict[str, object]]]:
    """The most probable classes of each row; raises InvalidError if there are fewer classes than ``top_k``."""
    require_top_k(top_k, prediction.classes)
    places, probabilities = prediction.top(top_k)
    return [
        [
            {"class": prediction.classes[place], "probability": probability}
            for place, probability in zip(row.tolist(), values, strict=True)
        ]
        for row, values in zip(places, probabilities, strict=True)
    ]


def _rows(inputs: Any, served: ServedModel) -> Array:
    """The rows as an array; a flat list is one row."""
    if not isinstance(inputs, list) or not inputs or type(inputs[0]) is list:
        return number_matrix(inputs, "/inputs", served.dtype, served.inputs)
    try:
        return number_matrix([inputs], "/inputs", served.dtype, served.inputs)
    except InvalidError as error:
        raise error.moved("/inputs/0", "/inputs") from None


def _arguments(body: Any) -> tuple[str, Any, int | str | None, int | None]:
    if not isinstance(body, dict):
        raise InvalidError.at("", f"must be an object. Received: {describe(body)}")
    if not body.keys() <= _FIELDS:
        names = sorted(body.keys() - _FIELDS)[:20]
        raise InvalidError.of([Problem(f"/{escaped(name)}", unknown_field(name, _FIELDS)) for name in names])
    model: Any = body.get("model")
    inputs: Any = body.get("inputs")
    if not isinstance(model, str):
        raise InvalidError.at("/model", f"must be a model's name. Received: {describe(model)}")
    top_k = body.get("top_k")
    if top_k is not None and (type(top_k) is not int or top_k < 1):
        raise InvalidError.at("/top_k", f"must be a whole number, at least 1. Received: {describe(top_k)}")
    return model, inputs, versions.require_version_form(body.get("version")), top_k
