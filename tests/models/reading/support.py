"""A file read by ``read_table`` in this process, as a table in memory."""

from __future__ import annotations

import os
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from models.data.columns import Column
from models.data.profile import TableDetails
from models.data.table import MemoryTable
from models.reading.options import ReadOptions
from models.reading.read_table import ReadTable, Stored
from models.reading.reader import Files, read_table
from models.reading.scan import Engine

__all__ = ["CASES", "cells", "details_of", "read"]

CASES = Path(__file__).parent.parent.parent / "data" / "cases"


def read(content: bytes | Path, limit: int = 2**30, **options: Any) -> MemoryTable:
    """The table in a file."""
    return _read(content, limit, options)[0]


def details_of(content: bytes | Path, **options: Any) -> TableDetails:
    """What is reported of a file."""
    return _read(content, 2**30, options)[1]


def _read(content: bytes | Path, limit: int, options: dict[str, Any]) -> tuple[MemoryTable, TableDetails]:
    with ExitStack() as stack:
        upload, first, second, exchange = (stack.enter_context(tempfile.TemporaryFile()) for _ in range(4))
        upload.write(content.read_bytes() if isinstance(content, Path) else content)
        upload.flush()
        engine = Engine()
        stack.callback(engine.close)
        files = Files(upload.fileno(), (first.fileno(), second.fileno()), exchange.fileno())
        document = read_table(engine, files, ReadOptions.of(options), limit)
        found = ReadTable.of(document, os.fstat(exchange.fileno()).st_size)
        values = {}
        for spec, arrays in zip(found.details.columns, found.arrays, strict=True):
            parts = [_values(exchange.fileno(), array) for array in arrays]
            values[spec.name] = Column(spec.kind, parts[0] if len(parts) == 1 else _texts(*parts), spec.levels)
    details = found.details
    return MemoryTable(found.rows, details.columns, values, details.label, details.weight), details


def _values(descriptor: int, array: Stored) -> Any:
    return np.frombuffer(b"".join(os.pread(descriptor, length, start) for start, length in array.spans), array.dtype)


def _texts(ends: Any, content: Any) -> Any:
    starts = [0, *ends[:-1].tolist()]
    texts = [content[start:end].tobytes().decode() for start, end in zip(starts, ends.tolist(), strict=True)]
    return np.array([*texts, None], object)[:-1]


def cells(table: MemoryTable, name: str) -> list[Any]:
    """The values of a column as Python has them; None if one is missing."""
    column = table.read(name)
    gaps = column.missing().tolist()
    if column.kind in ("category", "boolean"):
        plain: list[Any] = [column.levels[code] if code >= 0 else None for code in column.values.tolist()]
    elif column.kind == "datetime":
        plain = [np.datetime64(value, "us").item() for value in column.values.tolist()]
    else:
        plain = column.values.tolist()
    return [None if gap else value for gap, value in zip(gaps, plain, strict=True)]
