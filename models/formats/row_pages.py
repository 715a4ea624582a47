"""Pages of a table's rows, all of them or those with given values."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from models.data.columns import Column, ColumnSpec
from models.data.conversion import ConversionError, coerce
from models.data.labelling import require_column
from models.data.table import Table
from models.data.words import is_missing, truth_of
from models.errors import InvalidError, describe
from models.formats.table_export import chunk_rows, plain_values
from nncore.arrays import Array

__all__ = ["Condition", "RowPage", "condition_of", "page_of", "rows_at"]

#: Rows that are searched for one page; the next page goes on behind them.
SEARCHED = 1_000_000
#: Single rows that are at most so far apart are read together with the rows between them, at most so many at once.
GAP, STRETCH = 512, 16_384


class Condition(NamedTuple):
    """A column and the value that its rows must have."""

    column: ColumnSpec
    value: str


class RowPage(NamedTuple):
    """Rows with their numbers, whether rows follow, and the number of the last row that was looked at."""

    rows: list[dict[str, Any]]
    has_more: bool
    after: int


def condition_of(text: str, columns: Sequence[ColumnSpec], pointer: str) -> Condition:
    """The condition in ``column:value``; raises InvalidError at ``pointer`` for an unknown column or a bad value."""
    name, colon, value = text.partition(":")
    if not colon:
        raise InvalidError.at(pointer, f"must be column:value. Received: {describe(text)}")
    known = {column.name for column in columns}
    # Names may have colons; the longest name counts.
    places = [place for place, sign in enumerate(text) if sign == ":" and text[:place].strip() in known]
    if places:
        name, value = text[: places[-1]], text[places[-1] + 1 :]
    condition = Condition(require_column(columns, name.strip(), pointer), value.strip())
    try:
        matching(Column(condition.column.kind, np.empty(0, np.int8), condition.column.levels), condition)
    except ConversionError as error:
        detail = f"must have {error.wanted} behind {describe(condition.column.name)}:"
        raise InvalidError.at(pointer, f"{detail} Received: {describe(condition.value)}") from None
    return condition


def matching(column: Column, condition: Condition) -> Array:
    """Which values meet a condition: equal ones by value, or missing ones for a word for a missing value."""
    wanted = condition.value
    match column.kind:
        case "text":
            return column.values == wanted if wanted else column.missing()
        case "category" | "boolean":
            return _word(column, wanted)
    if is_missing(wanted):
        return column.missing()
    value = coerce(Column("text", np.array([wanted], object)), column.kind).values[0]
    found: Array = column.values == value
    return found


def _word(column: Column, wanted: str) -> Array:
    """Which codes stand for a word: the word itself, or one of the same truth in a boolean column."""
    levels = list(column.levels)
    if wanted in levels:
        code = levels.index(wanted)
    elif is_missing(wanted):
        return column.missing()
    elif column.kind == "boolean" and wanted.lower() in [level.lower() for level in levels]:
        code = [level.lower() for level in levels].index(wanted.lower())
    elif column.kind == "boolean":
        truth = truth_of(wanted)
        if truth is None:
            raise ConversionError(0, "boolean", wanted)
        code = int(truth)
    else:
        return np.zeros(len(column.values), bool)
    found: Array = column.values == code
    return found


def page_of(table: Table, after: int, limit: int, conditions: Sequence[Condition] = ()) -> RowPage:
    """Up to ``limit`` rows behind the row number ``after`` that meet all conditions; rows are counted from 1."""
    if not conditions:
        stop = min(after + limit, table.rows)
        places = list(range(after, stop))
        return RowPage(rows_at(table, places), stop < table.rows, max(stop, after))
    step = chunk_rows(len(conditions))
    found: list[int] = []
    last = min(after + SEARCHED, table.rows)
    for start in range(after, last, step):
        stop = min(start + step, last)
        mask = np.ones(stop - start, bool)
        for condition in conditions:
            mask &= matching(table.read(condition.column.name, start, stop), condition)
        found += (np.flatnonzero(mask) + start).tolist()
        if len(found) > limit:
            kept = found[:limit]
            return RowPage(rows_at(table, kept), has_more=True, after=kept[-1] + 1)
    return RowPage(rows_at(table, found), last < table.rows, max(last, after))


def rows_at(table: Table, places: Sequence[int]) -> list[dict[str, Any]]:
    """The rows at these places in rising order, each with its number and its values by column."""
    rows: list[dict[str, Any]] = [{"row": place + 1, "values": {}} for place in places]
    for start, stop in _stretches(places):
        first = places[start]
        within = np.array(places[start:stop]) - first
        for column in table.columns:
            values = table.read(column.name, first, places[stop - 1] + 1)
            for row, value in zip(
                rows[start:stop], plain_values(values._replace(values=values.values[within])), strict=True
            ):
                row["values"][column.name] = value
    return rows


def _stretches(places: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Which of the places, in rising order, are read at once: those that lie close together."""
    start = 0
    for index in range(1, len(places)):
        if places[index] - places[index - 1] > GAP or places[index] - places[start] >= STRETCH:
            yield start, index
            start = index
    if places:
        yield start, len(places)
