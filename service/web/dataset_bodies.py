"""JSON bodies of ``POST /datasets``: a matrix with labels, a matrix with names, or rows of named values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import marshmallow as ma

from models.data.columns import Column
from models.data.conversion import ConversionError, coerce
from models.data.dataset import Dataset, from_rows
from models.data.given_size import require_size
from models.data.labelling import labelled
from models.data.labels import parse_labels, require_short_classes
from models.data.limits import TableSize
from models.data.matrix_table import label_column, special_name
from models.data.profile import Provenance, TableWarning
from models.data.records import from_lists, from_matrix, from_records, with_column
from models.data.rows import number_matrix
from models.data.table import MemoryTable
from models.errors import InvalidError, Problem, describe
from models.identifiers import NAME_PATTERN
from models.reading.options import ReadOptions
from models.schemas import StrictSchema, Text, load

__all__ = ["JSON_OPTIONS", "ReceivedRows", "dataset_of"]

#: Options of files that rows with names take too.
JSON_OPTIONS = ("label", "weight", "ignore", "types", "missing")

#: Columns of a matrix up to which its database row describes them.
DESCRIBED = 2_000
#: Columns of a matrix at most: as many as a model may have features.
MATRIX_COLUMNS = 100_000
_JSON = Provenance({"type": "json"})


class ReceivedRows(NamedTuple):
    """The rows of a body under the dataset's name; without a ``source`` their columns are not described."""

    name: str
    rows: Dataset | MemoryTable
    source: Provenance | None


class _MatrixSchema(StrictSchema):
    """A matrix and labels."""

    name = Text(required=True, pattern=NAME_PATTERN, maximum=63)
    inputs = ma.fields.Raw(required=True)
    labels = ma.fields.Raw(required=True, allow_none=True)
    weights = ma.fields.Raw(load_default=None, allow_none=True)


class _TableSchema(StrictSchema):
    """What both kinds of tables have."""

    name = Text(required=True, pattern=NAME_PATTERN, maximum=63)
    label = ma.fields.Raw(load_default=None, allow_none=True)
    weight = ma.fields.Raw(load_default=None, allow_none=True)
    ignore = ma.fields.Raw(load_default=None, allow_none=True)
    types = ma.fields.Raw(load_default=None, allow_none=True)
    missing = ma.fields.Raw(load_default=None, allow_none=True)


class _RecordsSchema(_TableSchema):
    """Rows as objects, or as lists in the order of ``columns``."""

    rows = ma.fields.Raw(required=True)
    columns = ma.fields.Raw(load_default=None)


class _NamedMatrixSchema(_TableSchema):
    """A matrix with the names of its columns; its labels may be one of them."""

    inputs = ma.fields.Raw(required=True)
    features = ma.fields.Raw(required=True)
    labels = ma.fields.Raw(load_default=None)
    weights = ma.fields.Raw(load_default=None)


def dataset_of(body: Mapping[str, Any], size: TableSize) -> ReceivedRows:
    """The rows in a body, at most of ``size``; raises InvalidError with the pointers to its faults."""
    require_size(body, size)
    if "rows" not in body and "features" not in body:
        given = load(_MatrixSchema(), body)
        dataset = from_rows(given["inputs"], given["labels"], weights=given["weights"])
        dataset.require_two_classes("/labels")
        require_short_classes(dataset.labels, "/labels", dataset.place_of)
        columns = dataset.inputs.shape[1]
        if columns > MATRIX_COLUMNS:
            raise InvalidError.at("/inputs", f"must have at most {MATRIX_COLUMNS:,} columns. Received: {columns:,}")
        source = replace(_JSON, warnings=_left_out(dataset)) if dataset.inputs.shape[1] <= DESCRIBED else None
        return ReceivedRows(given["name"], dataset, source)
    schema, read = (_RecordsSchema, _records) if "rows" in body else (_NamedMatrixSchema, _named_matrix)
    given = load(schema(), body)
    options = ReadOptions.of({name: given[name] for name in JSON_OPTIONS})
    table, options = read(given, options)
    options.faults_of_names([column.name for column in table.columns]).check()
    table, warnings = labelled(table, options.label, options.weight, options.ignore)
    return ReceivedRows(given["name"], table, replace(_JSON, warnings=warnings))


def _left_out(dataset: Dataset) -> tuple[TableWarning, ...]:
    count = dataset.left_out
    if not count:
        return ()
    rows = "1 row has no label and is" if count == 1 else f"{count} rows have no label and are"
    return (TableWarning("rows_without_label", f"{rows} left out"),)


def _records(given: Mapping[str, Any], options: ReadOptions) -> tuple[MemoryTable, ReadOptions]:
    words = {word.lower() for word in options.missing}
    if given["columns"] is not None:
        return from_lists(given["columns"], given["rows"], "", options.types, words), options
    return from_records(given["rows"], "/rows", options.types, words), options


def _named_matrix(given: Mapping[str, Any], options: ReadOptions) -> tuple[MemoryTable, ReadOptions]:
    """The table of a matrix, and the options with the names of the columns of labels and weights beside it."""
    table = from_matrix(given["inputs"], given["features"])
    names = [column.name for column in table.columns]
    for name, kind in options.types.items():
        if name not in names:
            continue  # It is reported with the other names.
        try:
            table = with_column(table, name, coerce(table.read(name), kind))
        except ConversionError as error:
            place = f"/inputs/{error.row}/{names.index(name)}"
            detail = f"must be {error.wanted}. Received: {describe(error.received)}"
            raise InvalidError.of([Problem(place, detail, error.row + 1, name)]) from None
    if given["labels"] is not None:
        labels = parse_labels(given["labels"], "/labels")
        _same_length(len(labels.codes), table.rows, "/labels")
        require_short_classes(labels, "/labels")
        options = replace(options, label=options.label or special_name("label", names))
        table = _beside(table, options.label, label_column(labels.codes, labels.classes), "label")
    if given["weights"] is not None:
        weights = number_matrix([given["weights"]], "/weights")[0]
        _same_length(len(weights), table.rows, "/weights")
        options = replace(options, weight=options.weight or special_name("weight", names))
        table = _beside(table, options.weight, Column("number", weights), "weight")
    return table, options


def _same_length(found: int, rows: int, pointer: str) -> None:
    if found != rows:
        raise InvalidError.at(pointer, f"must have {rows} members, one per row. Received: {found}")


def _beside(table: MemoryTable, name: str | None, column: Column, member: str) -> MemoryTable:
    """The table with the column of labels or weights, whose name no feature may have."""
    assert name is not None
    if name in table.values:
        raise InvalidError.at(
            f"/{member}", f"must not name a feature if {member}s are given. Received: {describe(name)}"
        )
    return with_column(table, name, column)
