"""Columns of a table: what kind of values each one holds, and the values of some of its rows.

| kind | values | missing |
|---|---|---|
| number | float64 or float32; int64 if no value is missing | NaN |
| boolean | int8, 0 and 1; ``levels`` are the two words of the file, the false one first | -1 |
| category | int32, places in ``levels`` | -1 |
| datetime | int64, microseconds since 1970-01-01 UTC | the smallest int64 |
| text | str, as objects | the empty string |
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from nncore.arrays import Array

__all__ = ["KINDS", "MISSING_CODE", "MISSING_TIME", "Column", "ColumnKind", "ColumnSpec"]

ColumnKind = Literal["number", "category", "boolean", "datetime", "text"]
KINDS: tuple[ColumnKind, ...] = ("number", "category", "boolean", "datetime", "text")
#: The code of a missing category or boolean, and the microseconds of a missing time.
MISSING_CODE, MISSING_TIME = -1, int(np.iinfo(np.int64).min)


@dataclass(frozen=True)
class ColumnSpec:
    """A column of a table: its name, its kind and, for categories and booleans, the words that its codes stand for.

    ``reason`` says why a column is set aside, for example because it counts the rows; None if it is used. Columns that
    are set aside are stored too: a model may name them.
    """

    name: str
    kind: ColumnKind
    levels: tuple[str, ...] = ()
    reason: str | None = None


class Column(NamedTuple):
    """The values of a column in some rows, (n_rows,), in the form that its kind prescribes."""

    kind: ColumnKind
    values: Array
    levels: tuple[str, ...] = ()

    def missing(self) -> Array:
        """Which values are missing, (n_rows,) of bool."""
        match self.kind:
            case "number":
                return np.isnan(self.values) if self.values.dtype.kind == "f" else np.zeros(len(self.values), bool)
            case "datetime":
                found: Array = self.values == MISSING_TIME
                return found
            case "text":
                return np.fromiter((not text for text in self.values), bool, len(self.values))
        codes: Array = self.values < 0
        return codes
