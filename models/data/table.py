"""Tables: rows of named and typed columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from models.data.columns import Column, ColumnSpec

__all__ = ["CHUNK", "MemoryTable", "Stretch", "Table"]

#: Rows that are read at a time if a table is larger than memory should hold.
CHUNK = 65_536


class Table(Protocol):
    """Rows of typed columns, each read by its name and in pieces.

    ``label`` and ``weight`` name the columns of the labels and of the rows' weights; None if the table names none.
    """

    @property
    def rows(self) -> int:
        """Number of rows."""

    @property
    def columns(self) -> Sequence[ColumnSpec]:
        """All columns in their order, those of labels and weights included."""

    @property
    def label(self) -> str | None: ...

    @property
    def weight(self) -> str | None: ...

    def read(self, name: str, start: int = 0, stop: int | None = None) -> Column:
        """The values of a column in the rows from ``start`` to before ``stop``; raises KeyError for an unknown name."""


@dataclass(frozen=True)
class MemoryTable:
    """A table in memory."""

    rows: int
    columns: tuple[ColumnSpec, ...]
    values: Mapping[str, Column]
    label: str | None = None
    weight: str | None = None

    def read(self, name: str, start: int = 0, stop: int | None = None) -> Column:
        column = self.values[name]
        return column._replace(values=column.values[start:stop])


@dataclass(frozen=True)
class Stretch:
    """Some rows of a table that follow one another: ``rows`` of them from ``start`` on."""

    table: Table
    start: int
    rows: int

    @property
    def columns(self) -> Sequence[ColumnSpec]:
        """The columns of the table."""
        return self.table.columns

    @property
    def label(self) -> str | None:
        """The label column of the table."""
        return self.table.label

    @property
    def weight(self) -> str | None:
        """The weight column of the table."""
        return self.table.weight

    def read(self, name: str, start: int = 0, stop: int | None = None) -> Column:
        """The values of a column in the rows from ``start`` to before ``stop``; raises KeyError for an unknown name."""
        end = self.rows if stop is None else min(stop, self.rows)
        return self.table.read(name, self.start + min(start, end), self.start + end)
