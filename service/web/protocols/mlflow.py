"""MLflow's scoring protocol, which SageMaker's containers speak too: rows of a data frame or of tensors, and CSV.

https://mlflow.org/docs/latest/ml/deployment/deploy-model-locally/ and
https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-inference-code.html.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from flask import Response, request
from werkzeug.datastructures import MIMEAccept
from werkzeug.http import parse_accept_header, parse_options_header

from models.data.labels import label_text
from models.data.rows import Array
from models.errors import (
    Faults,
    InvalidError,
    MalformedError,
    TrainyardError,
    UnsupportedError,
    describe,
    escaped,
    listed,
    shortened,
    unknown_field,
)
from models.formats.durable import UnreachableError
from models.formats.run_state import CheckpointError
from models.registry.availability import own_names
from models.registry.callers import SERVICE
from models.registry.versions import Wanted
from models.serving.served_model import ServedModel
from service.serving.inference import Prediction, RowOverflowError
from service.serving.resolution import ServedVersion
from service.web.context import context
from service.web.errors import problem
from service.web.json_bodies import is_json, json_bytes, json_line, json_response
from service.web.memory import Held
from service.web.openapi import Resource, json_body
from service.web.openapi import refusals as problems
from service.web.protocols import json_rows, python_json
from service.web.protocols.csv_rows import CsvRows
from service.web.protocols.exchange import Exchange, Reader, Reply, version_header
from service.web.protocols.given_rows import named_rows, rows_of_json
from service.web.protocols.json_rows import in_order, matrix, named_lists
from service.web.protocols.mlflow_shapes import METHODS, SHAPES
from service.web.protocols.protocol_errors import SHAPES as ERRORS
from service.web.protocols.protocol_errors import refusals
from service.web.protocols.server import respond
from service.web.readiness import readiness

if TYPE_CHECKING:
    from wsgiref.types import WSGIEnvironment

__all__ = ["ROWS", "reader_of", "routes"]

routes = Resource(
    "mlflow",
    __name__,
    description="MLflow's scoring protocol, which SageMaker's containers speak too.",
    shapes={**SHAPES, **ERRORS},
)

CSV = "text/csv"
_PATH = re.compile(r"/(?:invocations|endpoints/([^/]+)/invocations)")
#: Bytes of CSV up to which a request may be answered at once.
_SHORT = 4_096
#: Bytes of a cell of a text beside its characters.
_CELL_BYTES = 64


def _records(rows: Any, served: ServedModel, pointer: str) -> Array:
    """Objects by column; those of a model without columns have its inputs in their order."""
    if served.plan is not None:
        return json_rows.by_row(rows, served, pointer)
    if not isinstance(rows, list) or not rows or type(rows[0]) is not dict:
        raise InvalidError.at(pointer, f"must be a list of at least one object. Received: {describe(rows)}")
    names, faults = list(rows[0]), Faults()
    for place, row in enumerate(rows):
        if type(row) is not dict or row.keys() != rows[0].keys():
            received = describe(row) if type(row) is not dict else f"members {listed(row)}"
            detail = f"must be an object with the members of the first one: {listed(names)}. Received: {received}"
            faults.add(f"{pointer}/{place}", detail)
    faults.check()
    try:
        return matrix([[row[name] for name in names] for row in rows], served, pointer)
    except InvalidError as error:
        problems = []
        for each in error.problems:
            before, _, last = each.pointer.rpartition("/")
            named = before.removeprefix(pointer) != "" and last.isdecimal()
            problems.append(replace(each, pointer=f"{before}/{escaped(names[int(last)])}") if named else each)
        raise error.with_problems(problems) from None


def _split(value: Any, served: ServedModel, pointer: str) -> Array:
    """``columns`` and ``data``, lists of values; ``index`` is left out. Columns that are numbers have no names."""
    if not isinstance(value, dict) or "data" not in value:
        detail = 'must be an object, {"columns": [name, …], "data": [[value, …], …]}'
        raise InvalidError.at(pointer, f"{detail}. Received: {describe(value)}")
    _require_known(value, {"columns", "data", "index"}, pointer)
    columns, rows, plan = value.get("columns"), value["data"], served.plan
    if plan is None:
        return matrix(rows, served, f"{pointer}/data")
    if columns is None or (isinstance(columns, list) and columns and all(type(name) is int for name in columns)):
        width = len(rows[0]) if isinstance(rows, list) and rows and isinstance(rows[0], list) else None
        names = in_order(plan, width)
        if names is None:
            detail = f"must be the names of columns; these have none, and rows must then have {listed(plan.columns)}"
            raise InvalidError.at(f"{pointer}/columns", f"{detail}. Received: rows of {describe(width)}")
        columns = names

    def place(row: int | None, column: int | None) -> str:
        where = "/columns" if row is None else f"/data/{row}"
        return pointer if row is column is None else f"{pointer}{where}{'' if column is None else f'/{column}'}"

    return named_lists(columns, rows, plan, place)


#: The members that hold rows, of which a request has one, and how each is read.
ROWS = {
    "instances": json_rows.by_row,
    "inputs": json_rows.by_column,
    "dataframe_records": _records,
    "dataframe_split": _split,
}
_FIELDS = {*ROWS, "params"}


class _Invocation(Exchange):
    """A request in JSON."""

    def __init__(self, environ: WSGIEnvironment, body: Any) -> None:
        self._as_csv = accepts_csv(environ)
        if not isinstance(body, dict):
            raise InvalidError.at("", f"must be an object with one of {listed(ROWS)}. Received: {describe(body)}")
        _require_known(body, _FIELDS)
        given = [name for name in ROWS if name in body]
        if len(given) != 1:
            received = listed(given) or "none of them"
            raise InvalidError.at("", f"must have one of {listed(ROWS)}. Received: {received}")
        (name,) = given
        self._read, self._given, self.place = ROWS[name], body[name], f"/{name}"
        if name == "dataframe_split":
            self.place = "/dataframe_split/data"
        self._method = _method(body.get("params"))

    @property
    def count(self) -> int:
        return json_rows.count(self._given)

    def rows(self, network: ServedModel) -> Array:
        return self._read(self._given, network, self.place.removesuffix("/data"))

    def given(self) -> Sequence[Any]:
        return rows_of_json(self._given)

    def moved(self, error: RowOverflowError) -> InvalidError:
        return json_rows.overflow(error, self._given, self.place)

    def reply(self, version: ServedVersion, prediction: Prediction) -> Reply:
        return _reply(prediction, self._method, as_csv=self._as_csv)


class _CsvInvocation(Exchange):
    """A request in CSV."""

    def __init__(self, environ: WSGIEnvironment, body: bytes) -> None:
        self._as_csv = accepts_csv(environ)
        _, options = parse_options_header(environ.get("CONTENT_TYPE", ""))
        self._rows = CsvRows(_text(body, options.get("charset", "utf-8")), header=_header(options.get("header")))

    @property
    def count(self) -> int:
        return len(self._rows.rows)

    def rows(self, network: ServedModel) -> Array:
        return self._rows.numbers(network)

    def given(self) -> Sequence[Any]:
        return named_rows(self._rows.names, self._rows.rows)

    def moved(self, error: RowOverflowError) -> InvalidError:
        return self._rows.overflow(error)

    def reply(self, version: ServedVersion, prediction: Prediction) -> Reply:
        return _reply(prediction, METHODS[0], as_csv=self._as_csv)


class _Reading(Reader):
    """Reads the requests of one path: of an ``endpoint``, or of the model that the query or else a setting names."""

    def __init__(self, endpoint: str | None, default_model: str = "") -> None:
        self._endpoint, self._default = endpoint, default_model

    def takes(self, environ: WSGIEnvironment) -> bool:
        kind = environ.get("CONTENT_TYPE", "")
        return (is_json(kind) or (is_csv(kind) and _is_short(environ))) and self.names_model(environ)

    def names_model(self, environ: WSGIEnvironment) -> bool:
        """Whether a request says which model it is for."""
        return bool(self._endpoint or self._default or "model=" in environ.get("QUERY_STRING", ""))

    def read(self, environ: WSGIEnvironment, body: bytes, held: Held | None) -> Exchange:
        model, wanted = _named(environ.get("QUERY_STRING", ""), self._endpoint, self._default)
        if is_csv(environ.get("CONTENT_TYPE", "")):
            if held is not None:
                held.reserve(6 * len(body) + _CELL_BYTES * (body.count(b",") + body.count(b"\n")))
            exchange: _Invocation | _CsvInvocation = _CsvInvocation(environ, body)
        else:
            exchange = _Invocation(environ, python_json.parse(body, held))
        exchange.model, exchange.wanted = model, wanted
        return exchange


def reader_of(path: str, default_model: str = "") -> Reader | None:
    """The reader of a path of ``invocations``; None for another path."""
    found = _PATH.fullmatch(path)
    return None if found is None else _Reading(found[1], default_model)


def _is_short(environ: WSGIEnvironment) -> bool:
    """Whether a body is so short that its cells are read in well under a millisecond."""
    length = environ.get("CONTENT_LENGTH", "")
    return length.isdecimal() and len(length) < 10 and int(length) <= _SHORT


def is_csv(content_type: str) -> bool:
    """Whether a body with this content type is read as CSV."""
    return content_type.partition(";")[0].strip().lower() == CSV


def accepts_csv(environ: WSGIEnvironment) -> bool:
    """Whether the answer is to be CSV; it is JSON if the request accepts both or neither."""
    accepted = environ.get("HTTP_ACCEPT", "")
    if "csv" not in accepted.lower():
        return False
    return parse_accept_header(accepted, MIMEAccept).best_match(["application/json", CSV]) == CSV


def _require_known(given: dict[str, Any], known: set[str], pointer: str = "") -> None:
    if not given.keys() <= known:
        faults = Faults()
        for name in given.keys() - known:
            faults.add(f"{pointer}/{escaped(name)}", unknown_field(name, known))
        faults.check()


def _method(params: Any) -> str:
    """What to answer, which scikit-learn's names of methods say."""
    if params is None:
        return METHODS[0]
    if not isinstance(params, dict):
        raise InvalidError.at("/params", f"must be an object. Received: {describe(params)}")
    _require_known(params, {"predict_method"}, "/params")
    method = params.get("predict_method", METHODS[0])
    if method not in METHODS:
        detail = f"must be {' or '.join(METHODS)}. Received: {describe(method)}"
        raise InvalidError.at("/params/predict_method", detail)
    return str(method)


