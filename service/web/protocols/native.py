"""Predictions. Speed matters here, so the route parses its body without a schema and without a loop over numbers.

``PredictionServer`` responds without Flask, whose request and response objects would double the time. It leaves
everything that it cannot answer, above all errors, to the route.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from flask import Response, request

from models.data.labels import is_label
from models.data.rows import Array, NumberRows, number_matrix, row_length
from models.errors import Faults, InvalidError, TrainyardError, describe, escaped, unknown_field
from models.features.plan import ServingPlan
from models.features.report import RowReport, out_of_ranges
from models.identifiers import qualified
from models.registry import versions
from models.registry.versions import Wanted
from models.serving.asked import NOTHING, Asked
from models.serving.served_model import ServedModel
from service.serving.inference import RowOverflowError, infer
from service.serving.resolution import ServedVersion, Serving
from service.web.computing import Computing
from service.web.context import Context, context
from service.web.gate import CALLER
from service.web.json_bodies import LARGE, is_json, json_line, parse_json, read_json, reserve_body
from service.web.memory import SMALL, Held, held_by
from service.web.openapi import Resource, json_body, refusals
from service.web.predicted_files import (
    FILE_ANSWERS,
    FILE_BODIES,
    FILE_PARAMETERS,
    names_file,
    predicted_file,
    require_no_file_options,
)
from service.web.predictions import PredictionAnswer, plain_document
from service.web.worker.front import QuickAnswer
from service.web.worker.records import PREDICTED, Predicted
from service.web.worker.refusals import DATA_FIELDS, json_headers, quick_headers

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

__all__ = ["PredictionServer", "routes"]


routes = Resource("predictions", __name__, description="Class predictions with softmax probabilities.")

#: The members that give rows, of which a request has one.
_ROWS = ("inputs", "rows")
_FIELDS = {
    *("model", "version", "top_k", "report", "columns", *_ROWS),
    *("coverage", "by_class", "uncertainty", "explain"),
}
#: The members that a request for probabilities alone lacks.
_ASKED = ("coverage", "by_class", "uncertainty", "explain", "report")
#: Bytes of a number that the network reads, while rows become such numbers.
ENCODED = 8
#: Key in ``environ`` under which the middleware passes its error to the route.
_REFUSAL = "trainyard.refusal"
#: Rows times bytes of parameters up to which a prediction takes well under a millisecond.
_AT_ONCE_BYTES = 8 * 2**20
#: Longer numbers exceed every limit, and Python refuses to parse integers with thousands of digits.
_LENGTH_DIGITS = 18


@routes.route("/predict", methods=["POST"])
@routes.response(200, "Prediction")
@routes.doc(
    requestBody={
        **json_body("PredictRequest"),
        "content": {**json_body("PredictRequest")["content"], **FILE_BODIES},
    },
    parameters=FILE_PARAMETERS,
    responses={"200": FILE_ANSWERS, **refusals(400, 404, 406, 409, 413, 415, 422, 503)},
)
def predict() -> Response:
    """Predict the classes of rows with a version of a model, or with a checkpoint.

    With `?model=`, the body is a file of rows: CSV, Parquet, NDJSON or a JSON array of objects, plain or compressed by
    gzip or zstd. The answer is a file of the type that `Accept` names: the columns that came, then `prediction` and
    `probability`, and with `?probabilities=true` a column for each class. With `&dataset=` and no body, the rows are
    those of a stored dataset. Values are written in their shortest form,
    times in ISO 8601, missing values empty or null. The header `X-Model-Version` names the version that answered.
    """
    refusal: TrainyardError | None = request.environ.get(_REFUSAL)
    if refusal is not None:
        try:
            raise refusal
        finally:
            del refusal  # Its traceback refers to this frame.
    if names_file():
        return predicted_file()
    require_no_file_options()
    answer = _answer(context().serving, read_json(request), request.environ)
    return Response(answer, content_type="application/json")


class NotQuickError(Exception):
    """A request takes so much memory that it must not be answered at once."""


class PredictionServer:
    """WSGI middleware that responds to valid ``POST /predict`` requests and passes on all others."""

    def __init__(self, application: WSGIApplication, parts: Context) -> None:
        self._application, self._parts, self._computing = application, parts, Computing()

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ.get("PATH_INFO") == "/predict" and environ["REQUEST_METHOD"] == "POST":
            answer = self._try(environ)
            if answer is not None:
                headers = json_headers(environ)
                if not isinstance(answer, bytes):
                    start_response("200 OK", headers)
                    return answer
                headers.append(("Content-Length", str(len(answer))))
                start_response("200 OK", headers)
                return [answer]
        return self._application(environ, start_response)

    def at_once(self, environ: WSGIEnvironment, body: bytes) -> QuickAnswer | None:
        """The response to a request for few rows of a version that is loaded; None if ``__call__`` must respond."""
        if environ.get("HTTP_CONTENT_ENCODING") or environ["QUERY_STRING"]:
            return None
        if not is_json(environ.get("CONTENT_TYPE", "")) or len(body) > self._parts.body_bytes(environ):
            return None
        try:
            parsed = parse_json(body)
            model, wanted, top_k, asked = _arguments(parsed)
            version = None if asked.explain else self._parts.serving_of(environ).at_once(model, wanted)
            if version is None or not _is_quick(version.network, _row_count(parsed[_place(parsed)])):
                return None
            answer = _answered(version, parsed, top_k, asked, _hold_nothing, environ)
        except (TrainyardError, NotQuickError):
            return None
        assert isinstance(answer, bytes)
        return QuickAnswer("200 OK", quick_headers(environ), answer, DATA_FIELDS)

    def _try(self, environ: WSGIEnvironment) -> bytes | Iterator[bytes] | None:
        """The response body, whole or in blocks; None if the route must respond.

        The route gets the error or the body through ``environ``.
        """
        length = _length(environ)
        if environ.get("HTTP_CONTENT_ENCODING") or environ.get("QUERY_STRING"):
            return None
        if length is None or length > self._parts.body_bytes(environ):
            return None
        if not is_json(environ.get("CONTENT_TYPE", "")):
            return None
        held = None
        try:
            if length > LARGE:
                held = held_by(environ)
                reserve_body(held, length)
            body = environ["wsgi.input"].read(length)
        except TrainyardError as error:
            environ[_REFUSAL] = error.with_traceback(None)
            return None
        except OSError:
            return None
        # The route may have to read the body again; it refuses a body that ended early.
        environ["wsgi.input"] = io.BytesIO(body)
        if len(body) != length:
            return None
        try:
            with self._computing.turn() if length > LARGE else nullcontext():
                return _answer(self._parts.serving_of(environ), parse_json(body, held), environ)
        except TrainyardError as error:
            # The body must not outlive the request, as it would until the next garbage collection, in a cycle.
            environ[_REFUSAL] = error.with_traceback(None)
            environ["wsgi.input"] = io.BytesIO()
        except Exception:  # noqa: BLE001, S110 - the route raises it again
            pass
        return None


def _hold_nothing() -> Held:
    raise NotQuickError


def _place(body: dict[str, Any]) -> str:
    return "inputs" if "inputs" in body else "rows"


def _is_quick(network: ServedModel, count: int) -> bool:
    """Whether rows are predicted in well under a millisecond, and take little memory."""
    return count * network.nbytes <= _AT_ONCE_BYTES and count * network.row_memory <= SMALL


def _length(environ: WSGIEnvironment) -> int | None:
    """The body's length according to the request; None if it is missing or invalid."""
    text = environ.get("CONTENT_LENGTH", "")
    return int(text) if text.isdecimal() and len(text) <= _LENGTH_DIGITS else None


