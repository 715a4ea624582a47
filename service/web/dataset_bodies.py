"""JSON bodies of ``POST /datasets``: a matrix with labels, a matrix with names, or rows of named values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import marshmallow as ma

from models.data.columns import KINDS, Column, ColumnKind
from models.data.conversion import ConversionError, coerce
from models.data.dataset import Dataset, from_rows
from models.data.labelling import labelled, require_column
from models.data.labels import parse_labels
from models.data.profile import Provenance, TableWarning
from models.data.records import from_lists, from_matrix, from_records, with_column
from models.data.rows import number_matrix
from models.data.table import MemoryTable
from models.errors import InvalidError, Problem, describe
from models.formats.stored_table import label_column, special_name
from models.identifiers import NAME_PATTERN
from models.schemas import StrictSchema, Text, load

__all__ = ["ReceivedRows", "dataset_of"]

#: Columns of a matrix up to which its database row describes them.
DESCRIBED = 2_000
_JSON = Provenance({"type": "json"})


class ReceivedRows(NamedTuple):
    """The rows of a body under the dataset's name; without a ``source`` their columns are not described."""

    name: str
    rows: Dataset | MemoryTable
    source: Provenance | None


class _Words(ma.fields.Field[list[str]]):
    """A list of strings, or one string with commas."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **_options: Any) -> list[str]:
        words = value.split(",") if isinstance(value, str) else value
        if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
            raise ma.ValidationError(f"must be a list of strings. Received: {describe(value)}")
        return [word.strip() for word in words]


class _Types(ma.fields.Field[dict[str, ColumnKind]]):
    """An object of kinds by column, or a string such as ``zip:category,age:number``."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **_options: Any) -> dict[str, ColumnKind]:
        if isinstance(value, str):
            pairs = [part.rpartition(":") for part in value.split(",")]
            value = {name.strip(): kind.strip() for name, _, kind in pairs}
        if not isinstance(value, dict):
            raise ma.ValidationError(f"must be an object of types by column. Received: {describe(value)}")
        bad = {
            name: [f"must be one of {', '.join(KINDS)}. Received: {describe(kind)}"]
            for name, kind in value.items()
            if kind not in KINDS
        }
        if bad:
            raise ma.ValidationError(bad)
        return value


class _MatrixSchema(StrictSchema):
    """A matrix and labels."""

    name = Text(required=True, pattern=NAME_PATTERN, maximum=63)
    inputs = ma.fields.Raw(required=True)
    labels = ma.fields.Raw(required=True, allow_none=True)
    weights = ma.fields.Raw(load_default=None, allow_none=True)


class _TableSchema(StrictSchema):
    """What both kinds of tables have."""

    name = Text(required=True, pattern=NAME_PATTERN, maximum=63)
    label = Text(load_default=None, allow_none=True)
    weight = Text(load_default=None, allow_none=True)
    ignore = _Words(load_default=list)
    types = _Types(load_default=dict)
    missing = _Words(load_default=list)


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


def dataset_of(body: Mapping[str, Any]) -> ReceivedRows:
    """The rows in a body; raises InvalidError with the pointers to its faults."""
    if "rows" in body:
        given = load(_RecordsSchema(), body)
        table = _records(given)
    elif "features" in body:
        given = load(_NamedMatrixSchema(), body)
        table = _named_matrix(given)
    else:
        given = load(_MatrixSchema(), body)
        dataset = from_rows(given["inputs"], given["labels"], weights=given["weights"])
        dataset.require_two_classes("/labels")
        source = replace(_JSON, warnings=_left_out(dataset)) if dataset.inputs.shape[1] <= DESCRIBED else None
        return ReceivedRows(given["name"], dataset, source)
    table, warnings = labelled(table, given["label"], given["weight"], given["ignore"])
    return ReceivedRows(given["name"], table, replace(_JSON, warnings=warnings))


def _left_out(dataset: Dataset) -> tuple[TableWarning, ...]:
    count = dataset.left_out
    if not count:
        return ()
    rows = "1 row has no label and is" if count == 1 else f"{count} rows have no label and are"
    return (TableWarning("rows_without_label", f"{rows} left out"),)


def _records(given: dict[str, Any]) -> MemoryTable:
    words = {word.lower() for word in given["missing"]}
    read: Callable[..., MemoryTable] = from_records
    arguments: tuple[Any, ...] = (given["rows"], "/rows")
    if given["columns"] is not None:
        read, arguments = from_lists, (given["columns"], given["rows"], "")
    table = read(*arguments, kinds=given["types"], missing=words)
    for name in given["types"]:
        require_column(table.columns, name, "/types")
    return table


def _named_matrix(given: dict[str, Any]) -> MemoryTable:
    table = from_matrix(given["inputs"], given["features"])
    for name, kind in given["types"].items():
        require_column(table.columns, name, "/types")
        try:
            table = with_column(table, name, coerce(table.read(name), kind))
        except ConversionError as error:
            place = f"/inputs/{error.row}/{[column.name for column in table.columns].index(name)}"
            received = describe(error.received)
            problem = Problem(place, f"must be {error.wanted}. Received: {received}", error.row + 1, name)
            raise InvalidError.of([problem]) from None
    names = [column.name for column in table.columns]
    if given["labels"] is not None:
        labels = parse_labels(given["labels"], "/labels")
        _same_length(len(labels.codes), table.rows, "/labels")
        given["label"] = given["label"] or special_name("label", names)
        _unused(given["label"], names, "/label", "labels")
        table = with_column(table, given["label"], label_column(labels.codes, labels.classes))
    if given["weights"] is not None:
        weights = number_matrix([given["weights"]], "/weights")[0]
        _same_length(len(weights), table.rows, "/weights")
        given["weight"] = given["weight"] or special_name("weight", names)
        _unused(given["weight"], names, "/weight", "weights")
        table = with_column(table, given["weight"], Column("number", weights))
    return table


def _same_length(found: int, rows: int, pointer: str) -> None:
    if found != rows:
        raise InvalidError.at(pointer, f"must have {rows} members, one per row. Received: {found}")


def _unused(name: str, names: list[str], pointer: str, member: str) -> None:
    if name in names:
        raise InvalidError.at(pointer, f"must not name a feature if {member} are given. Received: {name!r}")
