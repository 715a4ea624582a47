"""Rows of the registry as dictionaries, and functions for checkpoints and datasets alike."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from models.registry.tables import CHECKPOINTS, DATASETS

__all__ = ["fault_of", "files_at_fault", "named_ids", "older_than", "plain", "with_metrics"]


def named_ids(connection: sa.Connection, ids: Sequence[str]) -> set[str]:
    """Those of these ids that a checkpoint or a dataset has."""
    places = [sa.select(table.c.id).where(table.c.id.in_(ids)) for table in (CHECKPOINTS, DATASETS)]
    return set(connection.scalars(sa.union_all(*places)))


def older_than(connection: sa.Connection, table: sa.Table, row_id: str) -> sa.ColumnElement[bool]:
    """The rows of a table that came before the one with this id.

    If that row was deleted since a client saw it, its id says when it came, as far as the clock was right.
    """
    number: int | None = connection.scalar(sa.select(table.c.number).where(table.c.id == row_id))
    return table.c.id < row_id if number is None else table.c.number < number


def fault_of(values: dict[str, Any]) -> dict[str, Any]:
    """The member ``fault`` of a document; empty if the file has no fault."""
    return {} if values["fault"] is None else {"fault": values["fault"]}


def files_at_fault(connection: sa.Connection) -> int:
    """Number of files that were found missing or damaged."""
    queries = [sa.select(sa.func.count()).where(table.c.fault.is_not(None)) for table in (CHECKPOINTS, DATASETS)]
    return sum(connection.scalar(query) or 0 for query in queries)


def with_metrics(row: sa.Row[Any]) -> dict[str, Any]:
    return {**plain(row), "metrics": json.loads(row.metrics)}


def plain(row: sa.Row[Any]) -> dict[str, Any]:
    """A row by its columns' names, as plain strings: SQLAlchemy's own kind of string is no key of JSON to orjson."""
    return {str(name): value for name, value in row._mapping.items()}