def _answer(serving: Serving, body: Any, environ: WSGIEnvironment) -> bytes | Iterator[bytes]:
    """The JSON of the response for a parsed body, whole or in blocks."""
    model, wanted, top_k, asked = _arguments(body)
    return _answered(serving.version(model, wanted), body, top_k, asked, partial(held_by, environ), environ)


def _answered(
    version: ServedVersion,
    body: Any,
    top_k: int | None,
    asked: Asked,
    held: Callable[[], Held],
    environ: WSGIEnvironment,
) -> bytes | Iterator[bytes]:
    """What a version answers to a parsed body, which is noted in ``environ``; ``held`` is what the request holds."""
    network = version.network
    place = f"/{_place(body)}"
    count = _row_count(body[_place(body)])
    small = count * network.row_memory <= SMALL
    if not small:
        held().add(count * network.definition.inputs * ENCODED)
    report: list[RowReport] | None = None
    try:
        if asked.distance:
            rows, report = _reported_rows(body, network)
        else:
            rows = _rows(body, network)
        if small and top_k is None and asked is NOTHING:
            answer: bytes | Iterator[bytes] = json_line(plain_document(infer(version, rows)))
        else:
            answer = PredictionAnswer(version, rows, top_k, asked, report).content(held, place)
    except RowOverflowError as error:
        raise error.moved("", place) from None
    environ[PREDICTED] = Predicted(qualified(environ[CALLER].owner, version.model), version.number, len(rows))
    return answer


