"""Files of rows to predict: read by the process for untrusted tables, and answered as a stream."""

from __future__ import annotations

import re
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

from flask import Response, request

from models.data.table import Table
from models.data.words import number_of
from models.errors import InvalidError, MissingError, Problem, describe, escaped
from models.formats.stored_table import open_table
from models.identifiers import NAME_PATTERN, qualified
from models.reading.options import ReadOptions
from models.registry.datasets import find_dataset
from models.registry.versions import Wanted
from models.schemas import StrictSchema, Text, left_out, load
from models.serving.asked import Asked
from service.serving.inference import require_asked
from service.serving.predicted_table import PredictedTable
from service.serving.resolution import ServedVersion
from service.upkeep.inspection import intact_dataset
from service.uploads.exchange_table import ExchangeTable
from service.web.context import context
from service.web.file_bodies import FILE_TYPES, UploadedFile, received_upload, uploaded_file
from service.web.pagination import NUMBER_PATTERN
from service.web.protocols.npy import NPY
from service.web.sticky import sticky_of
from service.web.stored_rows import hold_dataset
from service.web.table_answers import CSV, TABLE_TYPES, accepted_type, table_answer
from service.web.worker.records import PREDICTED, Predicted

__all__ = [
    "FILE_ANSWERS",
    "FILE_BODIES",
    "FILE_PARAMETERS",
    "names_file",
    "predicted_file",
    "require_no_file_options",
]

_BINARY = {"schema": {"type": "string", "format": "binary"}}
FILE_BODIES: dict[str, Any] = dict.fromkeys((CSV, "application/octet-stream", NPY), _BINARY)
FILE_ANSWERS: dict[str, Any] = {
    "description": "The predictions; of a file, as the type that `Accept` names, CSV if any will do. Of a matrix, the "
    "probabilities as a matrix, unless `Accept` names JSON.",
    "headers": {
        "X-Model-Version": {
            "description": "Of a file: the version's number, or the checkpoint's id.",
            "schema": {"type": "string"},
        }
    },
    "content": {
        "application/json": {"schema": {"$ref": "#/components/schemas/Prediction"}},
        **dict.fromkeys((*TABLE_TYPES, NPY), _BINARY),
    },
}
_TRUTHS = ("true", "false")


def _option(description: str) -> Text:
    return Text(load_default=left_out, metadata={"description": description})


class Share(Text):
    """A number between 0 and 1, as a query has it."""

    wanted = "a number greater than 0 and less than 1, as in 0.9"

    def json_schema(self) -> dict[str, Any]:
        return {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1}

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> float:
        number = number_of(value) if isinstance(value, str) else None
        if number is None or not 0 < number < 1:
            raise self.refusal(value)
        return number


class FileQuerySchema(StrictSchema):
    """Query parameters of a file of rows: what answers, and how to read the file, which decides what is left out."""

    model = Text(
        required=True, pattern=NAME_PATTERN, maximum=63, metadata={"description": "The model, if the body is a file."}
    )
    dataset = _option("A stored dataset whose rows are predicted, by name or id, in place of a file in the body.")
    version = _option("A version's number, an alias or a checkpoint's id; the alias `default` if left out.")
    probabilities = Text(
        load_default="false", choices=_TRUTHS, metadata={"description": "Also a column `probability_CLASS` a class."}
    )
    coverage = Share(
        load_default=left_out,
        metadata={"description": "Also a column `set` of conformal sets, which cover this share."},
    )
    by_class = Text(
        load_default="false", choices=_TRUTHS, metadata={"description": "Whether each class is covered by this share."}
    )
    uncertainty = Text(
        load_default="false", choices=_TRUTHS, metadata={"description": "Also a column `uncertainty`, from 0 to 1."}
    )
    missing = _option("Further words for a missing value, as in `unknown,999`.")
    delimiter = _option("What separates cells: one sign, or `tab`, `comma`, `semicolon`, `pipe`, `space`.")
    decimal = _option("The decimal sign: `.` or `,`.")
    thousands = _option("What separates thousands: `.`, `,`, `'`, `space` or `none`.")
    encoding = _option("The encoding of text, as in `cp1252`.")
    header = Text(
        load_default=left_out,
        choices=_TRUTHS,
        metadata={"description": "Whether the first row has names."},
    )
    dates = _option("How dates are written: a strptime format, as in `%d.%m.%Y`.")


FILE_PARAMETERS: list[dict[str, Any]] = [
    {
        "in": "query",
        "name": name,
        "required": False,
        "description": field.metadata["description"],
        "schema": field.json_schema(),
    }
    for name, field in FileQuerySchema().fields.items()
    if isinstance(field, Text)
]


def names_file() -> bool:
    """Whether the current request is about a file: it names the model in its query, or the body's type is a file's."""
    return "model" in request.args or FILE_TYPES.fullmatch(request.mimetype) is not None


def require_no_file_options() -> None:
    """Raise InvalidError if the query of a JSON body has what it takes for files alone, and would be ignored."""
    given = FileQuerySchema().fields.keys() & request.args.keys()
    if given:
        detail = "is for files, with ?model=NAME; a JSON body has its own members"
        raise InvalidError.of([Problem(f"/{escaped(name)}", detail) for name in sorted(given)])


