"""Words in cells of files, JSON strings and labels: which are missing values, truths or numbers.

``MISSING_WORDS`` and ``BOOLEAN_PAIRS`` are in lower case; words are compared without the spaces around them and in any
case. ``NUMBER`` and ``PADDED`` are regular expressions that Python and DuckDB read alike.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable

__all__ = [
    "BOOLEAN_PAIRS",
    "MISSING_WORDS",
    "NUMBER",
    "PADDED",
    "boolean_levels",
    "is_missing",
    "number_of",
    "number_text",
    "truth_of",
]

#: Words for a value that is missing.
MISSING_WORDS = ("", "na", "n/a", "nan", "null", "none", "?", "-", "#n/a")
#: Pairs of words for false and true.
BOOLEAN_PAIRS = (("false", "true"), ("no", "yes"), ("n", "y"), ("f", "t"), ("off", "on"))
#: A number with a decimal point, as a whole cell.
NUMBER = r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?"
#: A number that begins with needless zeros, such as 01234: a code, whose zeros matter.
PADDED = r"[+-]?0[0-9].*"

_NUMBER, _PADDED = re.compile(NUMBER), re.compile(PADDED, re.DOTALL)
_MISSING = frozenset(MISSING_WORDS)
_TRUTHS = {word: bool(truth) for pair in BOOLEAN_PAIRS for truth, word in enumerate(pair)}
_PAIR_OF = {word: pair for pair in BOOLEAN_PAIRS for word in pair}


def is_missing(word: str, more: Collection[str] = ()) -> bool:
    """Whether a word stands for a missing value; ``more`` are further such words in lower case."""
    plain = word.strip().lower()
    return plain in _MISSING or plain in more


def truth_of(word: str) -> bool | None:
    """What a word of ``BOOLEAN_PAIRS`` stands for; None for other words."""
    return _TRUTHS.get(word.strip().lower())


def boolean_levels(words: Iterable[str]) -> tuple[str, str] | None:
    """The false word and the true word of a column if all its words are of one pair, else None.

    Of several spellings the first in alphabetical order counts. If the column has one word of the pair only, the other
    one is spelled like it.
    """
    found: list[str | None] = [None, None]
    pair = None
    for word in sorted({word.strip() for word in words}):
        own = _PAIR_OF.get(word.lower())
        if own is None or pair not in (None, own):
            return None
        pair = own
        place = own.index(word.lower())
        found[place] = found[place] or word
    if pair is None:
        return None
    low, high = (found[place] or _spelled_like(pair[place], found[1 - place] or "") for place in (0, 1))
    return low, high


def _spelled_like(word: str, other: str) -> str:
    """A word in lower case, in capitals or with a capital, as another one is."""
    if other.isupper():
        return word.upper()
    return word.capitalize() if other.istitle() else word


def number_of(text: str) -> float | None:
    """The finite number that a text is, with the spaces around it left out; None if it is none.

    ``inf``, ``0x10``, ``1_000`` and ``1,5`` are words. So are padded numbers (``PADDED``).
    """
    plain = text.strip()
    if _NUMBER.fullmatch(plain) is None or _PADDED.fullmatch(plain) is not None:
        return None
    number = float(plain)
    return number if math.isfinite(number) else None


def number_text(number: float) -> str:
    """The shortest text of a number: 1250.0 is "1250", 0.5 is "0.5"."""
    whole = float(number).is_integer() and abs(number) < 2**53
    return str(int(number)) if whole else repr(float(number))
