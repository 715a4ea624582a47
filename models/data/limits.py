"""Limits of what answers repeat, such as lists, predictions and checkpoints: names of columns, levels and classes.

They hold for what is stored from now on; what is stored already is served as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from models.errors import InvalidError, Problem, describe

__all__ = [
    "ANY_SIZE",
    "CLASSES_BYTES",
    "MAXIMUM_CLASSES",
    "MAXIMUM_COLUMNS",
    "NAME_BYTES",
    "TableSize",
    "class_fault",
    "too_long",
]

#: Columns of a table whose columns have names, and classes.
MAXIMUM_COLUMNS, MAXIMUM_CLASSES = 20_000, 65_536
#: Bytes (UTF-8) of the name of a column, a level or a class, and of the names of all classes together.
NAME_BYTES, CLASSES_BYTES = 256, 4 * 2**20


class TableSize(NamedTuple):
    """The most rows and columns of a table that is to be stored, as an operator has set it."""

    rows: int = 2**62
    columns: int = 2**62

    def require(self, rows: int, columns: int, pointer: str = "") -> None:
        """Raise InvalidError if a table has more."""
        if rows > self.rows:
            detail = f"must have at most {self.rows:,} rows (TRAINYARD_MAX_DATASET_ROWS). Received: {rows:,} or more"
            raise InvalidError("too_many_rows", f"{pointer or 'the table'}: {detail}", [Problem(pointer, detail)])
        if columns > self.columns:
            most = f"must have at most {self.columns:,} columns (TRAINYARD_MAX_DATASET_COLUMNS)"
            detail = f"{most}. Received: {columns:,}"
            raise InvalidError("too_many_columns", f"{pointer or 'the table'}: {detail}", [Problem(pointer, detail)])


#: That of tables that are read and not stored.
ANY_SIZE = TableSize()


def too_long(text: str) -> str | None:
    """What is wrong with a name that has more than ``NAME_BYTES``; None if it has not."""
    # A character has at most four bytes.
    if len(text) <= NAME_BYTES // 4:
        return None
    length = len(text.encode("utf-8", "surrogatepass"))
    return f"must have at most {NAME_BYTES} bytes. Received: {length}" if length > NAME_BYTES else None


def class_fault(classes: Sequence[object]) -> tuple[int | None, str] | None:
    """The place of the first class whose name is too long, and what is wrong; None if all classes can be stored.

    The place is None if there are too many classes, or if their names together are too long.
    """
    if len(classes) > MAXIMUM_CLASSES:
        return None, f"must hold at most {MAXIMUM_CLASSES:,} different classes. Received: {len(classes):,}"
    total = 0
    for place, label in enumerate(classes):
        if isinstance(label, str):
            wrong = too_long(label)
            if wrong is not None:
                return place, f"{wrong}, {describe(label)}"
            total += len(label.encode("utf-8", "surrogatepass"))
    if total > CLASSES_BYTES:
        return None, f"must have classes of at most {CLASSES_BYTES} bytes together. Received: {total}"
    return None