def predicted_file() -> Response:
    """The answer to a file of rows: its columns and predictions, as a stream."""
    twice = [name for name, values in request.args.lists() if len(values) > 1]
    if twice:
        raise InvalidError.of([Problem(f"/{escaped(name)}", "must be given once") for name in twice])
    query = load(FileQuerySchema(), request.args.to_dict())
    kind = accepted_type("predictions")
    version = context().serving.version(query["model"], _wanted(query["version"]), sticky_of(request.environ))
    options = {name: query[name] for name in _OPTIONS if query[name] is not None}
    asked, each = _asked(query), query["probabilities"] == "true"
    with ExitStack() as held:
        if query["dataset"] is not None:
            require_asked(asked, version.network)
            table = _stored(query["dataset"], options, held)
        else:
            with received_upload():
                require_asked(asked, version.network)
                table = _sent(version, options, held)
        return _answer(version, table, kind, asked, held, each=each)


def _asked(query: dict[str, Any]) -> Asked:
    """What the query asks for beside probabilities."""
    by_class = query["by_class"] == "true"
    if by_class and query["coverage"] is None:
        raise InvalidError.at("/by_class", "goes with coverage, which the request lacks")
    return Asked(query["coverage"], by_class, query["uncertainty"] == "true")


_OPTIONS = ("missing", "delimiter", "decimal", "thousands", "encoding", "header", "dates")


def _wanted(text: str | None) -> Wanted:
    return int(text) if text is not None and re.fullmatch(NUMBER_PATTERN, text) else text


def _answer(version: ServedVersion, table: Table, kind: str, asked: Asked, held: ExitStack, *, each: bool) -> Response:
    """The table with its predictions; what is ``held`` is given up when the stream has ended."""
    parts = context()
    store, room = held.enter_context(parts.files.temporary()), parts.files.disk.require_room
    predicted = PredictedTable(version, table, store, each=each, asked=asked, require_room=room)
    model = qualified(parts.database.caller.owner, version.model)
    request.environ[PREDICTED] = Predicted(model, version.number, table.rows)
    response = table_answer(predicted, kind, "predictions")
    response.headers["X-Model-Version"] = str(version.checkpoint if version.number is None else version.number)
    # Runs however the stream ends, even if the client disconnects before it begins.
    response.call_on_close(held.pop_all().close)
    return response


def _stored(key: str, options: dict[str, Any], held: ExitStack) -> Table:
    """The table of a stored dataset, open as long as it is held."""
    problems = [Problem(f"/{name}", "is for files in the body; the dataset has been read already") for name in options]
    if request.content_length or request.headers.get("Transfer-Encoding"):
        problems.append(Problem("/dataset", "goes without a body, which has rows of its own"))
    if problems:
        raise InvalidError.of(problems)
    parts = context()
    try:
        with parts.database.read() as connection:
            row = find_dataset(connection, key)
    except MissingError as error:
        raise InvalidError.at("/dataset", error.detail) from None
    hold_dataset(row.id)
    return held.enter_context(open_table(intact_dataset(parts.database, parts.files, row.id)))


def _sent(version: ServedVersion, options: dict[str, Any], held: ExitStack) -> Table:
    """The table in the file that the body is."""
    upload = uploaded_file()
    if upload is None:
        detail = "must be a file of rows. A JSON object with rows names its model itself and goes without ?model="
        raise InvalidError.at("", detail)
    return _read(version, upload, options, held.enter_context(context().files.temporary()))


def _read(version: ServedVersion, upload: UploadedFile, options: dict[str, Any], exchange: Any) -> ExchangeTable:
    """The table in a file, with columns of the kinds that the model reads."""
    plan = version.network.plan
    charset = request.mimetype_params.get("charset")
    if charset and "encoding" not in options:
        options = {**options, "encoding": charset}
    reading = replace(ReadOptions.of(options), alone=True, types={} if plan is None else plan.kinds)
    parts = context()
    with parts.files.temporary() as first, parts.files.temporary() as second:
        try:
            return ExchangeTable(parts.parser.table(upload.file, exchange, (first, second), reading))
        except InvalidError as error:
            raise _of_columns(error, plan.kinds if plan else {}) from None


def _of_columns(error: InvalidError, kinds: Any) -> InvalidError:
    """The error with the model's columns that the file lacks, which the reader knows as columns of given types."""
    places = {f"/types/{escaped(name)}": name for name in kinds}
    if not any(problem.pointer in places for problem in error.problems):
        return error
    problems = []
    for problem in error.problems:
        if problem.pointer in places:
            name = places[problem.pointer]
            meant = re.search(r"did you mean '(.*?)'\?", problem.detail)
            hint = "" if meant is None else f"; it has {describe(meant.group(1))}"
            problems.append(Problem("", f"must have the column {describe(name)}{hint}", column=name))
        else:
            problems.append(problem)
    return error.with_problems(problems)