@lru_cache(maxsize=256)
def _named(query: str, endpoint: str | None, default_model: str) -> tuple[str, Wanted]:
    """The model and version that a request names, or the default ones; raises InvalidError."""
    given = parse_qs(query, keep_blank_values=True)
    known = {"model", "version"} if endpoint is None else {"version"}
    faults = Faults()
    for name, values in given.items():
        if name not in known:
            faults.add(f"/{escaped(name)}", unknown_field(name, known))
        elif len(values) > 1 or not values[0]:
            faults.add(f"/{name}", f"must be given once, with a value. Received: {listed(values)}")
    faults.check()
    model = endpoint or given.get("model", [default_model])[0]
    if not model:
        raise InvalidError.at("/model", "must be a model's name: ?model=NAME")
    version = given.get("version", [None])[0]
    return model, int(version) if version is not None and re.fullmatch("[0-9]{1,18}", version) else version


def _text(body: bytes, charset: str) -> str:
    if charset.lower() not in ("utf-8", "utf8", "us-ascii"):
        detail = f"the charset of CSV must be utf-8. Received: {describe(charset)}"
        raise UnsupportedError("unsupported_media_type", detail)
    try:
        return body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise MalformedError("invalid_body", f"the body is not UTF-8, at byte {error.start}") from None


