"""Which kind a column of words is, and whether a column is of use to a model."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from models.data.columns import Column, ColumnKind
from models.data.limits import too_long
from models.data.times import time_of
from models.data.words import boolean_levels

__all__ = [
    "COUNTED_ROWS",
    "COUNTER",
    "LEVELS",
    "LEVEL_LENGTH",
    "PROSE",
    "SINGLE",
    "is_long",
    "numbers_rows",
    "reason_aside",
    "too_many_levels",
    "word_kind",
]

#: Levels of a category at most, and characters of a level; a column with more is text.
LEVELS, LEVEL_LENGTH = 1000, 200
#: Rows from which consecutive numbers in order count the rows, and names of columns that count fewer.
COUNTED_ROWS = 30
COUNTER = re.compile(
    r"column_1|index|level_0|#|unnamed: 0|rows?|.*[ _]id|(row|line|record|case)?[ _-]?(id|no|nr|num|number|names?)\.?"
)
#: The numbers of rows in a part of a file: the smallest is at most this, and at least half of them are there.
FIRST_NUMBER, GAPS = 10, 2
#: The share of different values from which, by an estimate, all of them differ.
ALL_DIFFERENT = 0.97
#: Mean length of texts from which they are prose and are used, though each is different.
PROSE = 50
#: The share of different texts beyond which they are names or numbers of single things.
SINGLE = 0.5


def is_long(word: str) -> bool:
    """Whether a word is too long for a level of a category, so that its column is text."""
    return len(word) > LEVEL_LENGTH or too_long(word) is not None


def too_many_levels(different: int, rows: int) -> bool:
    """Whether a column of words has too many different ones for a category."""
    return different > min(max(50, rows / 10), LEVELS)


def numbers_rows(name: str, extremes: tuple[float, float], rows: int, *, rising: bool, different: int) -> bool:
    """Whether whole numbers are those of the rows of a larger file, of which these rows are a part.

    ``extremes`` are the smallest and the largest. The numbers rise from row to row; or the rows are shuffled, the
    column has the name of a counter, and the numbers differ.
    """
    low, high = extremes
    if rows < COUNTED_ROWS or not 0 <= low <= FIRST_NUMBER or high > GAPS * rows + FIRST_NUMBER:
        return False
    return rising or (different >= ALL_DIFFERENT * rows and COUNTER.fullmatch(name.lower()) is not None)


def word_kind(words: Sequence[str], rows: int) -> ColumnKind:
    """The kind of a column with these different words, none of them a missing one."""
    if len(words) <= 10 and len({word.lower() for word in words}) == 2 and boolean_levels(words):
        return "boolean"
    if words and all(time_of(word) is not None for word in words):
        return "datetime"
    long = any(map(is_long, words))
    return "text" if long or too_many_levels(len(words), rows) else "category"


def reason_aside(name: str, column: Column) -> str | None:
    """Why a whole column is set aside: it is constant, counts the rows, or differs in most rows; None if it is used."""
    gaps = column.missing()
    present = column.values[~gaps]
    rows, count = len(gaps), len(present)
    if not count:
        return "holds no values"
    if rows > 1 and count == rows and (present == present[0]).all():
        return "holds the same value in every row"
    if column.kind == "text":
        different = len(set(present.tolist()))
        short = sum(map(len, present.tolist())) < PROSE * count
        if short and rows > 2 and different > SINGLE * count:
            return f"{different:,} different texts in {rows:,} rows"
        return None
    if column.kind == "number" and count == rows > 2 and (rows >= COUNTED_ROWS or COUNTER.fullmatch(name.lower())):
        if present[0] in (0, 1) and (np.diff(present) == 1).all():
            return "counts the rows"
        extremes, rising = (float(present.min()), float(present.max())), bool((np.diff(present) > 0).all())
        whole = bool((present == np.floor(present)).all())
        if whole and numbers_rows(name, extremes, rows, rising=rising, different=len(np.unique(present))):
            return "numbers the rows of a larger file"
    return None
