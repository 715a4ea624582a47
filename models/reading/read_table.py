"""What reading a file gives: the columns, and where the arrays of their values lie in the exchange.

A child process that read an untrusted file says so in a JSON document; ``of`` believes nothing that it can check.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from models.data.profile import TableDetails
from models.reading.stated import require_details

__all__ = ["ReadTable", "Stored"]

#: The types that the arrays of each kind may have.
_TYPES = {
    "number": (("<f8",), ("<f4",), ("<i8",)),
    "boolean": (("|i1",),),
    "category": (("<i4",),),
    "datetime": (("<i8",),),
    "text": (("<i8", "|u1"),),
}
_DTYPES = {name: np.dtype(name) for kinds in _TYPES.values() for names in kinds for name in names}


@dataclass(frozen=True)
class Stored:
    """An array of one dimension in a file, in pieces: its type, and each piece's offset and bytes."""

    dtype: np.dtype[Any]
    spans: tuple[tuple[int, int], ...]

    @property
    def bytes(self) -> int:
        """Bytes of all pieces."""
        return sum(length for _, length in self.spans)


@dataclass(frozen=True)
class ReadTable:
    """A table as it was read: its rows, its details, and the arrays of each column."""

    rows: int
    details: TableDetails
    arrays: tuple[tuple[Stored, ...], ...]

    @classmethod
    def of(cls, document: Mapping[str, Any], size: int) -> ReadTable:
        """The table in a document; its arrays lie in a file of ``size`` bytes. Raises ValueError if they cannot."""
        details = TableDetails.of(document["details"])
        rows = int(document["rows"])
        arrays = tuple(tuple(map(_stored, each)) for each in document["arrays"])
        if len(arrays) != len(details.columns) or rows < 1:
            raise ValueError("the columns and their arrays differ in number")
        require_details(details, rows)
        for column, each in zip(details.columns, arrays, strict=True):
            types = tuple(array.dtype.str for array in each)
            if types not in _TYPES[column.kind]:
                raise ValueError(f"column {column.name!r} has arrays of {types}")
            if each[0].bytes != rows * each[0].dtype.itemsize:
                raise ValueError(f"column {column.name!r} has not {rows} values")
            _check_spans(each, size)
        return cls(rows, details, arrays)


def _stored(document: Mapping[str, Any]) -> Stored:
    # NumPy's own parser of names of types is not for text from a child: it raises errors of other kinds.
    dtype = _DTYPES.get(document["dtype"])
    if dtype is None:
        raise ValueError(f"no array has the type {document['dtype']!r}")
    return Stored(dtype, tuple((int(start), int(length)) for start, length in document["spans"]))


def _check_spans(arrays: Sequence[Stored], size: int) -> None:
    for array in arrays:
        for start, length in array.spans:
            if start < 0 or length < 0 or start + length > size:
                raise ValueError(f"a piece lies at {start} to {start + length}, outside of {size} bytes")
