"""Tables from JSON: rows as objects, as lists with their columns' names, or as a matrix of numbers with names.

A column's kind follows from its values: numbers, booleans, or strings, which are words, texts or, if all of them are,
ISO times. ``null``, a key that a row lacks and words for missing values are missing.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from models.data.columns import MISSING_CODE, MISSING_TIME, Column, ColumnKind, ColumnSpec
from models.data.conversion import ConversionError, coerce
from models.data.kinds import reason_aside, word_kind
from models.data.limits import MAXIMUM_COLUMNS, too_long
from models.data.rows import number_matrix
from models.data.table import MemoryTable
from models.data.times import time_of
from models.data.words import boolean_levels, is_missing, number_text, truth_of
from models.errors import Faults, InvalidError, describe, escaped

__all__ = ["column_names", "from_lists", "from_matrix", "from_records", "set_aside", "with_column"]

#: A whole number beyond this does not fit into 64 bits.
_LARGEST_WHOLE = 2**63 - 1

#: The pointer to a column's value in a row.
Pointer = Callable[[int], str]


def from_records(
    rows: Any,
    pointer: str = "/rows",
    kinds: Mapping[str, ColumnKind] | None = None,
    missing: Collection[str] = (),
    *,
    limited: bool = True,
) -> MemoryTable:
    """A table from a list of objects, with the columns in the order in which their names come first.

    ``kinds`` are the kinds of some columns, by name; values are converted to them. ``missing`` are further words for
    missing values, in lower case. If ``limited``, the columns are few enough, and names and levels short enough, for a
    table that is stored (``models.data.limits``). Raises InvalidError with the first faults.
    """
    if not isinstance(rows, list) or not rows:
        raise InvalidError.at(pointer, f"must be a list of at least one object, one per row. Received: {_some(rows)}")
    faults = Faults()
    for place, row in enumerate(rows):
        if type(row) is dict:
            continue
        if faults.full:
            faults.count()
        else:
            faults.add(f"{pointer}/{place}", f"must be an object, as the other rows. Received: {describe(row)}", place)
    faults.check()
    keys = list(dict.fromkeys(key for row in rows for key in row))
    if not keys:
        raise InvalidError.at(f"{pointer}/0", "must hold at least one value by its column's name. Received: {}")
    if limited:
        _require_few(len(keys), pointer)
    names = _names(keys, lambda place: _row_with(rows, pointer, keys[place]), limited=limited)

    def values() -> Iterable[tuple[list[Any], Pointer]]:
        for key in keys:
            member = escaped(key)
            yield [row.get(key) for row in rows], lambda row, member=member: f"{pointer}/{row}/{member}"  # type: ignore[misc]

    return _table(names, values(), len(rows), kinds or {}, missing, faults, limited=limited)


def _row_with(rows: list[dict[str, Any]], pointer: str, key: str) -> str:
    row = next(place for place, row in enumerate(rows) if key in row)
    return f"{pointer}/{row}/{escaped(key)}"


def from_lists(
    columns: Any,
    rows: Any,
    pointer: str = "",
    kinds: Mapping[str, ColumnKind] | None = None,
    missing: Collection[str] = (),
    *,
    limited: bool = True,
) -> MemoryTable:
    """A table from the names in ``columns`` and a list of rows, each a list with one value a column; else as above."""
    names = _given_names(columns, f"{pointer}/columns", limited=limited)
    if not isinstance(rows, list) or not rows:
        wanted = "must be a list of at least one row, each a list of values"
        raise InvalidError.at(f"{pointer}/rows", f"{wanted}. Received: {_some(rows)}")
    faults = Faults()
    for place, row in enumerate(rows):
        if type(row) is list and len(row) == len(names):
            continue
        if faults.full:
            faults.count()
        else:
            received = len(row) if isinstance(row, list) else describe(row)
            detail = f"must be a list of {len(names)} values, one per column. Received: {received}"
            faults.add(f"{pointer}/rows/{place}", detail, place)
    faults.check()

    def values() -> Iterable[tuple[list[Any], Pointer]]:
        for place in range(len(names)):
            yield [row[place] for row in rows], lambda row, place=place: f"{pointer}/rows/{row}/{place}"  # type: ignore[misc]

    return _table(names, values(), len(rows), kinds or {}, missing, faults, limited=limited)


def from_matrix(inputs: Any, features: Any, pointer: str = "", *, limited: bool = True) -> MemoryTable:
    """A table of numbers from a list of rows of numbers and the names of their columns."""
    names = _given_names(features, f"{pointer}/features", limited=limited)
    matrix = number_matrix(inputs, f"{pointer}/inputs")
    _require_names(names, matrix.shape[1], pointer)
    values = {name: Column("number", matrix[:, place].copy()) for place, name in enumerate(names)}
    return MemoryTable(len(matrix), tuple(ColumnSpec(name, "number") for name in names), values)


def column_names(features: Any, width: int, pointer: str = "", *, limited: bool = True) -> list[str]:
    """The trimmed names of the columns of a matrix, from its request's ``features``."""
    names = _given_names(features, f"{pointer}/features", limited=limited)
    _require_names(names, width, pointer)
    return names


