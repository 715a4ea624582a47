"""What is in a dataset: its profile, its rows, and its file in several formats."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import marshmallow as ma
from flask import Response, request, send_file
from werkzeug.exceptions import NotAcceptable

from models.data.profile import LISTED, profile_of, relations_with
from models.data.table import Table
from models.errors import InvalidError, MissingError, describe, near, shortened
from models.formats.row_pages import condition_of, page_of
from models.formats.stored_table import open_table
from models.formats.table_export import csv_pieces, parquet_pieces
from models.registry.datasets import DatasetRow, find_dataset
from models.schemas import StrictSchema, Text, left_out
from service.access.audit import Subject
from service.store.files import FileKind
from service.upkeep.inspection import intact_dataset
from service.web.context import Context, context
from service.web.downloads import HDF5_KINDS, record_download
from service.web.json_bodies import json_response
from service.web.making_room import makes_room
from service.web.openapi import Resource, partial_file, refusals
from service.web.pagination import NUMBER_PATTERN, PageSchema
from service.web.query_numbers import QueryWhole
from service.web.table_answers import CSV, PARQUET

__all__ = ["routes"]

routes = Resource("dataset contents", __name__, description="What is in a dataset.")

#: The formats of a download, the preferred one first, with the end of the file's name.
_ENDS = {CSV: "csv", PARQUET: "parquet", **dict.fromkeys(HDF5_KINDS, "h5")}
_PIECES: dict[str, Callable[[Table], Iterator[bytes]]] = {CSV: csv_pieces, PARQUET: parquet_pieces}
#: Conditions in one request.
MAXIMUM_CONDITIONS = 20


class RowPageSchema(PageSchema):
    """Query parameters of a page of rows."""

    after = Text(
        pattern=NUMBER_PATTERN,
        load_default="0",
        metadata={"description": "Start after the row of this number, usually `after` of the page before."},
    )
    where = ma.fields.List(
        ma.fields.String(metadata={"pattern": ":"}),
        load_default=list,
        validate=ma.validate.Length(max=MAXIMUM_CONDITIONS),
        metadata={
            "description": "`column:value`: only rows with this value; may be repeated. `NA` finds missing ones."
        },
    )


class ProfileSchema(StrictSchema):
    """Query parameters of a profile."""

    label = Text(
        load_default=left_out,
        metadata={"description": "Relate the columns with this one instead of the dataset's label; nothing is stored."},
    )
    listed = QueryWhole(
        0,
        LISTED,
        load_default=LISTED,
        metadata={"description": "Maximum number of a column's `levels`, and of its `values`, if there are no more."},
    )


@routes.route("/datasets/<key>/profile", methods=["GET"])
@routes.arguments(ProfileSchema, location="query")
@routes.response(200, "Profile")
@routes.doc(responses=refusals(404, 503))
def profile_dataset(query: dict[str, Any], key: str) -> Response:
    """Show what each column of a dataset holds, and how much it says about the label."""
    parts, row = context(), _find(key)
    label, columns = query["label"], None if row.details is None else row.details.profile
    related = label is not None and label != row.label
    if columns is None or related:
        with open_table(_path(parts, row)) as table:
            found: Sequence[Mapping[str, Any]] = profile_of(table) if columns is None else columns
            columns = _related(table, found, label) if related else tuple(found)
    shortened_columns = [_with_fewer(column, query["listed"]) for column in columns]
    label = label if related else row.label
    return json_response(
        {"id": row.id, "name": row.name, "rows": row.rows, "label": label, "columns": shortened_columns}
    )


def _related(table: Table, columns: Sequence[Mapping[str, Any]], label: str) -> tuple[Mapping[str, Any], ...]:
    """Profiles of all columns, related with one of them; raises InvalidError if there is none of this name."""
    names = [spec.name for spec in table.columns]
    if label not in names:
        raise InvalidError.at("/label", f"must name a column{near(label, names)}. Received: {describe(label)}")
    relations = relations_with(table, label)
    return tuple({**column, "relation": relations[column["name"]]} for column in columns)


def _with_fewer(column: Mapping[str, Any], listed: int) -> Mapping[str, Any]:
    """A profile with at most so many levels, and without values if there are more."""
    kept = dict(column)
    if "levels" in kept:
        kept["levels"] = kept["levels"][:listed]
    if len(kept.get("values", ())) > listed:
        del kept["values"]
    return kept


@routes.route("/datasets/<key>/rows", methods=["GET"])
@routes.arguments(RowPageSchema, location="query")
@routes.response(200, "RowList")
@routes.doc(responses=refusals(404, 503))
def list_rows(query: dict[str, Any], key: str) -> Response:
    """Show some rows of a dataset, all columns included.

    With `where`, a page may hold fewer rows than `limit`, because only so many rows are searched for it; `after` goes
    on behind them as long as `has_more` is true.
    """
    parts, row = context(), _find(key)
    with open_table(_path(parts, row)) as table:
        conditions = [condition_of(text, table.columns, "/where") for text in query["where"]]
        found = page_of(table, int(query["after"]), query["limit"], conditions)
    return json_response({"data": found.rows, "has_more": found.has_more, "after": found.after})


@routes.route("/datasets/<key>/file", methods=["GET"])
@routes.response(200, {"type": "string"}, content_type=CSV)
@routes.doc(
    responses={
        "200": {
            "description": "The dataset as the format that `Accept` names; CSV if any will do.",
            "content": {
                # CSV is text; what is declared as binary, makers of clients would have read as bytes.
                CSV: {"schema": {"type": "string"}},
                **{kind: {"schema": {"type": "string", "format": "binary"}} for kind in (PARQUET, *HDF5_KINDS)},
            },
        },
        **partial_file(*HDF5_KINDS),
        **refusals(404, 406, 503),
    }
)
@makes_room
def download_dataset(key: str) -> Response:
    """Download a dataset as CSV, as Parquet, or as the HDF5 file that is stored.

    This also works on a full disk.
    """
    parts, row = context(), _find(key)
    accept = request.headers.get("Accept")
    kind = request.accept_mimetypes.best_match(_ENDS) if accept else CSV
    if kind is None:
        raise NotAcceptable(f"the file can be sent as {', '.join(_ENDS)}. Received: Accept: {shortened(accept or '')}")
    path, name = _path(parts, row), f"{row.name or row.id}.{_ENDS[kind]}"
    if kind in HDF5_KINDS:
        response = send_file(path, kind, as_attachment=True, download_name=name, etag=row.file.sha256)
    else:
        headers = {"Content-Disposition": f'attachment; filename="{name}"', "Vary": "Accept"}
        content_type = f"{kind}; charset=utf-8" if kind == CSV else kind
        response = Response(_read(path, _PIECES[kind]), 200, headers, content_type=content_type)
    return record_download(response, Subject.DATASET, row.name or row.id, row.owner)


def _read(path: Path, pieces: Callable[[Table], Iterator[bytes]]) -> Iterator[bytes]:
    with open_table(path) as table:
        yield from pieces(table)


def _find(key: str) -> DatasetRow:
    with context().database.read() as connection:
        return find_dataset(connection, key)


def _path(parts: Context, row: DatasetRow) -> Path:
    """The path of the file; raises MissingError if it is missing."""
    if parts.files.stat(FileKind.DATASET, row.id) is None:
        raise MissingError("file_missing", f"the file of dataset {row.id} is missing")
    return intact_dataset(parts.database, parts.files, row.id)
