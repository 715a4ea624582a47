"""What a cell of text may mean: a missing value, a number, a boolean or a time; in Python for a sample, in SQL for all.

SQL expressions give a value, NULL for a missing one, and a sign of trouble for a cell that is not of the kind: an
infinity for numbers (minus infinity if only its form is wrong, as in 007 and 1_000), 2 for booleans, the largest
integer for times.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

__all__ = [
    "BAD_BOOLEAN",
    "BAD_TIME",
    "SPACES",
    "BooleanForm",
    "DateForm",
    "NumberForm",
    "is_missing_sql",
    "level_sql",
    "presence_sql",
    "quoted",
    "trimmed",
]

SPACES = " \t\r\n\u00a0\ufeff"
BAD_BOOLEAN, BAD_TIME = 2, 2**63 - 1
_CURRENCY = "$€£¥₹"


def quoted(text: str) -> str:
    """A string of SQL."""
    return "'" + text.replace("'", "''") + "'"


def trimmed(cell: str) -> str:
    """SQL for a cell without spaces around it. Most cells have none, and a function that removes them is slow."""
    ends = " OR ".join(f"suffix({cell}, {quoted(space)})" for space in SPACES)
    spaced = f"{cell} < '!' OR {cell} >= {quoted(chr(0xA0))} OR {ends}"
    return f"(CASE WHEN {spaced} THEN trim({cell}, {quoted(SPACES)}) ELSE {cell} END)"


def is_missing_sql(cell: str, words: Iterable[str]) -> str:
    """SQL for whether a cell is missing."""
    known = sorted(words)
    longest = max(len(word.encode()) for word in known) if known else 0
    short = f"strlen({trimmed(cell)}) <= {2 * longest}"  # A capital letter may have more bytes than a small one.
    return f"({cell} IS NULL OR ({short} AND lower({trimmed(cell)}) IN ({', '.join(map(quoted, known))})))"


def presence_sql(cell: str, missing: Iterable[str], known: str | None) -> str:
    """SQL for 1 if a cell is there and 0 if it is missing; ``known`` is a type of levels that most cells have."""
    rest = f"(NOT {is_missing_sql(cell, missing)})::TINYINT"
    return (
        rest if known is None else f"CASE WHEN try_cast({cell} AS {known}) IS NOT NULL THEN 1::TINYINT ELSE {rest} END"
    )


def level_sql(cell: str, missing: Iterable[str], known: str | None) -> list[str]:
    """SQL for the code of a cell among the levels of a type, and for the word of a cell that is none of them.

    The cell as it is comes first, because most cells are a level then.
    """
    text, absent = trimmed(cell), is_missing_sql(cell, missing)
    if known is None:
        return ["NULL::INTEGER", f"CASE WHEN NOT {absent} THEN {text} END"]
    exact, trim = f"try_cast({cell} AS {known})", f"try_cast({text} AS {known})"
    other = f"CASE WHEN {trim} IS NULL AND NOT {absent} THEN {text} END"
    return [f"enum_code(coalesce({exact}, {trim}))::INTEGER", f"CASE WHEN {exact} IS NULL THEN {other} END"]


_PLAIN = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_LEADING_ZERO = re.compile(r"[+-]?0[0-9]")


@dataclass(frozen=True)
class NumberForm:
    """How numbers are written: the decimal sign, what separates thousands, and whether they are percentages."""

    decimal: str = "."
    thousands: str = ""
    plain: bool = True
    percent: bool = False

    @cached_property
    def pattern(self) -> str:
        """A regular expression for Python and for RE2 that matches a whole number."""
        group = {" ": "[ \u00a0\u202f\u2009]", "'": "['’]"}.get(self.thousands, re.escape(self.thousands))
        whole = f"(?:[0-9]{{1,3}}(?:{group}[0-9]{{3}})+|[0-9]+)" if self.thousands else "[0-9]+"
        point = re.escape(self.decimal)
        sign = f"(?:[+-]? ?[{_CURRENCY}]? ?|[{_CURRENCY}] ?[+-]?)"
        end = " ?%" if self.percent else f"(?: ?[{_CURRENCY}])?"
        return f"{sign}(?:{whole}(?:{point}[0-9]*)?|{point}[0-9]+)(?:[eE][+-]?[0-9]+)?{end}"

    @cached_property
    def _compiled(self) -> re.Pattern[str]:
        return _PLAIN if self.plain else re.compile(self.pattern)

    def fits(self, cell: str) -> bool:
        """Whether a cell, without spaces around it, is a number of this form."""
        return self._compiled.fullmatch(cell) is not None

    def sql(self, cell: str, missing: Iterable[str], *, strict: bool) -> str:
        """The number in a cell. ``strict``: a number that begins with a needless zero is a sign of trouble."""
        if self.plain:
            # Only cells that are no number as they are come to be trimmed, and a table of many columns needs short SQL.
            text = f"trim({cell}, {quoted(SPACES)})"
            words = ", ".join(map(quoted, sorted(missing)))
            other = f"CASE WHEN {cell} IS NULL OR lower({text}) IN ({words}) THEN NULL ELSE 'inf'::DOUBLE END"
            number = f"coalesce(try_cast({cell} AS DOUBLE), try_cast({text} AS DOUBLE), {other})"
            zeros = f" OR ({cell} >= '00' AND {cell} < '0:')" if strict else ""
            return f"CASE WHEN contains({cell}, '_'){zeros} THEN '-inf'::DOUBLE ELSE {number} END"
        text, absent = trimmed(cell), is_missing_sql(cell, missing)
        digits = f"regexp_replace({text}, {quoted(self._noise)}, '', 'g')"
        if self.decimal == ",":
            digits = f"replace({digits}, ',', '.')"
        number = f"try_cast({digits} AS DOUBLE)" + (" / 100" if self.percent else "")
        good = f"regexp_full_match({text}, {quoted(self.pattern)})"
        return f"CASE WHEN {absent} THEN NULL WHEN {good} THEN coalesce({number}, 'inf'::DOUBLE) ELSE 'inf'::DOUBLE END"

    @property
    def _noise(self) -> str:
        """A regular expression for what is left out of a number that fits."""
        thousands = {" ": "", "'": "'’", "": ""}.get(self.thousands, self.thousands)
        return f"[{_CURRENCY}% \u00a0\u202f\u2009{thousands}]"


def has_leading_zero(cell: str) -> bool:
    """Whether a number begins with a zero that a number would not have, as a code or a telephone number does."""
    return _LEADING_ZERO.match(cell) is not None


#: All forms that are tried, besides the plain one, in the order of preference.
_SIGNS = ((".", ","), (",", "."), (".", " "), (",", " "), (".", "'"), (",", "'"))


def number_forms(decimal: str | None, thousands: str | None, preferred: str) -> list[NumberForm]:
    """The forms to try, the best first; ``preferred`` is the decimal sign if both would fit."""
    signs = sorted(_SIGNS, key=lambda pair: pair[0] != preferred)
    if thousands is not None:
        signs = [(sign, thousands) for sign in (".", ",") if sign != thousands]
        signs.sort(key=lambda pair: pair[0] != preferred)
    if decimal is not None:
        signs = [pair for pair in signs if pair[0] == decimal] or [(decimal, "")]
    styled = [NumberForm(*pair, plain=False, percent=percent) for pair in signs for percent in (False, True)]
    plain = [] if decimal == "," else [NumberForm()]
    return styled + plain if preferred == "," else plain + styled


@dataclass(frozen=True)
class BooleanForm:
    """The words for false and true, in lower case, and as the file first writes them."""

    words: tuple[str, str]
    levels: tuple[str, str]

    def fits(self, cell: str) -> bool:
        """Whether a cell, without spaces around it, is one of the words."""
        return cell.lower() in self.words

    def sql(self, cell: str, missing: Iterable[str]) -> str:
        """0 or 1 for a cell."""
        text = f"lower({trimmed(cell)})"
        no, yes = map(quoted, self.words)
        absent = is_missing_sql(cell, missing)
        return (
            f"(CASE {text} WHEN {yes} THEN 1 WHEN {no} THEN 0 "
            f"ELSE (CASE WHEN {absent} THEN NULL ELSE {BAD_BOOLEAN} END) END)::TINYINT"
        )


_TIMES = ("", " %H:%M", " %H:%M:%S", " %H:%M:%S.%f", " %I:%M %p", " %I:%M:%S %p", "T%H:%M:%S", "T%H:%M")
_CLOCK = r"(?:[T ] ?[0-9]{1,2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]+)?)?(?: ?[AaPp][Mm])?)?"
_ISO = re.compile(
    r"([0-9]{4})[-/]([0-9]{1,2})[-/]([0-9]{1,2})"
    r"(?:[T ][0-9]{1,2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]+)?)?(?: ?(?:Z|UTC|[+-][0-9]{2}(?::?[0-9]{2})?))?)?"
)
_NUMERIC = re.compile(r"([0-9]{1,2})([./-])([0-9]{1,2})\2([0-9]{4}|[0-9]{2})" + _CLOCK)
_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
_DAY_FIRST_WORDS = re.compile(r"([0-9]{1,2})([ -])([A-Za-z]{3,9})\2([0-9]{4}|[0-9]{2})" + _CLOCK)
_MONTH_FIRST_WORDS = re.compile(r"([A-Za-z]{3,9}) ([0-9]{1,2}),? ([0-9]{4})" + _CLOCK)


@dataclass(frozen=True)
class DateForm:
    """How times are written: strptime formats, or none for ISO 8601; ``name`` is what is reported."""

    name: str
    formats: tuple[str, ...] = ()

    def fits(self, cell: str) -> bool:
        """Whether a cell, without spaces around it, is a time of this form."""
        if not self.formats:
            found = _ISO.fullmatch(cell)
            return found is not None and 1 <= int(found[2]) <= 12 and 1 <= int(found[3]) <= 31
        return any(_parses(cell, each) for each in self.formats)

    def sql(self, cell: str, missing: Iterable[str]) -> str:
        """The microseconds of a cell's time."""
        text = trimmed(cell)
        if self.formats:
            listed = ", ".join(map(quoted, self.formats))
            micros = f"epoch_us(try_strptime({text}, [{listed}]))"
        else:
            micros = _iso_sql(text)
        rest = f"CASE WHEN {is_missing_sql(cell, missing)} THEN NULL ELSE {BAD_TIME} END"
        return f"coalesce({micros}, {rest})"