def _require_names(names: list[str], width: int, pointer: str) -> None:
    if width != len(names):
        detail = f"must hold {width} names, one per column of inputs. Received: {len(names)}"
        raise InvalidError.at(f"{pointer}/features", detail)


def with_column(table: MemoryTable, name: str, column: Column) -> MemoryTable:
    """The table with a column put in, in place of one of the same name or as the last one."""
    spec = ColumnSpec(name, column.kind, column.levels)
    columns = tuple(spec if each.name == name else each for each in table.columns)
    columns = columns if name in table.values else (*columns, spec)
    return replace(table, columns=columns, values={**table.values, name: column})


def set_aside(table: MemoryTable) -> MemoryTable:
    """The table with the reasons why some of its columns, beside labels and weights, are of no use to a model."""
    special = {table.label, table.weight}
    columns = tuple(
        column if column.name in special else replace(column, reason=reason_aside(column.name, table.read(column.name)))
        for column in table.columns
    )
    return replace(table, columns=columns)


def _some(value: Any) -> str:
    return "an empty list" if value == [] else describe(value)


def _given_names(value: Any, pointer: str, *, limited: bool) -> list[str]:
    if not isinstance(value, list) or not value:
        raise InvalidError.at(pointer, f"must be a list of at least one column's name. Received: {_some(value)}")
    if limited:
        _require_few(len(value), pointer)
    for place, name in enumerate(value):
        if not isinstance(name, str):
            raise InvalidError.at(f"{pointer}/{place}", f"must be a column's name. Received: {describe(name)}")
    return _names(value, lambda place: f"{pointer}/{place}", limited=limited)


def _require_few(columns: int, pointer: str) -> None:
    if columns > MAXIMUM_COLUMNS:
        raise InvalidError.at(pointer, f"must have at most {MAXIMUM_COLUMNS:,} columns. Received: {columns:,}")


def _names(given: Sequence[str], pointer_of: Callable[[int], str], *, limited: bool) -> list[str]:
    """Trimmed names, ``column_N`` for empty ones; raises InvalidError for repeated ones and, if limited, long ones."""
    names = [name.strip() or f"column_{place}" for place, name in enumerate(given, start=1)]
    first: dict[str, int] = {}
    faults = Faults()
    for place, name in enumerate(names):
        if name in first:
            if faults.full:
                faults.count()
            else:
                received = describe(given[place])
                faults.add(pointer_of(place), f"must be a name that no other column has. Received: {received}")
        first.setdefault(name, place)
        wrong = too_long(name) if limited else None
        if wrong is not None:
            faults.add(pointer_of(place), f"a column's name {wrong}")
    faults.check()
    return names


def _table(
    names: Sequence[str],
    values: Iterable[tuple[list[Any], Pointer]],
    rows: int,
    kinds: Mapping[str, ColumnKind],
    missing: Collection[str],
    faults: Faults,
    *,
    limited: bool,
) -> MemoryTable:
    columns, specs = dict[str, Column](), list[ColumnSpec]()
    for name, (cells, pointer) in zip(names, values, strict=True):
        plain = _without_missing(cells, missing)
        column = _column(name, plain, pointer, kinds.get(name), faults)
        if column is not None:
            if limited and column.kind == "category":
                _check_levels(name, column, pointer, faults)
            columns[name] = column
            specs.append(ColumnSpec(name, column.kind, column.levels))
    faults.check()
    return MemoryTable(rows, tuple(specs), columns)


def _without_missing(cells: list[Any], more: Collection[str]) -> list[Any]:
    """The cells with None for words of missing values, and strings without the spaces around them."""
    if str not in set(map(type, cells)):
        return cells
    found: dict[str, str | None] = {}
    for cell in cells:
        if type(cell) is str and cell not in found:
            found[cell] = None if is_missing(cell, more) else cell.strip()
    return [found[cell] if type(cell) is str else cell for cell in cells]


#: The types of JSON values that a column can hold, and what they are called.
_NUMBERS: set[type] = {int, float}
#: Types that are converted together.
_GROUPS: tuple[set[type], ...] = (_NUMBERS, {bool}, {str})
_WANTED = {str: "a string", int: "a number", float: "a number", bool: "true or false"}


