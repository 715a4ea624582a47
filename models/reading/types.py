"""The kind of each column, from a sample of its cells; ``reader`` verifies it over the whole file."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from models.data.columns import ColumnKind
from models.data.kinds import LEVELS, is_long, too_many_levels
from models.data.words import BOOLEAN_PAIRS, MISSING_WORDS
from models.reading.cells import (
    SPACES,
    BooleanForm,
    DateForm,
    NumberForm,
    date_forms,
    has_leading_zero,
    number_forms,
)
from models.reading.options import ReadOptions

__all__ = ["Plan", "Reading", "few", "plan_of_words"]

#: Share of cells at most that are faults among numbers or times, and not the sign of a column of words; and different
#: good values at least that make them numbers.
FEW, MANY_VALUES = 0.05, 10


@dataclass(frozen=True)
class Plan:
    """How a column is read: its kind, the form of its cells if they are words, and levels that are known beforehand.

    ``forced`` by the client: other cells are faults. ``mixed`` columns hold numbers and words.
    """

    kind: ColumnKind
    number: NumberForm | None = None
    boolean: BooleanForm | None = None
    date: DateForm | None = None
    levels: tuple[str, ...] = ()
    forced: bool = False
    mixed: bool = False
    ambiguous: bool = False

    def as_words(self) -> Plan:
        """The plan after a column was found not to be of its kind."""
        return Plan("category", mixed=self.kind == "number")


@dataclass
class Reading:
    """What was found or decided for the whole file."""

    missing: frozenset[str] = frozenset(MISSING_WORDS)
    decimal: str = "."
    thousands: str | None = None
    day_first: bool = True
    options: ReadOptions = field(default_factory=ReadOptions)

    @classmethod
    def of(cls, options: ReadOptions, samples: Mapping[str, Sequence[str]], delimiter: str) -> Reading:
        """The signs of numbers and the order of dates, from the samples of all columns."""
        missing = frozenset(MISSING_WORDS) | {word.strip(SPACES).lower() for word in options.missing}
        decimal = options.decimal or _decimal_of(samples, delimiter)
        if options.decimal is None and options.thousands in (".", ","):
            decimal = "." if options.thousands == "," else ","
        return cls(missing, decimal, options.thousands, _day_first(samples), options)

    def missing_in(self, name: str) -> frozenset[str]:
        """The words for a missing value in a column, in lower case. Among labels "none" is a class, unless asked."""
        asked = "none" in {word.lower() for word in self.options.missing}
        return self.missing if name != self.options.label or asked else self.missing - {"none"}

    def present(self, cells: Sequence[str], name: str) -> list[str]:
        """The cells of a column that are not missing, without spaces around them."""
        missing = self.missing_in(name)
        stripped = [cell.strip(SPACES) for cell in cells]
        return [cell for cell in stripped if cell.lower() not in missing]


_COMMA = re.compile(
    r"[^0-9,.]?-?(?:[0-9]+,(?:[0-9]{1,2}|[0-9]{4,})|0,[0-9]+|[0-9]{1,3}(?:\.[0-9]{3})+,[0-9]+)[^0-9,.]{0,2}"
)
_POINT = re.compile(
    r"[^0-9,.]?-?(?:[0-9]+\.(?:[0-9]{1,2}|[0-9]{4,})|0\.[0-9]+|[0-9]{1,3}(?:,[0-9]{3})+\.[0-9]+"
    r"|[0-9]{1,3}(?:,[0-9]{3}){2,})[^0-9,.]{0,2}"
)


def _decimal_of(samples: Mapping[str, Sequence[str]], delimiter: str) -> str:
    """The decimal sign: that of the cells that can be read in one way only."""
    commas = points = 0
    for cells in samples.values():
        for cell in cells[:200]:
            commas += _COMMA.fullmatch(cell.strip(SPACES)) is not None
            points += _POINT.fullmatch(cell.strip(SPACES)) is not None
    if commas == points == 0:
        return "," if delimiter == ";" else "."
    return "," if commas > points else "."


_DATE = re.compile(r"([0-9]{1,2})[./-]([0-9]{1,2})[./-](?:[0-9]{4}|[0-9]{2})(?:[ T].*)?")


def _day_first(samples: Mapping[str, Sequence[str]]) -> bool:
    """Whether days come before months in dates of two small numbers, by all such cells of the file."""
    day = month = 0
    for cells in samples.values():
        for cell in cells:
            found = _DATE.fullmatch(cell.strip(SPACES)) if len(cell) < 40 else None
            if found:
                day += int(found[1]) > 12
                month += int(found[2]) > 12
    return day > month


def few(bad: int, good: int, different: int) -> bool:
    """Whether bad cells are faults among good ones, and not the sign of a column of words."""
    return bad <= FEW * (bad + good) and different > MANY_VALUES


def plan_of_words(cells: Sequence[str], name: str, reading: Reading, *, whole: bool, rows: int) -> Plan:
    """The plan of a column of words from a sample of its cells; ``whole`` if the sample is all of the file."""
    present = reading.present(cells, name)
    forced = reading.options.types.get(name)
    label = name == reading.options.label
    if forced is not None:
        return replace(_forced(forced, present, reading), forced=True)
    if name == reading.options.weight:
        return replace(_forced("number", present, reading), forced=True)
    if not present:
        return Plan("number", number=NumberForm())
    plan = _number(present, reading) or _boolean(present) or _date(present, reading)
    if plan is not None and not (label and (plan.kind == "datetime" or _bad(plan, present))):
        return plan
    mixed = sum(map(NumberForm().fits, present)) > len(present) / 2 and not any(map(has_leading_zero, present))
    return Plan(_words(present, whole=whole, rows=rows, label=label), levels=_levels(present), mixed=mixed)


def _bad(plan: Plan, present: Sequence[str]) -> bool:
    return plan.number is not None and not all(map(plan.number.fits, present))


def _levels(present: Sequence[str]) -> tuple[str, ...]:
    different = dict.fromkeys(present)
    return tuple(level for level in different if "\0" not in level) if len(different) <= LEVELS else ()


def _words(present: Sequence[str], *, whole: bool, rows: int, label: bool) -> ColumnKind:
    if label:
        return "category"
    different = len(set(present))
    if any(map(is_long, present)):
        return "text"
    many = too_many_levels(different, rows) if whole else different > LEVELS
    return "text" if many else "category"


def _number(present: Sequence[str], reading: Reading) -> Plan | None:
    """Numbers, if nearly all cells have one form."""
    best, most = None, 0
    for form in number_forms(reading.options.decimal, reading.thousands, reading.decimal):
        fitting = sum(map(form.fits, present))
        if fitting > most:
            best, most = form, fitting
        if fitting == len(present):
            break
    if best is None:
        return None
    good = [cell for cell in present if best.fits(cell)]
    bad = len(present) - len(good)
    if bad and not few(bad, len(good), len(set(good))):
        return None
    if any(map(has_leading_zero, good)):
        return None
    # If all cells are plain, they are read as such, which is faster; "1.250" is 1250 if the decimal sign is a comma.
    plain = NumberForm()
    if not best.plain and all(map(plain.fits, good)) and not any("." in cell for cell in good):
        best = plain
    return Plan("number", number=best)


def _boolean(present: Sequence[str]) -> Plan | None:
    first: dict[str, str] = {}
    for cell in present:
        first.setdefault(cell.lower(), cell)
        if len(first) > 2:
            return None
    for pair in BOOLEAN_PAIRS:
        if set(first) == set(pair):
            return Plan("boolean", boolean=BooleanForm(pair, (first[pair[0]], first[pair[1]])))
    return None


def _date(present: Sequence[str], reading: Reading) -> Plan | None:
    wanted = reading.options.dates
    if wanted is not None:
        form = DateForm(wanted, (wanted,))
        if sum(map(form.fits, present[:200])) > 0.9 * len(present[:200]):
            return Plan("datetime", date=form)
    forms = date_forms(present, day_first=reading.day_first)
    fitting = [form for form in forms if all(map(form.fits, present[:200]))]
    if not fitting:
        typing = [form for form in forms if sum(map(form.fits, present[:200])) >= 0.95 * len(present[:200])]
        return Plan("datetime", date=typing[0]) if typing and len(set(present)) > MANY_VALUES else None
    return Plan("datetime", date=fitting[0], ambiguous=len(fitting) > 1)


def _forced(kind: ColumnKind, present: Sequence[str], reading: Reading) -> Plan:
    match kind:
        case "number":
            forms = number_forms(reading.options.decimal, reading.thousands, reading.decimal)
            return Plan("number", number=max(forms, key=lambda form: sum(map(form.fits, present))))
        case "datetime":
            found = _date(present, reading) if present else None
            return found or Plan("datetime", date=DateForm(reading.options.dates or "iso", _given(reading)))
        case "boolean":
            lower = {cell.lower(): cell for cell in reversed(present)}
            pairs = [*BOOLEAN_PAIRS, ("0", "1")]
            pair = next((pair for pair in pairs if set(lower) <= set(pair)), pairs[0])
            return Plan(
                "boolean", boolean=BooleanForm(pair, (lower.get(pair[0], pair[0]), lower.get(pair[1], pair[1])))
            )
        case "category":
            return Plan("category", levels=_levels(present))
    return Plan("text")


def _given(reading: Reading) -> tuple[str, ...]:
    return () if reading.options.dates is None else (reading.options.dates,)
