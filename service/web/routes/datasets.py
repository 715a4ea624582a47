"""Dataset routes: upload, list, show, delete."""

from __future__ import annotations

import io
from collections.abc import Callable, Collection
from typing import Any

import sqlalchemy as sa
from flask import Response, request, url_for

from models.errors import ConflictError, InvalidError, describe
from models.formats.durable import FileRecord
from models.identifiers import NAME_PATTERN, new_id
from models.reading.options import OPTION_NAMES
from models.registry import datasets
from models.registry.callers import visible
from models.registry.datasets import DETAILED, DatasetRow, add_dataset, find_dataset, require_free_dataset_name
from models.schemas import StrictSchema, Text, left_out, load
from service.access.audit import Action, Subject, record
from service.access.usage import Usage
from service.jobs.record import ACTIVE
from service.store.files import FileKind
from service.store.naming import naming
from service.store.request_rows import keep
from service.store.tables import JOBS
from service.uploads.publication import keep_table
from service.web import links
from service.web.context import context, shown
from service.web.dataset_bodies import JSON_OPTIONS, ReceivedRows, dataset_of
from service.web.fields import Fields, picked
from service.web.file_bodies import fitting_name, read_upload, received_upload, uploaded_file
from service.web.idempotency import idempotent_after, remember
from service.web.json_bodies import json_response, read_json
from service.web.making_room import makes_room
from service.web.openapi import Resource, refusals
from service.web.pagination import DatasetPage, page
from service.web.response_shapes import whole_or_short

__all__ = ["routes"]


routes = Resource("datasets", __name__, description="Labelled rows, stored under a name.")

_FILE_BODY = {"schema": {"type": "string", "format": "binary"}}
_FORM_BODY = {
    "schema": {
        "type": "object",
        "properties": {
            "file": {"type": "string", "format": "binary"},
            **{name: {"type": "string"} for name in ("name", *OPTION_NAMES)},
        },
        "required": ["file"],
    }
}


def _option(description: str) -> Text:
    return Text(load_default=left_out, metadata={"description": description})


class UploadSchema(StrictSchema):
    """The dataset's name, and how to read an uploaded file, which decides what is left out."""

    name = Text(
        pattern=NAME_PATTERN,
        maximum=63,
        load_default=left_out,
        metadata={"description": "The dataset's name, if it is not in the body; else the file's name, made to fit."},
    )
    label = _option("The column that holds the labels; it may be named at training instead.")
    weight = _option("The column that holds the rows' weights.")
    ignore = _option("Columns that are not used, as in `id,comment`.")
    types = _option("Types of columns, as in `zip:category,age:number`.")
    missing = _option("Further words for a missing value, as in `unknown,999`.")
    delimiter = _option("What separates cells: one sign, or `tab`, `comma`, `semicolon`, `pipe`, `space`.")
    decimal = _option("The decimal sign: `.` or `,`.")
    thousands = _option("What separates thousands: `.`, `,`, `'`, `space` or `none`.")
    encoding = _option("The encoding of text, as in `cp1252`.")
    header = _option("Whether the first row has the columns' names: `true` or `false`.")
    dates = _option("How dates are written: a strptime format, as in `%d.%m.%Y`.")


@routes.route("/datasets", methods=["POST"])
@idempotent_after(received_upload)
@routes.arguments(UploadSchema, location="query")
@routes.response(201, "Dataset")
@routes.leads_to(201, links.DATASET)
@routes.doc(
    requestBody={
        "required": True,
        "content": {
            "application/json": {"schema": {"$ref": "#/components/schemas/RowsRequest"}},
            "text/csv": _FILE_BODY,
            "application/octet-stream": _FILE_BODY,
            "multipart/form-data": _FORM_BODY,
        },
    },
    responses=refusals(400, 409, 413, 415, 429, 503, 507),
)
def upload_dataset(query: dict[str, Any]) -> Response:
    """Upload a dataset as a file or as JSON rows.

    A file is CSV, Parquet, NDJSON or a JSON array of objects, plain or compressed by gzip or zstd; its content decides,
    not its name or type. It is the body, as `curl --data-binary @file.csv` sends it, or the field `file` of a form.
    """
    dataset_id, owner = new_id("ds"), context().database.caller.owner
    upload = uploaded_file()
    if upload is None:
        received = _json_rows(query)
        _require_free(received.name, 0)
        return _stored(dataset_id, lambda: keep(context().files, dataset_id, owner, *received))
    given = {key: _agreed(key, query[key], value) for key, value in load(UploadSchema(), upload.fields).items()}
    name = given["name"] or fitting_name(upload.file_name)
    if name is None:
        raise InvalidError.at("/name", "is required, as in POST /datasets?name=iris&label=species")
    _require_free(name, upload.file.seek(0, io.SEEK_END))
    upload.file.seek(0)
    with read_upload(upload, given) as table:
        return _stored(dataset_id, lambda: keep_table(context().files, dataset_id, owner, name, table))