def _row_count(rows: Any) -> int:
    """How many rows a request has that may become numbers."""
    if isinstance(rows, NumberRows):
        return len(rows.numbers)
    return len(rows) if isinstance(rows, list) and rows and isinstance(rows[0], (list, dict)) else 1


def _rows(body: dict[str, Any], served: ServedModel) -> Array:
    """What the network reads for the rows of a request."""
    if "inputs" in body:
        if served.plan is not None and _are_objects(body["inputs"]):
            return served.plan.records(body["inputs"], "/inputs")
        return _matrix(body["inputs"], served)
    plan = _plan(served)
    return plan.lists(body["columns"], body["rows"]) if "columns" in body else plan.records(body["rows"])


def _plan(served: ServedModel) -> ServingPlan:
    """How a model reads a table's columns; raises InvalidError if it does not."""
    if served.plan is None:
        detail = f"is for models of a table's columns; this one takes inputs, rows of {served.inputs} numbers"
        raise InvalidError.at("/rows", detail)
    return served.plan


def _reported_rows(body: dict[str, Any], served: ServedModel) -> tuple[Array, list[RowReport]]:
    """What the network reads for the rows of a request, and what is unusual about the values of each row."""
    if served.plan is None and served.trust is None:
        raise InvalidError.at("/report", "is for models of a table's columns, which state what they have seen")
    if "inputs" in body:
        if served.plan is not None and _are_objects(body["inputs"]):
            return served.plan.reported_records(body["inputs"], "/inputs")
        rows = _matrix(body["inputs"], served)
        if served.plan is None:
            return rows, out_of_ranges(rows[:, :0], np.zeros((2, 0)), ())
        given = _given(body["inputs"]).reshape(len(rows), -1)
        whole = given.shape[1] > len(served.plan.columns)
        return rows, served.plan.report_matrix(given[:, served.plan.places] if whole else given)
    plan = _plan(served)
    if "columns" in body:
        return plan.reported_lists(body["columns"], body["rows"])
    return plan.reported_records(body["rows"])


def _given(inputs: Any) -> Array:
    """The numbers of valid inputs as they came."""
    return inputs.numbers if isinstance(inputs, NumberRows) else np.array(inputs, np.float64)


def _are_objects(inputs: Any) -> bool:
    """Whether rows are objects by column rather than lists of numbers."""
    return isinstance(inputs, list) and bool(inputs) and type(inputs[0]) is dict


