"""This service's own protocol: ``POST /predict``.

Speed matters here, so the body is parsed without a schema and without a loop over numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from flask import Response, request

from models.data.labels import is_label
from models.data.rows import Array, NumberRows, number_matrix, packed_matrix, row_length
from models.errors import Faults, InvalidError, describe, escaped, unknown_field
from models.features.plan import ServingPlan
from models.features.report import RowReport, out_of_ranges
from models.registry import versions
from models.registry.traffic import require_sticky
from models.registry.versions import Wanted
from models.serving.asked import NOTHING, Asked
from models.serving.served_model import ServedModel
from service.serving.inference import Prediction
from service.serving.resolution import ServedVersion
from service.web.json_bodies import is_json, json_line, parse_json, require_json
from service.web.memory import SMALL, Held
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
from service.web.protocols.exchange import Exchange, Reader, Reply
from service.web.protocols.npy import NpyExchange, accepts_npy, is_npy, npy_reply
from service.web.protocols.server import raise_refusal, respond

if TYPE_CHECKING:
    from wsgiref.types import WSGIEnvironment

__all__ = ["reader_of", "routes"]


routes = Resource("predictions", __name__, description="Class predictions with softmax probabilities.")

#: The members that give rows, of which a request has one.
_ROWS = ("inputs", "rows")
_FIELDS = {
    *("model", "version", "sticky", "top_k", "report", "columns", *_ROWS),
    *("coverage", "by_class", "uncertainty", "explain"),
}
#: The members that a request for probabilities alone lacks.
_ASKED = ("coverage", "by_class", "uncertainty", "explain", "report")


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

    With `?model=` and the type `application/x-npy`, the body is a matrix of numbers as `numpy.save` writes it, and the
    answer is the matrix of probabilities, with a column for each class of the version.
    """
    raise_refusal(request.environ)
    if names_file() and not is_npy(request.content_type or ""):
        return predicted_file()
    if not is_npy(request.content_type or ""):
        require_no_file_options()
        require_json(request)
    return respond(_READER)


class _Native(Exchange):
    """A request of this service's own protocol, parsed."""

    def __init__(self, body: Any, *, as_npy: bool = False, has_truths: bool = True) -> None:
        self._packs = not has_truths
        self.model, self.wanted, self._top_k, self.asked = _arguments(body)
        self.sticky = require_sticky(body.get("sticky"))
        self._body, self._as_npy = body, as_npy
        name = "inputs" if "inputs" in body else "rows"
        self.place, self._given = f"/{name}", body[name]
        if as_npy and (self._top_k is not None or self.asked is not NOTHING):
            detail = "an array holds probabilities alone: accept application/json for what is asked for besides"
            raise InvalidError.at("/top_k" if self._top_k is not None else "", detail)
        self._report: list[RowReport] | None = None

    @property
    def count(self) -> int:
        return _row_count(self._given)

    def shares(self, network: ServedModel) -> bool:
        plain = self._top_k is None and self.asked is NOTHING
        return plain and (self._as_npy or self.count * network.row_memory <= SMALL)

    def rows(self, network: ServedModel) -> Array:
        if self.asked.distance:
            rows, self._report = _reported_rows(self._body, network)
            return rows
        return _rows(self._body, network, packs=self._packs)

    def given(self) -> Sequence[Any]:
        rows: Any = self._given.numbers if isinstance(self._given, NumberRows) else self._given
        if "columns" in self._body:
            return [dict(zip(self._body["columns"], row, strict=True)) for row in rows]
        return rows if isinstance(rows[0], (list, dict, np.ndarray)) else [rows]

    def reply(self, version: ServedVersion, prediction: Prediction) -> Reply:
        if self._as_npy:
            return npy_reply(prediction)
        return Reply(json_line(plain_document(prediction)))

    def answer(self, version: ServedVersion, rows: Array, held: Callable[[], Held]) -> Reply:
        return Reply(PredictionAnswer(version, rows, self._top_k, self.asked, self._report).content(held, self.place))


class _NativeReader(Reader):
    """Reads JSON, and matrices as NumPy stores them. Files of rows, and what is compressed, are left to the route."""

    def takes(self, environ: WSGIEnvironment) -> bool:
        kind = environ.get("CONTENT_TYPE", "")
        return is_npy(kind) or (is_json(kind) and not environ.get("QUERY_STRING"))

    def read(self, environ: WSGIEnvironment, body: bytes, held: Held | None) -> Exchange:
        if is_npy(environ.get("CONTENT_TYPE", "")):
            return NpyExchange(environ, body)
        return _Native(parse_json(body, held), as_npy=accepts_npy(environ), has_truths=_has_truths(body))


def _has_truths(body: bytes) -> bool:
    """Whether there may be true or false in the lists of a body: none if no letter of both follows the first one."""
    start = body.find(b"[")
    return start < 0 or body.find(b"t", start) >= 0 or body.find(b"f", start) >= 0


_READER = _NativeReader()


def reader_of(path: str) -> Reader | None:
    """The reader of ``/predict``."""
    return _READER if path == "/predict" else None


def _row_count(rows: Any) -> int:
    """How many rows a request has that may become numbers."""
    if isinstance(rows, NumberRows):
        return len(rows.numbers)
    return len(rows) if isinstance(rows, list) and rows and isinstance(rows[0], (list, dict)) else 1


def _rows(body: dict[str, Any], served: ServedModel, *, packs: bool) -> Array:
    """What the network reads for the rows of a request."""
    if "inputs" in body:
        if served.plan is not None and _are_objects(body["inputs"]):
            return served.plan.records(body["inputs"], "/inputs")
        return _matrix(body["inputs"], served, packs=packs)
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


def _matrix(inputs: Any, served: ServedModel, *, packs: bool = False) -> Array:
    """The numbers of rows in the order of the model's columns; a flat list is one row.

    ``packs`` says that there are no truths among them.
    """
    if not served.takes_matrix:
        raise InvalidError.at("/inputs", 'is for models of numbers alone; write "rows": [{column: value, …}, …]')
    plan = None if served.plan is None or served.plan.plain else served.plan
    dtype = served.dtype if plan is None else np.float64
    flat = isinstance(inputs, list) and bool(inputs) and type(inputs[0]) is not list
    rows = [inputs] if flat else inputs
    numbers = packed_matrix(rows, np.dtype(dtype), served.inputs) if packs else None
    if numbers is not None:
        return numbers if plan is None else plan.matrix(numbers)
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
