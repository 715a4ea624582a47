"""Tables as answers: files of the type that ``Accept`` names, made while they are sent."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import orjson
from flask import Response, request
from werkzeug.exceptions import NotAcceptable

from models.data.columns import Column
from models.data.table import Table
from models.errors import shortened
from models.formats.table_export import csv_pieces, parquet_pieces, piece_rows, plain_values

__all__ = ["CSV", "NDJSON", "PARQUET", "TABLE_TYPES", "accepted_type", "table_answer"]

CSV, NDJSON, PARQUET = "text/csv", "application/x-ndjson", "application/vnd.apache.parquet"
TABLE_TYPES = (CSV, NDJSON, PARQUET)
_ENDS = {CSV: "csv", NDJSON: "ndjson", PARQUET: "parquet"}


def accepted_type(what: str) -> str:
    """The type that the current request accepts, CSV if any will do; raises NotAcceptable, which names ``what``."""
    accept = request.headers.get("Accept")
    kind = request.accept_mimetypes.best_match(TABLE_TYPES) if accept else CSV
    if kind is None:
        raise NotAcceptable(
            f"the {what} can be sent as {', '.join(TABLE_TYPES)}. Received: Accept: {shortened(accept or '')}"
        )
    return kind


def table_answer(table: Table, kind: str, name: str) -> Response:
    """The table as a stream of this type, with ``name`` and its usual end as the name of a file."""
    headers = {"Content-Disposition": f'attachment; filename="{name}.{_ENDS[kind]}"', "Vary": "Accept"}
    content_type = f"{kind}; charset=utf-8" if kind == CSV else kind
    return Response(_PIECES[kind](table), 200, headers, content_type=content_type)


def _ndjson(table: Table) -> Iterator[bytes]:
    """The table as JSON objects, one a line; missing values are null."""
    names = [column.name for column in table.columns]
    option = orjson.OPT_APPEND_NEWLINE | orjson.OPT_SERIALIZE_NUMPY
    step = piece_rows(len(names))
    for start in range(0, table.rows, step):
        stop = min(start + step, table.rows)
        rows = zip(*[_values(table.read(name, start, stop)) for name in names], strict=True)
        yield b"".join([orjson.dumps(dict(zip(names, row, strict=True)), None, option) for row in rows])


def _values(column: Column) -> list[Any]:
    """The values of a column; those of 32 bits stay so, because they are written with fewer digits."""
    if column.kind == "number" and column.values.dtype.str.endswith("f4"):
        gaps = column.missing()
        return [None if gap else value for gap, value in zip(gaps.tolist(), column.values, strict=True)]
    return plain_values(column)


_PIECES: dict[str, Callable[[Table], Iterator[bytes]]] = {CSV: csv_pieces, NDJSON: _ndjson, PARQUET: parquet_pieces}