def _header(given: str | None) -> bool | None:
    """What the parameter ``header`` of the type says (RFC 4180, section 3)."""
    if given not in (None, "present", "absent"):
        detail = f"header of the type text/csv must be present or absent. Received: {describe(given)}"
        raise UnsupportedError("unsupported_media_type", detail)
    return None if given is None else given == "present"


def _reply(prediction: Prediction, method: str, *, as_csv: bool) -> Reply:
    headers = version_header(prediction)
    if not as_csv:
        values = prediction.labels() if method == "predict" else prediction.probabilities
        return Reply(json_line({"predictions": values}), headers=headers)
    if method == "predict_proba":
        # The numbers are those of JSON, a row a line.
        return Reply(json_bytes(prediction.probabilities)[2:-2].replace(b"],[", b"\n") + b"\n", CSV, headers)
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([[label_text(label)] for label in prediction.labels()])
    return Reply(text.getvalue().encode(), f"{CSV}; charset=utf-8", headers)


_BINARY = {"schema": {"type": "string", "format": "binary"}}
_BODY = json_body("InvocationRequest")
_ASKED: dict[str, Any] = {
    "requestBody": {**_BODY, "content": {**_BODY["content"], CSV: _BINARY}},
    "responses": {
        "200": {
            "description": "The class of each row, or its probabilities.",
            "headers": {"X-Model-Version": {"description": "The version's number.", "schema": {"type": "string"}}},
            "content": {
                "application/json": {"schema": {"$ref": "#/components/schemas/Invocation"}},
                CSV: _BINARY,
            },
        },
        **refusals(400, 404, 413, 415, 503, shape="InvocationError"),
    },
}


