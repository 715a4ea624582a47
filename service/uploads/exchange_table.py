"""The values of a table that a child has read, in pieces from the exchange."""

from __future__ import annotations

import os
from itertools import accumulate

import numpy as np

from models.data.columns import Column, ColumnSpec
from models.data.rows import Array
from models.reading.read_table import Stored
from service.uploads.received_table import ReceivedTable

__all__ = ["ExchangeTable", "StoredValues"]


class ExchangeTable:
    """A table whose values are read from the exchange as they are asked for; good until the exchange is closed."""

    label = None
    weight = None

    def __init__(self, received: ReceivedTable) -> None:
        self.rows = received.rows
        self.columns: tuple[ColumnSpec, ...] = received.details.columns
        descriptor = received.exchange.fileno()
        arrays = [[StoredValues(descriptor, each) for each in column] for column in received.table.arrays]
        self._columns = {spec.name: (spec, each) for spec, each in zip(self.columns, arrays, strict=True)}

    def read(self, name: str, start: int = 0, stop: int | None = None) -> Column:
        """The values of a column in the rows from ``start`` to before ``stop``; raises KeyError for an unknown name."""
        spec, arrays = self._columns[name]
        stop = self.rows if stop is None else min(stop, self.rows)
        if spec.kind != "text":
            return Column(spec.kind, arrays[0].read(start, stop), spec.levels)
        ends = arrays[0].read(max(start - 1, 0), stop).tolist()
        begin = ends.pop(0) if start and ends else 0
        content = arrays[1].read(begin, ends[-1] if ends else begin).tobytes()
        texts, place = np.empty(len(ends), object), begin
        for row, end in enumerate(ends):
            texts[row], place = content[place - begin : end - begin].decode(), end
        return Column("text", texts)


class StoredValues:
    """An array of one dimension that lies in a file in pieces."""

    def __init__(self, descriptor: int, stored: Stored) -> None:
        self._descriptor, self._dtype, self._spans = descriptor, stored.dtype, stored.spans
        self._ends = [0, *accumulate(length for _, length in stored.spans)]

    def read(self, start: int, stop: int) -> Array:
        """The values from ``start`` to before ``stop``; raises EOFError if the file is shorter."""
        size = self._dtype.itemsize
        first, last = start * size, max(start, stop) * size
        found = bytearray()
        for (place, length), begin in zip(self._spans, self._ends, strict=False):
            low, high = max(first - begin, 0), min(last - begin, length)
            if low < high:
                found += _read(self._descriptor, place + low, high - low)
        return np.frombuffer(bytes(found), self._dtype)


def _read(descriptor: int, place: int, length: int) -> bytes:
    pieces: list[bytes] = []
    while length:
        piece = os.pread(descriptor, length, place)
        if not piece:
            raise EOFError(f"the exchange ends at {place}")
        pieces.append(piece)
        place, length = place + len(piece), length - len(piece)
    return b"".join(pieces)
