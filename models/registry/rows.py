"""What rows of checkpoints and datasets have in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from models.registry.callers import caller_of, visible
from models.registry.tables import CHECKPOINTS, DATASETS

__all__ = ["Metrics", "fault_of", "files_at_fault", "insert_if_free", "named_ids", "older_than", "starts_with"]

#: Metrics of an epoch by name; None for a number that is not finite, or if no rows are held out.
Metrics = dict[str, float | None]


def _insert_into(table: sa.Table, dialect: str) -> Any:
    """An insert that can have ON CONFLICT. A process imports its own dialect alone: PostgreSQL's takes 50 ms."""
    if dialect == "postgresql":
        from sqlalchemy.dialects.postgresql import insert as insert_into_postgresql

        return insert_into_postgresql(table)
    from sqlalchemy.dialects.sqlite import insert as insert_into_sqlite

    return insert_into_sqlite(table)


def insert_if_free(connection: sa.Connection, table: sa.Table, values: dict[str, Any]) -> bool:
    """Insert a row for the caller unless another row of its has the same name. Returns whether it was inserted.

    PostgreSQL lets two transactions write at a time; the later one waits here for the end of the earlier one. A
    savepoint around a plain insert would do the same, but if the disk is full, SQLite rolls the savepoint back with the
    rest of the transaction, and the error that it is missing hides that of the disk.
    """
    owned = {**values, "owner": caller_of(connection).owner}
    insert: Any = _insert_into(table, connection.dialect.name).values(**owned)
    insert = insert.on_conflict_do_nothing(index_elements=[table.c.owner, table.c.name]).returning(table.c.number)
    return connection.scalar(insert) is not None


def named_ids(connection: sa.Connection, ids: Sequence[str]) -> set[str]:
    """Those of these ids that a checkpoint or a dataset has."""
    places = [sa.select(table.c.id).where(table.c.id.in_(ids)) for table in (CHECKPOINTS, DATASETS)]
    return set(connection.scalars(sa.union_all(*places)))


def older_than(connection: sa.Connection, table: sa.Table, row_id: str) -> sa.ColumnElement[bool]:
    """The rows of a table that came before the one with this id.

    If that row was deleted since a client saw it, its id says when it came, as far as the clock was right.
    """
    found = visible(connection, sa.select(table.c.number), table).where(table.c.id == row_id)
    number: int | None = connection.scalar(found)
    return table.c.id < row_id if number is None else table.c.number < number


def starts_with(name: sa.Column[Any], prefix: str) -> sa.ColumnElement[bool]:
    """The rows whose names, which are in lower case, start with a text."""
    return name.startswith(prefix, autoescape=True)


def fault_of(fault: str | None) -> dict[str, str]:
    """The member ``fault`` of a document; empty if the file has no fault."""
    return {} if fault is None else {"fault": fault}


def files_at_fault(connection: sa.Connection) -> int:
    """Number of files that were found missing or damaged."""
    queries = [sa.select(sa.func.count()).where(table.c.fault.is_not(None)) for table in (CHECKPOINTS, DATASETS)]
    return sum(connection.scalar(query) or 0 for query in queries)
