"""Passes over a file: each column's SQL, its batches into its sink, and another pass for columns of another kind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from models.data.dataset import WEIGHT_RULE
from models.data.limits import NAME_BYTES, TableSize
from models.data.profile import sample_rows
from models.errors import shortened
from models.reading.arrow import numbers
from models.reading.blocks import Blocks
from models.reading.cells import NumberForm, is_missing_sql, level_sql, presence_sql, trimmed
from models.reading.options import ReadOptions
from models.reading.scan import Engine, Source, select
from models.reading.sinks import SINKS, BadCells, Finished, Sink, Turned
from models.reading.types import Plan, Reading, plan_of_words
from nncore.arrays import Array

__all__ = ["BadCellsError", "Passes", "native_plans"]

#: Columns that are read in one pass; wider tables are read in several. DuckDB's batches are the shorter the wider they
#: are, so this limits the number of expressions rather than memory.
_GROUP = 2000
_SAMPLE = 2000

_WHOLE = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER")
_REAL = ("DOUBLE", "HUGEINT", "UHUGEINT", "UBIGINT", "BIGNUM")


class BadCellsError(Exception):
    """Cells that are no values, by column: which, and what they must be."""

    def __init__(self, cells: Mapping[str, tuple[BadCells, str]]) -> None:
        super().__init__("there are cells that are no values")
        self.cells = cells


class _Column(NamedTuple):
    """A column to read: its place in the source, its plan, and the type in the file if its values are no words."""

    place: int
    plan: Plan
    native: str | None


def native_plans(engine: Engine, source: Source, reading: Reading) -> dict[str, tuple[Plan, str | None]]:
    """The plans of a file that has types: its numbers, booleans and times as they are, its strings like cells."""
    words = []
    found: dict[str, tuple[Plan, str | None]] = {}
    for place, (name, kind) in enumerate(zip(source.names, source.types, strict=True)):
        plan = _native(kind)
        forced = reading.options.types.get(name)
        datetime_label = name == reading.options.label and plan is not None and plan.kind == "datetime"
        if plan is None or datetime_label or (forced is not None and forced != plan.kind):
            words.append((place, name))
        else:
            found[name] = (plan, kind)
    if words:
        cells = engine.rows(select(source, [_words(source, place) for place, _ in words], _SAMPLE))
        for index, (_, name) in enumerate(words):
            sample = [row[index] or "" for row in cells]
            plan = plan_of_words(sample, name, reading, whole=len(cells) < _SAMPLE, rows=len(cells))
            found[name] = (plan, None)
    return {name: found[name] for name in source.names}


def _native(kind: str) -> Plan | None:
    if kind in _WHOLE or kind in _REAL or kind == "FLOAT" or kind.startswith("DECIMAL"):
        return Plan("number")
    if kind == "BOOLEAN":
        return Plan("boolean")
    return Plan("datetime") if kind == "DATE" or kind.startswith("TIMESTAMP") else None


def _words(source: Source, place: int) -> str:
    """SQL for a cell as text."""
    kind, cell = source.types[place], f"c{place}"
    if kind == "VARCHAR":
        return cell
    if kind == "JSON":
        return f"({cell} ->> '$')"
    text = f"{cell}::VARCHAR"
    real = kind in ("FLOAT", *_REAL) or kind.startswith("DECIMAL")
    return f"regexp_replace({text}, '\\.0+$', '')" if real else f"({text})"


class Passes:
    """All passes over one file."""

    def __init__(
        self,
        engine: Engine,
        source: Source,
        plans: Mapping[str, tuple[Plan, str | None]],
        reading: Reading,
        blocks: Blocks,
        size: TableSize,
    ) -> None:
        self._size = size
        self._engine, self._source, self._reading, self._blocks = engine, source, reading, blocks
        self._options: ReadOptions = reading.options
        self._columns = {name: _Column(place, *plans[name]) for place, name in enumerate(source.names)}
        self._sample = sample_rows(len(source.names))
        #: Rows that are kept, and rows that are left out because they have no label.
        self.rows = self.left_out = 0

    @property
    def plans(self) -> dict[str, Plan]:
        """The plans as they are now."""
        return {name: column.plan for name, column in self._columns.items()}

    def run(self) -> dict[str, Finished]:
        """Read all columns. Raises BadCellsError, and DuckDB's errors."""
        finished: dict[str, Finished] = {}
        bad: dict[str, tuple[BadCells, str]] = {}
        pending = list(self._columns)
        while pending:
            again: list[str] = []
            for start in range(0, len(pending), _GROUP):
                for name, sink in self._pass(pending[start : start + _GROUP]).items():
                    found = sink.finish(self.rows)
                    if isinstance(found, Turned):
                        self._columns[name] = self._turned(name, found.plan)
                        again.append(name)
                    elif sink.bad.total:
                        bad[name] = (sink.bad, self._wanted(name, sink))
                    else:
                        finished[name] = found
            pending = again
        if bad:
            raise BadCellsError({name: bad[name] for name in self._columns if name in bad})
        return finished

    def _turned(self, name: str, plan: Plan) -> _Column:
        column = self._columns[name]
        return column._replace(plan=replace(plan, forced=column.plan.forced), native=None)

    def _wanted(self, name: str, sink: Sink) -> str:
        """What the cells of a column must be, and what would work if they are right as they are."""
        plan = self._columns[name].plan
        if sink.weight:
            return WEIGHT_RULE
        if plan.kind == "category":
            what = "class" if sink.label else f"level; types={shortened(name)}:text takes longer ones"
            return f"must have at most {NAME_BYTES} bytes, because it is a {what}"
        kinds = {"number": "a finite number", "datetime": "a time", "boolean": "true or false"}
        wanted = f"must be {kinds.get(plan.kind, plan.kind)}"
        if plan.date is not None and plan.date.name != "iso":
            wanted += f" like {plan.date.name}"
        if plan.forced:
            return f"{wanted}, or a missing value (missing=… adds words for it)"
        other = f"types={shortened(name)}:category"
        return f"{wanted} like the others, or a missing value (missing=… adds words for it), or {other}"

    def _pass(self, names: Sequence[str]) -> dict[str, Sink]:
        """One pass over the file for these columns."""
        expressions: list[str] = []
        sinks: dict[str, tuple[Sink, slice]] = {}
        label = self._options.label
        if label is not None:
            column = self._columns[label]
            if column.native is None:
                cell, known = _words(self._source, column.place), self._type_of(column.plan.levels)
                expressions.append(presence_sql(cell, self._reading.missing_in(label), known))
            else:
                expressions.append(f"(c{column.place} IS NOT NULL)::TINYINT")
        for name in names:
            sink, sql = self._sink(name)
            sinks[name] = (sink, slice(len(expressions), len(expressions) + len(sql)))
            expressions += sql
        base = kept = 0
        for batch in self._engine.batches(select(self._source, expressions)):
            self._size.require(base + batch.length, 0)
            keep, places = self._kept(batch) if label is not None else (None, None)
            children = list(batch.children)
            for sink, where in sinks.values():
                sink.add(children[where], keep, places, base)
            base += batch.length
            kept += batch.length if places is None else len(places)
        self.rows, self.left_out = kept, base - kept
        return {name: sink for name, (sink, _) in sinks.items()}

    @staticmethod
    def _kept(batch: Any) -> tuple[Array | None, Array | None]:
        keep = numbers(next(iter(batch.children)))[0].astype(bool)
        return (None, None) if keep.all() else (keep, np.flatnonzero(keep))

    def _sink(self, name: str) -> tuple[Sink, list[str]]:
        column = self._columns[name]
        plan, cell = column.plan, _words(self._source, column.place)
        missing = self._reading.missing_in(name)
        if column.native is not None:
            key, sql = self._native_sql(column)
        else:
            key = plan.kind
            match plan.kind:
                case "number":
                    sql = [(plan.number or NumberForm()).sql(cell, missing, strict=not plan.forced)]
                case "boolean":
                    assert plan.boolean is not None
                    sql = [plan.boolean.sql(cell, missing)]
                case "datetime":
                    assert plan.date is not None
                    sql = [plan.date.sql(cell, missing)]
                case "category":
                    sql = level_sql(cell, missing, self._type_of(plan.levels))
                case "text":
                    text = f"(CASE WHEN {is_missing_sql(cell, missing)} THEN '' ELSE {trimmed(cell)} END)"
                    sql = [text, f"length({text})::BIGINT", f"hash({text})"]
        sink = SINKS[key](name, plan, self._blocks, self._sample)
        sink.limited = not self._options.alone
        sink.label, sink.weight = name == self._options.label, name == self._options.weight
        return sink, sql

    def _native_sql(self, column: _Column) -> tuple[str, list[str]]:
        cell, kind = f"c{column.place}", column.native or ""
        if column.plan.kind == "boolean":
            return "boolean", [f"{cell}::TINYINT"]
        if column.plan.kind == "datetime":
            return "datetime", [f"epoch_us({cell}{'' if 'TIME ZONE' in kind else '::TIMESTAMP'})"]
        if kind == "FLOAT":
            return "single", [cell]
        if kind in _WHOLE:
            gaps = self._engine.rows(select(self._source, [f"count(*) - count({cell})"]))[0][0]
            return ("number", [f"{cell}::DOUBLE"]) if gaps else ("whole", [f"{cell}::BIGINT"])
        return "number", [f"{cell}::DOUBLE"]

    def _type_of(self, levels: Sequence[str]) -> str | None:
        """The name of a type in SQL that has these levels; None if there are none."""
        return self._engine.levels_type(levels) if levels else None