def _require_free(name: str, size: int) -> None:
    """Raise ConflictError if the name is taken, and QuotaError if no dataset of a file of this size may be added."""
    with context().database.read() as connection:
        require_free_dataset_name(connection, name)
        context().limits.require_dataset(Usage(connection), size)


def _stored(dataset_id: str, write: Callable[[], tuple[dict[str, Any], FileRecord]]) -> Response:
    """The answer for a dataset whose file ``write`` writes."""
    parts = context()
    with naming(parts.database, parts.files, FileKind.DATASET, [dataset_id]):
        values, written = write()
        with parts.database.write() as connection:
            parts.limits.require_dataset(Usage(connection), written.bytes)
            add_dataset(connection, values, written)
            record(connection, Action.MADE, Subject.DATASET, values["name"])
            document = find_dataset(connection, dataset_id).document()
            location = url_for("datasets.show_dataset", key=dataset_id)
            return remember(connection, json_response(document, 201, {"Location": location}))


def _json_rows(query: dict[str, Any]) -> ReceivedRows:
    """The dataset's name and rows, from a JSON body; of the options in the query, it takes those that fit."""
    body = _as_object(read_json(request))
    named = "rows" in body or "features" in body
    for key, value in query.items():
        if value is None:
            continue
        if key not in ("name", *JSON_OPTIONS):
            raise InvalidError.at(f"/{key}", "is for files")
        if key != "name" and not named:
            also = f"; with inputs and labels, send {key}s" if key in ("label", "weight") else ""
            raise InvalidError.at(f"/{key}", f"is for files and rows with names{also}")
        body = {**body, key: _agreed(key, value, body.get(key))}
    return dataset_of(body, context().limits.dataset_size)


def _agreed(key: str, in_query: Any, within: Any) -> Any:
    """The value from query or body. Raises InvalidError if both have one and they differ."""
    if None not in (in_query, within) and in_query != within:
        raise InvalidError.at(
            f"/{key}", f"must be the same in query and body. Received: {describe(in_query)} and {describe(within)}"
        )
    return in_query if within is None else within


def _as_object(body: Any) -> dict[str, Any]:
    if not isinstance(body, dict):
        raise InvalidError.at("", "must be an object")
    return body


@routes.route("/datasets", methods=["GET"])
@routes.arguments(DatasetPage, location="query")
@routes.response(200, "DatasetList")
@routes.leads_to(200, links.DATASETS)
def list_datasets(query: dict[str, Any]) -> Response:
    """List all datasets, newest first.

    `after` takes a dataset's id.
    """
    with context().database.read() as connection:
        rows = datasets.list_datasets(connection, query["limit"] + 1, query["after"], query["prefix"])
        return page((_document(row, query["members"]) for row in rows), query["limit"])


def _document(row: DatasetRow, fields: Collection[str] | None) -> dict[str, Any]:
    whole = fields is None or not DETAILED.isdisjoint(fields)
    return picked(shown(row.document(whole=whole), row.owner), fields)


class DatasetQuery(StrictSchema):
    """Query parameter of a dataset: which of its members to show."""

    members = Fields("Dataset")


@routes.route("/datasets/<key>", methods=["GET"])
@routes.arguments(DatasetQuery, location="query")
@routes.response(200, whole_or_short("Dataset"))
@routes.leads_to(200, links.DATASET)
@routes.doc(responses=refusals(404))
def show_dataset(query: dict[str, Any], key: str) -> Response:
    """Show a dataset, by id or name."""
    with context().database.read() as connection:
        row = find_dataset(connection, key)
    return json_response(_document(row, query["members"]))


@routes.route("/datasets/<key>", methods=["DELETE"])
@routes.response(204)
@routes.doc(responses=refusals(404, 409))
@makes_room
def delete_dataset(key: str) -> Response:
    """Delete a dataset that no active job uses."""
    parts = context()
    with parts.database.write() as connection:
        row = find_dataset(connection, key)
        dataset_id = row.id
        uses = sa.or_(JOBS.c.dataset == dataset_id, JOBS.c.validation_dataset == dataset_id)
        using = sa.select(JOBS.c.id).where(uses, JOBS.c.state.in_(ACTIVE)).limit(1)
        if connection.scalar(using):
            # The caller may not see the job.
            job = connection.scalar(visible(connection, using, JOBS)) or "a job"
            raise ConflictError("dataset_in_use", f"dataset {describe(key)} is in use by {job}; cancel that first")
        datasets.delete_dataset(connection, dataset_id)
        record(connection, Action.DELETED, Subject.DATASET, row.name or row.id, row.owner)
    parts.files.delete(FileKind.DATASET, dataset_id)
    return Response(status=204)
