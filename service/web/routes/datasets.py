"""Dataset routes: upload, list, show, delete."""

from __future__ import annotations

from collections import Counter
from typing import Any

import sqlalchemy as sa
from flask import Response, request, url_for

from models.data.csv_rows import from_csv
from models.errors import ConflictError, InvalidError, MalformedError, Problem, escaped
from models.identifiers import NAME_PATTERN, new_id
from models.registry import datasets
from models.registry.datasets import add_dataset, delete_dataset, find_dataset, require_free_dataset_name
from models.schemas import StrictSchema, Text, load
from service.jobs.record import ACTIVE
from service.store.files import FileKind
from service.store.naming import naming
from service.store.request_rows import keep
from service.store.tables import JOBS
from service.web.context import context
from service.web.dataset_bodies import ReceivedRows, dataset_of
from service.web.idempotency import idempotent, remember
from service.web.json_bodies import json_response, read_json
from service.web.openapi import Resource, refusals
from service.web.pagination import DatasetPage, page

__all__ = ["routes"]


routes = Resource("datasets", __name__, description="Labelled rows, stored under a name.")

_CSV_BODY = {"schema": {"type": "string", "description": "RFC 4180, UTF-8, with a header row."}}
_FILE_BODY = {
    "schema": {
        "type": "object",
        "properties": {
            "file": {"type": "string", "format": "binary"},
            "name": {"type": "string"},
            "label": {"type": "string"},
            "weight": {"type": "string"},
        },
        "required": ["file"],
    }
}


class UploadSchema(StrictSchema):
    """Query parameters of a CSV upload: the dataset's name, the label column and the optional weight column."""

    name = Text(
        pattern=NAME_PATTERN,
        maximum=63,
        load_default=None,
        metadata={"description": "The dataset's name, if it is not in the body."},
    )
    label = Text(load_default=None, metadata={"description": "CSV: the column that holds the labels."})
    weight = Text(load_default=None, metadata={"description": "CSV: the column that holds the rows' weights."})


@routes.route("/datasets", methods=["POST"])
@idempotent
@routes.arguments(UploadSchema, location="query")
@routes.response(201, "Dataset")
@routes.doc(
    requestBody={
        "required": True,
        "content": {
            "text/csv": _CSV_BODY,
            "multipart/form-data": _FILE_BODY,
            "application/json": {"schema": {"$ref": "#/components/schemas/RowsRequest"}},
        },
    },
    responses=refusals(400, 409, 413, 415),
)
def create(query: dict[str, Any]) -> Response:
    """Upload a dataset as a CSV file or as JSON rows.

    For CSV, the query has `name`, `label` (the label column) and, if rows have weights, `weight` (the weight column).
    If the query has a `label`, a body of any type but JSON is read as CSV, as `curl --data-binary @file.csv` sends it.
    """
    parts, dataset_id = context(), new_id("ds")
    name, rows, source = _received(query)
    with parts.database.read() as connection:
        require_free_dataset_name(connection, name)
    with naming(parts.database, parts.files, FileKind.DATASET, [dataset_id]):
        values, record = keep(parts.files, dataset_id, name, rows, source)
        with parts.database.write() as connection:
            add_dataset(connection, values, record)
            document = find_dataset(connection, dataset_id).document()
            location = url_for("datasets.show", key=dataset_id)
            return remember(connection, json_response(document, 201, {"Location": location}))


def _received(query: dict[str, Any]) -> ReceivedRows:
    """The dataset's name and rows, from a form, a CSV body or a JSON body."""
    name, label, weight = query["name"], query["label"], query["weight"]
    if request.mimetype == "multipart/form-data":
        if "file" not in request.files:
            raise MalformedError("missing_file", "the form must have a field 'file' with the CSV file")
        content = request.files["file"].read()
        form = load(UploadSchema(), _fields_once())
        name, label, weight = (_agreed(key, query[key], form[key]) for key in ("name", "label", "weight"))
    elif request.mimetype == "text/csv" or (label is not None and not request.mimetype.endswith(("/json", "+json"))):
        content = request.get_data(parse_form_data=False)
    else:
        body = _as_object(read_json(request))
        named = "rows" in body or "features" in body
        for key, value in (("name", name), ("label", label), ("weight", weight)):
            if value is None:
                continue
            if key != "name" and not named:
                raise InvalidError.at(f"/{key}", f"is for rows with names; with inputs and labels, send {key}s")
            body = {**body, key: _agreed(key, value, body.get(key))}
        return dataset_of(body)
    for key, value in (("name", name), ("label", label)):
        if value is None:
            raise InvalidError.at(f"/{key}", "is required, as in POST /datasets?name=iris&label=species")
    table = from_csv(content, label, weight)
    table.require_two_classes("", label)
    return ReceivedRows(name, table, None)


def _fields_once() -> dict[str, str]:
    """The text fields of a form. Raises InvalidError for repeated fields and for files other than ``file``."""
    names = Counter([name for name, _ in request.form.items(multi=True)])
    names.update([name for name, _ in request.files.items(multi=True)])
    problems = [Problem(f"/{escaped(name)}", "must be given once") for name, count in names.items() if count > 1]
    others = request.files.keys() - {"file"}
    problems += [Problem(f"/{escaped(name)}", "must not be a file; the only file is 'file'") for name in sorted(others)]
    if problems:
        raise InvalidError.of(problems)
    return {key: request.form[key] for key in request.form}


def _agreed(key: str, in_query: Any, within: Any) -> Any:
    """The value from query or body. Raises InvalidError if both have one and they differ."""
    if None not in (in_query, within) and in_query != within:
        raise InvalidError.at(f"/{key}", f"must be the same in query and body. Received: {in_query!r} and {within!r}")
    return in_query if within is None else within


def _as_object(body: Any) -> dict[str, Any]:
    if not isinstance(body, dict):
        raise InvalidError.at("", "must be an object")
    return body


@routes.route("/datasets", methods=["GET"])
@routes.arguments(DatasetPage, location="query")
@routes.response(200, "DatasetList")
def list_datasets(query: dict[str, Any]) -> Response:
    """List all datasets, newest first.

    `after` takes a dataset's id.
    """
    with context().database.read() as connection:
        rows = datasets.list_datasets(connection, query["limit"] + 1, query["after"])
    return page([row.document() for row in rows], query["limit"])


@routes.route("/datasets/<key>", methods=["GET"])
@routes.response(200, "Dataset")
@routes.doc(responses=refusals(404))
def show(key: str) -> Response:
    """Show a dataset, by id or name."""
    with context().database.read() as connection:
        return json_response(find_dataset(connection, key).document())


@routes.route("/datasets/<key>", methods=["DELETE"])
@routes.response(204)
@routes.doc(responses=refusals(404, 409))
def delete(key: str) -> Response:
    """Delete a dataset that no active job uses."""
    parts = context()
    with parts.database.write() as connection:
        dataset_id = find_dataset(connection, key).id
        uses = sa.or_(JOBS.c.dataset == dataset_id, JOBS.c.validation_dataset == dataset_id)
        active = connection.scalar(sa.select(JOBS.c.id).where(uses, JOBS.c.state.in_(ACTIVE)).limit(1))
        if active:
            raise ConflictError("dataset_in_use", f"dataset {key!r} is in use by {active}; cancel that job first")
        delete_dataset(connection, dataset_id)
    parts.files.delete(FileKind.DATASET, dataset_id)
    return Response(status=204)
