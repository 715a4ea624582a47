"""Tables as CSV and as Parquet, made in pieces so that memory stays bounded however long the table is.

The Parquet is plain: one page a column and group of rows, not compressed, written without a library
(https://parquet.apache.org/docs/file-format/). Its footer is a structure in Thrift's compact protocol.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from models.data.columns import Column, ColumnSpec
from models.data.profile import iso_time
from models.data.table import CHUNK, Table
from models.data.words import truth_of
from nncore.arrays import Array

__all__ = ["chunk_rows", "csv_pieces", "parquet_pieces", "piece_rows", "plain_values"]

#: Whole numbers below it are exact in 64-bit floats.
EXACT = 2**53
#: Values of all columns together in a group of rows of Parquet.
CELLS = 2_000_000
#: The same in a piece of text. Whoever reads slowly has one piece in memory, and many may read at a time.
PIECE_CELLS = 65_536


def chunk_rows(columns: int) -> int:
    """Rows of a table with so many columns that are in a group."""
    return max(1, min(CHUNK, CELLS // max(columns, 1)))


def piece_rows(columns: int) -> int:
    """Rows of a table with so many columns that are in a piece of text."""
    return max(1, PIECE_CELLS // max(columns, 1))


def says_truth(column: Column | ColumnSpec) -> bool:
    """Whether a boolean column is of true and false; another pair of words is shown as these words."""
    return [word.strip().lower() for word in column.levels] == ["false", "true"]


def plain_values(column: Column) -> list[bool | float | str | None]:
    """The values of a column as JSON has them; missing ones are None, times are ISO text."""
    gaps = column.missing()
    values: list[bool | float | str | None]
    match column.kind:
        case "number":
            values = column.values.tolist()
        case "text":
            values = list(column.values)
        case "datetime":
            values = [None if gap else iso_time(time) for gap, time in zip(gaps, column.values.tolist(), strict=True)]
        case _:
            truths = column.kind == "boolean" and says_truth(column)
            words = [truth_of(word) for word in column.levels] if truths else column.levels
            values = [words[code] if code >= 0 else None for code in column.values.tolist()]
    for row in np.flatnonzero(gaps).tolist():
        values[row] = None
    return values


def csv_pieces(table: Table) -> Iterator[bytes]:
    """The table as CSV (RFC 4180) in UTF-8 with a header; missing values are empty."""
    names = [column.name for column in table.columns]
    yield _lines([names])
    step = piece_rows(len(names))
    for start in range(0, table.rows, step):
        stop = min(start + step, table.rows)
        cells = [_cells(table.read(name, start, stop)) for name in names]
        yield _lines(zip(*cells, strict=True) if cells else [[]] * (stop - start))


def _lines(rows: Iterable[Sequence[object]]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows)
    return text.getvalue().encode()


def _cells(column: Column) -> Sequence[float | str | bool | None]:
    if column.kind == "boolean":
        return [column.levels[code] if code >= 0 else None for code in column.values.tolist()]
    if column.kind == "number" and column.values.dtype.kind == "f":
        return _shortest(column)
    return plain_values(column)


def _shortest(column: Column) -> list[float | str | None]:
    """Floats as the shortest texts that read back as the same numbers; whole ones without a point."""
    values = column.values
    cells: list[float | str | None] = (values.astype("U32") if values.dtype.itemsize == 4 else values).tolist()
    for row in np.flatnonzero((values == np.trunc(values)) & (np.abs(values) < EXACT)).tolist():
        cells[row] = int(values[row])
    for row in np.flatnonzero(column.missing()).tolist():
        cells[row] = None
    return cells


#: Numbers that the format gives to types, encodings and such.
_BOOLEAN, _INT64, _FLOAT, _DOUBLE, _BYTES = 0, 2, 4, 5, 6
_PLAIN, _RLE, _OPTIONAL, _UTF8, _UNCOMPRESSED, _DATA_PAGE = 0, 3, 1, 0, 0, 0
_MAGIC = b"PAR1"


class _Chunk(NamedTuple):
    """Where the values of a column in a group of rows stand in the file."""

    kind: int
    name: str
    offset: int
    size: int


def parquet_pieces(table: Table) -> Iterator[bytes]:
    """The table as a Parquet file: numbers, booleans, UTF-8 strings and timestamps in UTC; missing values are null."""
    yield _MAGIC
    place = len(_MAGIC)
    groups: list[tuple[int, list[_Chunk]]] = []
    types = [_physical(table.read(column.name, 0, 0)) for column in table.columns]
    step = chunk_rows(len(table.columns))
    for start in range(0, table.rows, step):
        rows = min(step, table.rows - start)
        chunks = []
        for spec, kind in zip(table.columns, types, strict=True):
            page = _page(table.read(spec.name, start, start + rows))
            chunks.append(_Chunk(kind, spec.name, place, len(page)))
            place += len(page)
            yield page
        groups.append((rows, chunks))
    footer = _footer(table, types, groups)
    yield footer + len(footer).to_bytes(4, "little") + _MAGIC


def _physical(column: Column) -> int:
    match column.kind:
        case "number":
            return {"f4": _FLOAT, "f8": _DOUBLE}.get(column.values.dtype.str[1:], _INT64)
        case "datetime":
            return _INT64
        case "boolean" if says_truth(column):
            return _BOOLEAN
    return _BYTES


def _page(column: Column) -> bytes:
    """A data page: which values are there, then these values one after the other."""
    present = ~column.missing()
    levels = _varint(-(-len(present) // 8) << 1 | 1) + np.packbits(present, bitorder="little").tobytes()
    body = len(levels).to_bytes(4, "little") + levels + _plain(column, present)
    size = len(body)
    header = _struct(
        (1, _i32(_DATA_PAGE)),
        (2, _i32(size)),
        (3, _i32(size)),
        (5, _nested((1, _i32(len(present))), (2, _i32(_PLAIN)), (3, _i32(_RLE)), (4, _i32(_RLE)))),
    )
    return header + body


def _plain(column: Column, present: Array) -> bytes:
    values = column.values[present]
    match _physical(column):
        case kind if kind == _BOOLEAN:
            return np.packbits(values.astype(bool), bitorder="little").tobytes()
        case kind if kind == _BYTES and column.kind == "text":
            return b"".join(map(_sized, values.tolist()))
        case kind if kind == _BYTES:
            words = [_sized(word) for word in column.levels]
            return b"".join([words[code] for code in values.tolist()])
        case kind if kind == _INT64:
            return values.astype("<i8").tobytes()
    return values.astype(values.dtype.newbyteorder("<")).tobytes()


def _sized(text: str) -> bytes:
    content = text.encode()
    return len(content).to_bytes(4, "little") + content


def _footer(table: Table, types: Sequence[int], groups: Sequence[tuple[int, Sequence[_Chunk]]]) -> bytes:
    root = _struct((4, _binary("schema")), (5, _i32(len(types))))
    schema = [root, *(_element(spec, kind) for spec, kind in zip(table.columns, types, strict=True))]
    return _struct(
        (1, _i32(1)),
        (2, _list(_STRUCT, schema)),
        (3, _i64(table.rows)),
        (4, _list(_STRUCT, [_group(rows, chunks) for rows, chunks in groups])),
        (6, _binary("trainyard")),
    )


def _element(spec: ColumnSpec, kind: int) -> bytes:
    fields = [(1, _i32(kind)), (3, _i32(_OPTIONAL)), (4, _binary(spec.name))]
    if kind == _BYTES:
        fields += [(6, _i32(_UTF8)), (10, _nested((1, _nested())))]
    elif spec.kind == "datetime":
        microseconds = _nested((2, _nested()))
        fields.append((10, _nested((8, _nested((1, _FALSE), (2, microseconds))))))
    return _struct(*fields)


def _group(rows: int, chunks: Sequence[_Chunk]) -> bytes:
    columns = []
    for chunk in chunks:
        meta = _nested(
            (1, _i32(chunk.kind)),
            (2, _list(_I32, [_varint(_PLAIN << 1), _varint(_RLE << 1)])),
            (3, _list(_BINARY, [_text(chunk.name)])),
            (4, _i32(_UNCOMPRESSED)),
            (5, _i64(rows)),
            (6, _i64(chunk.size)),
            (7, _i64(chunk.size)),
            (9, _i64(chunk.offset)),
        )
        columns.append(_struct((2, _i64(chunk.offset)), (3, meta)))
    size = sum(chunk.size for chunk in chunks)
    return _struct((1, _list(_STRUCT, columns)), (2, _i64(size)), (3, _i64(rows)))


# Thrift's compact protocol. A value is its type and its bytes; a structure is its fields by rising number.
_I32, _I64, _BINARY, _LIST, _STRUCT = 5, 6, 8, 9, 12
_Value = tuple[int, bytes]
_FALSE: _Value = (2, b"")


def _varint(number: int) -> bytes:
    content = bytearray()
    while number > 0x7F:
        content.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*content, number])


def _i32(number: int) -> _Value:
    return _I32, _varint(number << 1)


def _i64(number: int) -> _Value:
    return _I64, _varint(number << 1)


def _text(text: str) -> bytes:
    content = text.encode()
    return _varint(len(content)) + content


def _binary(text: str) -> _Value:
    return _BINARY, _text(text)


def _list(kind: int, members: Sequence[bytes]) -> _Value:
    size = len(members)
    head = bytes([size << 4 | kind]) if size < 15 else bytes([0xF0 | kind]) + _varint(size)
    return _LIST, head + b"".join(members)


def _struct(*fields: tuple[int, _Value]) -> bytes:
    content, last = bytearray(), 0
    for number, (kind, value) in fields:
        content.append(number - last << 4 | kind)
        content += value
        last = number
    return bytes(content) + b"\0"


def _nested(*fields: tuple[int, _Value]) -> _Value:
    return _STRUCT, _struct(*fields)