def _column(name: str, cells: list[Any], pointer: Pointer, kind: ColumnKind | None, faults: Faults) -> Column | None:
    """The column of some cells, whose missing values are None; None if faults were added."""
    types = set(map(type, cells)) - {type(None)}
    plain = types <= {str, bool, int, float}
    if not plain or (kind is None and len(types - _NUMBERS) + bool(types & _NUMBERS) > 1):
        _add_faults(name, cells, pointer, types if plain else None, faults)
        return None
    if kind is None:
        return _typed(cells, types, None)
    if kind in ("category", "text"):
        words = cells if types == {str} else [None if cell is None else _word(cell) for cell in cells]
        return _typed(words, {str}, kind)
    try:
        return _converted(cells, types, kind)
    except ConversionError as error:
        detail = f"must be {error.wanted}, because the column is {_article(kind)}"
        faults.add(pointer(error.row), f"{detail}. Received: {describe(cells[error.row])}", error.row, name)
        return None


def _check_levels(name: str, column: Column, pointer: Pointer, faults: Faults) -> None:
    """Report the levels that are too long, each at its first row."""
    for code, level in enumerate(column.levels):
        wrong = too_long(level)
        if wrong is not None and faults.full:
            faults.count()
        elif wrong is not None:
            row = int(np.argmax(column.values == code))
            faults.add(pointer(row), f"{wrong}; as a text (types), the column takes longer values", row, name)


def _converted(cells: list[Any], types: set[type], kind: ColumnKind) -> Column:
    """Numbers, truths and words as numbers, truths or times, each for itself, whatever the others are.

    Raises ConversionError for the first cell of a type that cannot be converted.
    """
    groups: list[set[type]] = [group for group in _GROUPS if group & types]
    if len(groups) < 2:
        return coerce(_typed(cells, types, "category" if types == {str} else None), kind)
    whole = coerce(Column("number", np.full(len(cells), np.nan)), kind)
    for group in groups:
        places = [place for place, cell in enumerate(cells) if type(cell) in group]
        try:
            part = _converted([cells[place] for place in places], group & types, kind)
        except ConversionError as error:
            error.row = places[error.row]
            raise
        whole.values[places] = part.values
    return whole


def _article(kind: ColumnKind) -> str:
    return f"a {kind}" if kind not in ("text", "boolean") else {"text": "text", "boolean": "boolean"}[kind]


def _add_faults(name: str, cells: list[Any], pointer: Pointer, types: set[type] | None, faults: Faults) -> None:
    """Report the values that no column can hold or, of a mixed column, those that are not like the first one."""
    first: type | None = None
    for row, cell in enumerate(cells):
        if cell is None:
            continue
        if types is None:
            wrong = type(cell) not in _WANTED
        else:
            first = first or type(cell)
            wrong = _WANTED[type(cell)] != _WANTED[first]
        if not wrong:
            continue
        if faults.full:
            faults.count()
            continue
        received = f"Received: {describe(cell)}"
        if first is None:
            faults.add(pointer(row), f"must be a number, a string, true, false or null. {received}", row, name)
        else:
            remedy = "make the column a category (types) to take all values as words"
            detail = f"must be {_WANTED[first]} like the column's first value; or {remedy}"
            faults.add(pointer(row), f"{detail}. {received}", row, name)


def _word(cell: Any) -> str:
    if isinstance(cell, bool):
        return "true" if cell else "false"
    return number_text(cell) if isinstance(cell, float) else str(cell)


def _typed(cells: list[Any], types: set[type], kind: ColumnKind | None) -> Column:
    """A column of values of one type, the missing ones being None."""
    if types <= _NUMBERS:
        return Column("number", _numbers(cells, types))
    if types == {bool}:
        codes = [MISSING_CODE if cell is None else int(cell) for cell in cells]
        return Column("boolean", np.array(codes, np.int8), ("false", "true"))
    distinct = sorted({cell for cell in cells if cell is not None})
    return _words(cells, distinct, kind if kind in ("category", "text") else word_kind(distinct, len(cells)))


def _numbers(cells: list[Any], types: set[type]) -> Any:
    if types == {int} and None not in cells and max(map(abs, cells)) <= _LARGEST_WHOLE:
        return np.array(cells, np.int64)
    return np.array(cells, np.float64)


def _words(cells: list[Any], distinct: list[str], kind: ColumnKind) -> Column:
    """A column of strings as categories, texts, booleans or times."""
    if kind == "text":
        return Column(kind, np.array(["" if cell is None else cell for cell in cells], object))
    codes: dict[Any, int] = {word: place for place, word in enumerate(distinct)}
    levels: tuple[str, ...] = tuple(distinct)
    missing, dtype = MISSING_CODE, "int32"
    if kind == "boolean":
        codes, levels = {word: int(bool(truth_of(word))) for word in distinct}, boolean_levels(distinct) or ()
        dtype = "int8"
    elif kind == "datetime":
        codes, levels = {word: time_of(word) or 0 for word in distinct}, ()
        missing, dtype = MISSING_TIME, "int64"
    codes[None] = missing
    return Column(kind, np.fromiter((codes[cell] for cell in cells), np.dtype(dtype), len(cells)), levels)