def _iso_sql(text: str) -> str:
    """The microseconds of a time in ISO 8601. Words such as "epoch" and "infinity" are times to DuckDB, not here."""
    moment = f"CASE WHEN strlen({text}) <= 10 THEN epoch_us(try_cast({text} AS TIMESTAMP)) "
    moment += f"ELSE epoch_us(try_cast({text} AS TIMESTAMPTZ)) END"
    return f"CASE WHEN {text} < ':' AND {text} >= '0' THEN {moment} END"


def _parses(cell: str, form: str) -> bool:
    try:
        datetime.strptime(cell, form)  # noqa: DTZ007 - only whether it parses
    except ValueError:
        return False
    return True


def date_forms(cells: Sequence[str], *, day_first: bool) -> list[DateForm]:
    """The forms that may fit a column, judged by its first cell; the better one first if days and months may swap."""
    first = cells[0]
    if _ISO.fullmatch(first):
        return [DateForm("iso")]
    found = _NUMERIC.fullmatch(first)
    if found:
        sign, year = found[2], "%Y" if len(found[4]) == 4 else "%y"
        orders = [f"%d{sign}%m{sign}{year}", f"%m{sign}%d{sign}{year}"]
        return [_form(order) for order in (orders if day_first or sign == "." else reversed(orders))]
    found = _DAY_FIRST_WORDS.fullmatch(first)
    if found and found[3][:3].lower() in _MONTHS:
        year, sign = "%Y" if len(found[4]) == 4 else "%y", found[2]
        return [_form(f"%d{sign}%b{sign}{year}", f"%d{sign}%B{sign}{year}")]
    found = _MONTH_FIRST_WORDS.fullmatch(first)
    if found and found[1][:3].lower() in _MONTHS:
        return [_form("%b %d, %Y", "%B %d, %Y", "%b %d %Y", "%B %d %Y")]
    return []


def _form(*dates: str) -> DateForm:
    return DateForm(dates[0], tuple(date + time for date in dates for time in _TIMES))
