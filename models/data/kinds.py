"""Which kind a column of words is, and whether a column is of use to a model."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from models.data.columns import Column, ColumnKind
from models.data.times import time_of
from models.data.words import boolean_levels

__all__ = ["reason_aside", "word_kind"]

#: Up to so many different words are categories, however few rows there are.
FEW_WORDS = 50
#: The share of different words beyond which more than ``FEW_WORDS`` are texts.
MANY_WORDS = 0.1
#: Categories are shorter than this on average, in characters.
LONG_WORDS = 60
#: Texts of which this share differs are names or numbers of single rows, unless they are long enough to say something.
NEARLY_ALL, SHORT_TEXT = 0.7, 40
#: Rows from which on consecutive numbers are taken for the rows' own numbers.
COUNTED_ROWS = 20


def word_kind(distinct: int, count: int, characters: int) -> ColumnKind:
    """Category or text: of ``count`` words, so many are different, and together they have so many characters."""
    many = distinct > max(FEW_WORDS, count * MANY_WORDS)
    return "text" if many or characters > LONG_WORDS * count else "category"


def special_kind(words: Iterable[str]) -> ColumnKind | None:
    """Boolean or datetime if all these words are such, else None; the words are not missing ones."""
    some = list(words)
    if len(some) <= FEW_WORDS and boolean_levels(some):
        return "boolean"
    return "datetime" if some and all(time_of(word) is not None for word in some) else None


def reason_aside(column: Column) -> str | None:
    """Why a whole column is set aside: it is constant, counts the rows, or differs in nearly every row; else None."""
    gaps = column.missing()
    present = column.values[~gaps]
    rows, count = len(gaps), len(present)
    if not count:
        return "it has no values"
    if column.kind == "text":
        distinct = len(set(present.tolist()))
        short = sum(map(len, present.tolist())) < SHORT_TEXT * count
        if short and distinct > max(FEW_WORDS, NEARLY_ALL * count):
            return f"{distinct:,} different texts in {rows:,} rows"
        return None
    if rows > 1 and count == rows and (present == present[0]).all():
        return "it has the same value in every row"
    counted = column.kind == "number" and count == rows >= COUNTED_ROWS and bool((np.diff(present) == 1).all())
    return "it counts the rows" if counted else None
