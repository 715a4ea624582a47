"""Values of a column as another kind, by what they say: the number 1250.0 is the category "1250"."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from models.data.columns import MISSING_CODE, MISSING_TIME, Column, ColumnKind, ColumnSpec
from models.data.profile import iso_time
from models.data.times import time_of
from models.data.words import number_of, number_text, truth_of
from models.errors import describe
from nncore.arrays import Array

__all__ = ["ConversionError", "coerce"]

_WANTED: dict[ColumnKind, str] = {
    "number": "a number",
    "category": "a word",
    "boolean": "true or false",
    "datetime": "a date or time such as 2024-05-17 or 2024-05-17T08:30:00Z",
    "text": "a text",
}


class ConversionError(ValueError):
    """A value cannot be converted: its ``row``, counted from 0, what is ``wanted`` there and what was ``received``."""

    def __init__(self, row: int, kind: ColumnKind, received: object) -> None:
        self.row, self.wanted, self.received = row, _WANTED[kind], received
        super().__init__(f"row {row}: must be {self.wanted}. Received: {describe(received)}")


def coerce(column: Column, kind: ColumnKind, spec: ColumnSpec | None = None) -> Column:
    """The column as ``kind``; raises ConversionError with the first row that has no value of this kind.

    ``spec`` describes the column that is wanted: if it is boolean, its two levels are words for false and true too.
    Missing values stay missing.
    """
    levels = spec.levels if spec is not None and spec.kind == kind == "boolean" else ()
    if column.kind == kind:
        return column._replace(levels=levels) if levels else column
    gaps = column.missing()
    if gaps.all():
        return _all_missing(kind, len(gaps), levels)
    match kind:
        case "category" | "text":
            return _worded(column, kind)
        case "number":
            return _numbered(column, gaps)
        case "boolean":
            return _truths(column, gaps, levels)
    return _times(column)


def _all_missing(kind: ColumnKind, rows: int, levels: tuple[str, ...]) -> Column:
    match kind:
        case "number":
            return Column(kind, np.full(rows, np.nan))
        case "datetime":
            return Column(kind, np.full(rows, MISSING_TIME, np.int64))
        case "text":
            return Column(kind, np.full(rows, "", object))
        case "boolean":
            return Column(kind, np.full(rows, MISSING_CODE, np.int8), levels or ("false", "true"))
    return Column(kind, np.full(rows, MISSING_CODE, np.int32))


def words_of(column: Column) -> tuple[Array, list[str]]:
    """A column as codes, -1 for missing values, and the word of each code."""
    match column.kind:
        case "category" | "boolean":
            return column.values, list(column.levels)
        case "text":
            levels = sorted(set(column.values.tolist()) - {""})
            places = {word: place for place, word in enumerate(levels)}
            codes = np.fromiter((places.get(text, -1) for text in column.values), np.int32, len(column.values))
            return codes, levels
    gaps = column.missing()
    # A zero is written without a sign.
    distinct, inverse = np.unique(column.values[~gaps] + column.values.dtype.type(0), return_inverse=True)
    codes = np.full(len(gaps), MISSING_CODE, np.int32)
    codes[~gaps] = inverse
    show: Callable[[float], str] = iso_time if column.kind == "datetime" else number_text
    return codes, [show(value) for value in distinct.tolist()]


def _worded(column: Column, kind: ColumnKind) -> Column:
    codes, words = words_of(column)
    if kind == "category":
        return Column(kind, codes.astype(np.int32), tuple(words))
    return Column(kind, np.array([*words, ""], object)[codes])


def _numbered(column: Column, gaps: Array) -> Column:
    if column.kind == "datetime":
        row = int(np.argmin(gaps))
        raise ConversionError(row, "number", iso_time(int(column.values[row])))
    if column.kind == "boolean":
        return Column("number", np.where(gaps, np.nan, column.values.astype(np.float64)))
    return Column("number", _by_word(column, "number", number_of, np.nan))


def _truths(column: Column, gaps: Array, levels: tuple[str, ...]) -> Column:
    if column.kind == "number":
        bad = ~gaps & (column.values != 0) & (column.values != 1)
        if bad.any():
            row = int(np.argmax(bad))
            raise ConversionError(row, "boolean", column.values[row].item())
        codes = np.where(gaps, MISSING_CODE, column.values == 1).astype(np.int8)
        return Column("boolean", codes, levels or ("false", "true"))
    own = {word.lower(): place for place, word in enumerate(levels)}

    def truth(word: str) -> int | None:
        return own.get(word.strip().lower(), truth_of(word))

    return Column(
        "boolean", _by_word(column, "boolean", truth, MISSING_CODE).astype(np.int8), levels or ("false", "true")
    )


def _times(column: Column) -> Column:
    if column.kind in ("number", "boolean"):
        row = int(np.argmin(column.missing()))
        value = column.values[row].item()
        raise ConversionError(row, "datetime", bool(value) if column.kind == "boolean" else value)
    return Column("datetime", _by_word(column, "datetime", time_of, MISSING_TIME))


def _by_word(column: Column, kind: ColumnKind, convert: Callable[[str], float | None], missing: float) -> Array:
    """Each row's word converted; the last place of the table is that of a missing value, whose code is -1."""
    codes, words = words_of(column)
    found = [convert(word) for word in words]
    if None in found:
        _refuse(codes, words, found, kind)
    values = [missing if value is None else value for value in found]
    table: Array = np.array([*values, missing], np.float64 if kind == "number" else np.int64)
    return table[codes]


def _refuse(codes: Array, words: Sequence[str], found: Sequence[float | None], kind: ColumnKind) -> None:
    bad = np.array([value is None for value in found] + [False])[codes]
    if bad.any():
        row = int(np.argmax(bad))
        raise ConversionError(row, kind, words[codes[row]])