def _matrix(inputs: Any, served: ServedModel) -> Array:
    """The numbers of rows in the order of the model's columns; a flat list is one row."""
    if not served.takes_matrix:
        raise InvalidError.at("/inputs", 'is for models of numbers alone; write "rows": [{column: value, …}, …]')
    plan = None if served.plan is None or served.plan.plain else served.plan
    dtype = served.dtype if plan is None else np.float64
    flat = isinstance(inputs, list) and bool(inputs) and type(inputs[0]) is not list
    rows = [inputs] if flat else inputs
    length = row_length(rows)
    whole = plan is not None and plan.is_whole(length)
    try:
        numbers = number_matrix(rows, "/inputs", dtype, length if whole else served.inputs)
    except InvalidError as error:
        raise (error.moved("/inputs/0", "/inputs") if flat else error) from None
    if plan is None:
        return numbers
    return plan.matrix(numbers[:, plan.places] if whole else numbers)


def _arguments(body: Any) -> tuple[str, Wanted, int | None, Asked]:
    """Model, version, number of likeliest classes, and what is asked for beside them; raises InvalidError."""
    if not isinstance(body, dict):
        raise InvalidError.at("", f"must be an object. Received: {describe(body)}")
    if not body.keys() <= _FIELDS:
        _unknown(Faults(), body, _FIELDS).check()
    model: Any = body.get("model")
    if not isinstance(model, str):
        raise InvalidError.at("/model", f"must be a model's name. Received: {describe(model)}")
    if ("inputs" in body) == ("rows" in body) or ("columns" in body and "rows" not in body):
        _refuse_rows(body)
    top_k = body.get("top_k")
    if top_k is not None and (type(top_k) is not int or top_k < 1):
        raise InvalidError.at("/top_k", f"must be a whole number, at least 1. Received: {describe(top_k)}")
    asked = NOTHING if body.keys().isdisjoint(_ASKED) else _asked(body)
    return model, versions.require_version_form(body.get("version")), top_k, asked


def _asked(body: dict[str, Any]) -> Asked:
    """What is asked for beside probabilities; raises InvalidError."""
    report, by_class, uncertainty = (
        body.get("report", False),
        body.get("by_class", False),
        body.get("uncertainty", False),
    )
    flags = {"report": report, "by_class": by_class, "uncertainty": uncertainty}
    faults = Faults()
    for name, value in flags.items():
        if value is not True and value is not False:
            faults.add(f"/{name}", f"must be true or false. Received: {describe(value)}")
    coverage, explain = body.get("coverage"), body.get("explain", False)
    if coverage is not None and (type(coverage) not in (int, float) or not 0 < coverage < 1):
        detail = f"must be a number greater than 0 and less than 1. Received: {describe(coverage)}"
        faults.add("/coverage", detail)
    if by_class and coverage is None:
        faults.add("/by_class", "goes with coverage, which the request lacks")
    explained = None
    if isinstance(explain, dict):
        explained = explain.get("class")
        _unknown(faults, explain, {"class"}, "/explain")
        if explained is not None and not is_label(explained):
            detail = f"must be a label: a string, a whole number or a boolean. Received: {describe(explained)}"
            faults.add("/explain/class", detail)
    elif not isinstance(explain, bool):
        detail = f'must be true, false or an object, {{"class": …}}. Received: {describe(explain)}'
        faults.add("/explain", detail)
    faults.check()
    asked = Asked(coverage, by_class, uncertainty, report, explain is not False, explained)
    return NOTHING if asked == NOTHING else asked


def _unknown(faults: Faults, given: dict[str, Any], known: set[str], pointer: str = "") -> Faults:
    """The faults with the members of an object that nothing reads."""
    for name in given:
        if name not in known:
            if faults.full:
                faults.count()
            else:
                faults.add(f"{pointer}/{escaped(name)}", unknown_field(name, known))
    return faults


def _refuse_rows(body: dict[str, Any]) -> None:
    """Raise InvalidError: a request needs rows in one form."""
    if "columns" in body and "rows" not in body:
        raise InvalidError.at("/rows", "is required with columns: a list of rows, each a list of values")
    if "rows" in body:
        raise InvalidError.at("/rows", "must be left out if the request has inputs")
    if "inputs" not in body:
        detail = "must be a list of rows of numbers, or give rows: a list of objects by column. Received: null"
        raise InvalidError.at("/inputs", detail)
