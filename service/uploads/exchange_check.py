"""The check of a table's values: a child that was taken over could have written any bytes into the exchange."""

from __future__ import annotations

import codecs

import numpy as np

from models.data.columns import MISSING_CODE, ColumnSpec
from models.data.rows import Array
from service.uploads.exchange_table import StoredValues
from service.uploads.received_table import ReceivedTable

__all__ = ["require_values"]

#: Values that are in memory at a time.
STEP = 2**20


def require_values(received: ReceivedTable) -> None:
    """Raise ValueError unless all values are such as their columns may hold; each is read once, in pieces."""
    descriptor = received.exchange.fileno()
    for spec, stored in zip(received.details.columns, received.table.arrays, strict=True):
        arrays = [StoredValues(descriptor, each) for each in stored]
        if spec.kind == "text":
            _require_texts(spec, received.rows, arrays, stored[1].bytes)
        elif spec.kind in ("category", "boolean") or stored[0].dtype.kind == "f":
            for start in range(0, received.rows, STEP):
                _require(spec, arrays[0].read(start, min(start + STEP, received.rows)))


def _require(spec: ColumnSpec, values: Array) -> None:
    if spec.kind == "number":
        if np.isinf(values).any():
            raise ValueError(f"column {spec.name!r} has infinite numbers")
    elif values.min() < MISSING_CODE or values.max() >= len(spec.levels):
        raise ValueError(f"column {spec.name!r} has codes beyond its {len(spec.levels)} levels")


def _require_texts(spec: ColumnSpec, rows: int, arrays: list[StoredValues], size: int) -> None:
    """Raise ValueError unless the ends ascend to the last of the bytes, which are UTF-8 between them."""
    ends, content = arrays
    decoder, last = codecs.getincrementaldecoder("utf-8")(), 0
    for start in range(0, rows, STEP):
        found = ends.read(start, min(start + STEP, rows))
        if found[0] < last or (found[1:] < found[:-1]).any() or found[-1] > size:
            raise ValueError(f"column {spec.name!r} has texts that do not follow one another")
        for begin in range(last, int(found[-1]), STEP):
            stop = min(begin + STEP, int(found[-1]))
            piece = content.read(begin, stop)
            decoder.decode(piece.tobytes())
            first = np.searchsorted(found, begin), np.searchsorted(found, stop)
            inside = found[slice(*first)] - begin
            # A byte 10xxxxxx goes on with a character, so that no text may begin with it.
            if ((piece[inside] & 0xC0) == 0x80).any():
                raise ValueError(f"column {spec.name!r} has texts that end within a character")
        last = int(found[-1])
    decoder.decode(b"", final=True)
    if last != size:
        raise ValueError(f"column {spec.name!r} has {size} bytes of text, of which {last} are used")