def _parameter(name: str, description: str) -> dict[str, Any]:
    return {"in": "query", "name": name, "required": False, "description": description, "schema": {"type": "string"}}


_VERSION = _parameter("version", "A version's number or an alias; the alias `default` if left out.")
_MODEL = _parameter("model", "The model; that of the setting `TRAINYARD_DEFAULT_MODEL` if left out.")


def _answered(reader: _Reading) -> Response:
    kind = request.content_type or ""
    if not (is_json(kind) or is_csv(kind)):
        received = shortened(request.mimetype)
        detail = f"the body must be application/json or {CSV}. Received: {received}"
        raise UnsupportedError("unsupported_media_type", detail)
    return respond(reader)


@routes.route("/invocations", methods=["POST"])
@routes.response(200, "Invocation")
@routes.doc(parameters=[_MODEL, _VERSION], **_ASKED)
def invoke_model() -> Response:
    """Predict the class of each row, or its probabilities.

    Probabilities are the answer to `"params": {"predict_method": "predict_proba"}`. The rows are `instances`, `inputs`,
    `dataframe_split` or `dataframe_records` in JSON, or CSV. The answer is CSV if `Accept` says so.
    """
    parts = context()
    reader = _Reading(None, parts.settings.default_model)
    if not reader.names_model(request.environ):
        with parts.database.read() as connection:
            known = own_names(connection)
        detail = "must name the model: ?model=NAME, or the setting TRAINYARD_DEFAULT_MODEL for all requests"
        raise InvalidError.at("/model", f"{detail}. Models are {listed(known) or 'none yet'}")
    return _answered(reader)


@routes.route("/endpoints/<name>/invocations", methods=["POST"])
@routes.response(200, "Invocation")
@routes.doc(parameters=[_VERSION], **_ASKED)
def invoke_endpoint(name: str) -> Response:
    """Predict with the model that the path names, and else as without one."""
    return _answered(_Reading(name))


@routes.route("/ping", methods=["GET"])
@routes.response(200, {"type": "object", "properties": {"status": {"const": "ready"}}})
@routes.doc(security=[], responses=problems(503))
def check_ping() -> Response:
    """Check that the service can predict.

    If every client is let in without a key (`TRAINYARD_KEYS=off`), the model of `TRAINYARD_DEFAULT_MODEL` must have a
    version that can be loaded.
    """
    _, wrong = readiness()
    detail = "; ".join(wrong) or _fault_of_default()
    if detail is None:
        return json_response({"status": "ready"})
    return problem(503, "not_ready", detail, headers={"Retry-After": "1"})


def _fault_of_default() -> str | None:
    """Why the default model cannot answer; None if it can, or if each owner has a model of that name."""
    parts = context()
    if not parts.settings.default_model or parts.settings.keys != "off":
        return None
    try:
        parts.serving.of(SERVICE).steady(parts.settings.default_model, None)
    except TrainyardError as error:
        return f"TRAINYARD_DEFAULT_MODEL: {error.detail}"
    except (CheckpointError, UnreachableError) as error:
        return f"TRAINYARD_DEFAULT_MODEL: {error}"
    return None


@routes.route("/health", methods=["GET"])
@routes.response(200, {"type": "object", "properties": {"status": {"const": "ready"}}})
@routes.doc(security=[], responses=problems(503))
def check_health() -> Response:
    """Check that the service can predict, under another name."""
    return check_ping()
