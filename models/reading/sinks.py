"""Where the values of a column go: into the exchange, the profile, and the list of cells that are no values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from models.data.columns import MISSING_CODE, MISSING_TIME, Column, ColumnKind, ColumnSpec
from models.data.dataset import LARGEST_WEIGHT, SMALLEST_WEIGHT
from models.data.kinds import (
    COUNTED_ROWS,
    COUNTER,
    PROSE,
    SINGLE,
    is_long,
    numbers_rows,
    too_many_levels,
)
from models.data.limits import too_long
from models.data.profile import ColumnProfile
from models.data.summary import LevelSummary, TextSummary
from models.data.words import BOOLEAN_PAIRS
from models.reading.arrow import numbers, strings
from models.reading.blocks import Blocks, StoredArray
from models.reading.cells import BAD_BOOLEAN
from models.reading.types import Plan, few
from nncore.arrays import Array

__all__ = ["FAULTS", "BadCells", "Finished", "Sink", "Turned"]

#: Faults that are listed.
FAULTS = 20
#: Levels of a category, while it is read, beyond which it is text; and of a label or of a category by request.
MOST_LEVELS, FORCED_LEVELS = 20_000, 200_000
#: Times that a calendar of four digits has.
_FIRST, _LAST = (int(np.datetime64(year, "us").astype(np.int64)) for year in ("0001", "9999-12-31"))


@dataclass
class BadCells:
    """Cells that are no values of their column: how many, and the rows of the first (counted from 0 in the file)."""

    total: int = 0
    rows: list[int] = field(default_factory=list)

    def add(self, bad: Array, places: Array | None, base: int) -> None:
        """Add the cells where ``bad`` is true; ``places`` are their rows behind ``base``, None if none is left out."""
        found = np.flatnonzero(bad)
        self.total += len(found)
        found = found[: FAULTS - len(self.rows)]
        self.rows += (base + (found if places is None else places[found])).tolist()


@dataclass(frozen=True)
class Turned:
    """The column is not of its kind and has to be read again in this way."""

    plan: Plan


@dataclass(frozen=True)
class Finished:
    """A column as it is stored."""

    spec: ColumnSpec
    arrays: Sequence[StoredArray]
    profile: ColumnProfile


class Sink:
    """The base of all sinks; ``base`` in ``add`` is the number of the batch's first row."""

    kind: ColumnKind
    dtype: str

    def __init__(self, name: str, plan: Plan, blocks: Blocks, sample: int) -> None:
        self.name, self.plan, self.blocks, self.sample = name, plan, blocks, sample
        self.profile = ColumnProfile(self.kind, sample)
        self.array = StoredArray(self.dtype)
        self.bad = BadCells()
        #: Whether the table is stored, so that its levels have to be short.
        self.limited = True
        #: Rows that are label, weight or neither.
        self.label = self.weight = False

    def add(self, arrays: Sequence[Any], keep: Array | None, places: Array | None, base: int) -> None:
        """Take the values of a batch, those of the rows in ``keep`` (all if None)."""
        values, valid = numbers(arrays[0])
        if keep is not None:
            values, valid = values[keep], None if valid is None else valid[keep]
        checked = self._checked(values, valid, places, base)
        self.profile.add(Column(self.kind, checked))
        self.blocks.add(self.array, checked)

    def _checked(self, values: Array, valid: Array | None, places: Array | None, base: int) -> Array:
        raise NotImplementedError

    def finish(self, rows: int) -> Finished | Turned:
        """What the column is, after the last batch."""
        return Finished(ColumnSpec(self.name, self.kind, (), self._reason(rows)), [self.array], self.profile)

    def _turn(self) -> Turned | None:
        """Whether so many cells are no values that the column is one of words."""
        if not self.bad.total or self.plan.forced or self.weight:
            return None
        good = self.profile.summary.count + self._waiting()
        mostly = few(self.bad.total, good, self.profile.distinct)
        return None if mostly and not self.label else Turned(self.plan.as_words())

    def _waiting(self) -> int:
        return sum(map(len, getattr(self.profile.summary, "_waiting", ())))

    def _reason(self, rows: int) -> str | None:
        """Why the column is set aside."""
        missing, different = self.profile.summary.missing, self.profile.distinct
        if different == 0:
            return "holds no values"
        if different == 1 and not missing and rows > 1:
            return "holds the same value in every row"
        return None


class NumberSink(Sink):
    """Numbers of 64 bits, or of 32 bits if the file has such."""

    kind: ColumnKind = "number"
    dtype = "<f8"

    def __init__(self, name: str, plan: Plan, blocks: Blocks, sample: int) -> None:
        super().__init__(name, plan, blocks, sample)
        self._zeros = 0
        self._counting: int | None = None
        self._counts = True
        #: Whether all values are whole numbers, whether each is larger than the one before; the last one, the smallest
        #: and the largest so far.
        self._whole = self._rising = True
        self._last, self._low, self._high = -math.inf, math.inf, -math.inf

    def _checked(self, values: Array, valid: Array | None, places: Array | None, base: int) -> Array:
        if valid is not None:
            values = np.where(valid, values, values.dtype.type(np.nan))
        bad = np.isinf(values)
        self._follow(values, places, base)
        if bad.any():
            self._zeros += int(np.count_nonzero(values[bad] < 0))
            self.bad.add(bad, places, base)
            values = np.where(bad, values.dtype.type(np.nan), values)
        if self.weight:
            wrong = ~((values == 0) | ((values >= SMALLEST_WEIGHT) & (values <= LARGEST_WEIGHT))) & ~bad
            if wrong.any():
                self.bad.add(wrong, places, base)
        return values

    def _follow(self, values: Array, places: Array | None, base: int) -> None:
        """Whether the numbers still count the rows of the file, from 0 or from 1, or those of a larger one."""
        if self._whole and len(values):
            self._whole = bool((values == np.floor(values)).all())
            self._rising = self._rising and bool(values[0] > self._last and (values[1:] > values[:-1]).all())
            self._last = float(values[-1])
            self._low, self._high = min(self._low, float(values.min())), max(self._high, float(values.max()))
        if not self._counts or not len(values):
            return
        rows = np.arange(len(values)) if places is None else places
        if self._counting is None:
            start = float(values[0]) - base - float(rows[0])
            self._counts = start in (0.0, 1.0)
            self._counting = int(start) if self._counts else 0
        self._counts = self._counts and bool((values == rows + (base + self._counting)).all())

    def finish(self, rows: int) -> Finished | Turned:
        # Numbers with needless zeros in front are codes: their column is one of words, however few they are.
        if self._zeros and not self.plan.forced and not self.weight and self.plan.number is not None:
            return Turned(Plan("category"))
        return self._turn() or super().finish(rows)

    def _reason(self, rows: int) -> str | None:
        if self._counts and rows > 2 and (rows >= COUNTED_ROWS or COUNTER.fullmatch(self.name.lower())):
            return "counts the rows"
        if self._whole:
            extremes, different = (self._low, self._high), self.profile.distinct
            if numbers_rows(self.name, extremes, rows, rising=self._rising, different=different):
                return "numbers the rows of a larger file"
        return super()._reason(rows)


class SingleSink(NumberSink):
    """Numbers of 32 bits."""

    dtype = "<f4"


class WholeSink(NumberSink):
    """Whole numbers of 64 bits, none of them missing."""

    dtype = "<i8"

    def _checked(self, values: Array, valid: Array | None, places: Array | None, base: int) -> Array:
        assert valid is None, "a column with missing values is read as floating-point numbers"
        self._follow(values, places, base)
        if self.weight:
            wrong = (values < 0) | (values > LARGEST_WEIGHT)
            if wrong.any():
                self.bad.add(wrong, places, base)
        return values


class BooleanSink(Sink):
    """Booleans."""

    kind: ColumnKind = "boolean"
    dtype = "|i1"

    def __init__(self, name: str, plan: Plan, blocks: Blocks, sample: int) -> None:
        super().__init__(name, plan, blocks, sample)
        self.levels = ("false", "true") if plan.boolean is None else plan.boolean.levels

    def add(self, arrays: Sequence[Any], keep: Array | None, places: Array | None, base: int) -> None:
        values, valid = numbers(arrays[0])
        if keep is not None:
            values, valid = values[keep], None if valid is None else valid[keep]
        checked = self._checked(values, valid, places, base)
        self.profile.add(Column("boolean", checked, self.levels))
        self.blocks.add(self.array, checked)

    def _checked(self, values: Array, valid: Array | None, places: Array | None, base: int) -> Array:
        codes = values if valid is None else np.where(valid, values, np.int8(MISSING_CODE))
        bad = codes == BAD_BOOLEAN
        if bad.any():
            self.bad.add(bad, places, base)
            codes = np.where(bad, np.int8(MISSING_CODE), codes)
        return codes.astype(np.int8)

    def finish(self, rows: int) -> Finished | Turned:
        if self.bad.total and not self.plan.forced:
            return Turned(self.plan.as_words())
        return Finished(ColumnSpec(self.name, "boolean", self.levels, self._reason(rows)), [self.array], self.profile)


class TimeSink(Sink):
    """Times in microseconds."""

    kind: ColumnKind = "datetime"
    dtype = "<i8"

    def _checked(self, values: Array, valid: Array | None, places: Array | None, base: int) -> Array:
        times = values if valid is None else np.where(valid, values, MISSING_TIME)
        bad = ((times < _FIRST) | (times > _LAST)) & (times != MISSING_TIME)
        if bad.any():
            self.bad.add(bad, places, base)
            times = np.where(bad, MISSING_TIME, times)
        return times

    def finish(self, rows: int) -> Finished | Turned:
        return self._turn() or super().finish(rows)


class CategorySink(Sink):
    """Words, by their places in a list of levels that grows as they appear.

    The batch has codes of the levels in the plan, and the words of all other cells.
    """

    kind: ColumnKind = "category"
    dtype = "<i4"

    def __init__(self, name: str, plan: Plan, blocks: Blocks, sample: int) -> None:
        super().__init__(name, plan, blocks, sample)
        self._levels = list(plan.levels)
        self._codes = {level: code for code, level in enumerate(self._levels)}
        self._over = False
        #: The codes of levels that are too long for a category that is stored.
        self._long = [code for code, level in enumerate(self._levels) if too_long(level)]

    def add(self, arrays: Sequence[Any], keep: Array | None, places: Array | None, base: int) -> None:
        if self._over:
            return
        values, valid = numbers(arrays[0])
        codes = np.where(valid, values, np.int32(MISSING_CODE)) if valid is not None else values.astype(np.int32)
        others = strings(arrays[1])
        found = np.arange(len(codes)) if others.valid is None else np.flatnonzero(others.valid)
        if keep is not None:
            found = found[keep[found]]
        if len(found):
            codes = codes.copy()
            codes[found] = self._coded(others.content, others.ends, found)
        limit = FORCED_LEVELS if self.label or self.plan.forced else MOST_LEVELS
        if len(self._levels) > limit:
            self._over = True
            return
        if keep is not None:
            codes = codes[keep]
        if self._long and self.limited and (self.label or self.plan.forced):
            self.bad.add(np.isin(codes, self._long), places, base)
        self.profile.add(Column("category", codes, tuple(self._levels)))
        self.blocks.add(self.array, codes)

    def _coded(self, content: Array, ends: Array, rows: Array) -> Array:
        data, known, levels = content.data, self._codes, self._levels
        found = np.empty(len(rows), np.int32)
        for place, (start, stop) in enumerate(zip(ends[rows].tolist(), ends[rows + 1].tolist(), strict=True)):
            word = str(data[start:stop], "utf-8", "replace")
            code = known.get(word)
            if code is None:
                code = known[word] = len(levels)
                levels.append(word)
                if too_long(word):
                    self._long.append(code)
            found[place] = code
        return found

    def finish(self, rows: int) -> Finished | Turned:
        if self._over:
            return Turned(Plan("text", mixed=self.plan.mixed))
        summary = self.profile.summary
        assert isinstance(summary, LevelSummary)
        counts = summary.counts
        fixed = self.label or self.plan.forced
        used = [level for level in self._levels if counts[level]]
        if not fixed and (too_many_levels(len(used), rows) or any(map(is_long, used))):
            return self._as_text(rows)
        boolean = None if self.plan.forced else _pair(used)
        if boolean is not None:
            order = {level: code for code, level in enumerate(boolean)}
            return self._recoded(
                "boolean", boolean, [order.get(_same(level, boolean), -1) for level in self._levels], rows
            )
        if len(used) < len(self._levels):
            order = {level: code for code, level in enumerate(used)}
            return self._recoded("category", tuple(used), [order.get(level, -1) for level in self._levels], rows)
        return Finished(ColumnSpec(self.name, "category", tuple(used), self._reason(rows)), [self.array], self.profile)

    def _recoded(self, kind: ColumnKind, levels: tuple[str, ...], order: list[int], rows: int) -> Finished:
        array = StoredArray("|i1" if kind == "boolean" else "<i4")
        self.profile = ColumnProfile(kind, self.sample)
        table = np.array([*order, MISSING_CODE], array.dtype)  # The code of a missing value, -1, is the last place.
        for codes in self.blocks.read(self.array):
            found = table[codes]
            self.profile.add(Column(kind, found, levels))
            self.blocks.add(array, found)
        return Finished(ColumnSpec(self.name, kind, levels, self._reason(rows)), [array], self.profile)

    def _as_text(self, rows: int) -> Finished:
        texts = [level.encode() for level in self._levels] + [b""]
        keys = np.array([hash_of(text) for text in texts], np.uint64)
        bytes_of = np.array([len(text) for text in texts])
        characters = np.array([len(level) for level in self._levels] + [0])
        profile, ends, content, total = ColumnProfile("text", 0), StoredArray("<i8"), StoredArray("|u1"), 0
        for piece in self.blocks.read(self.array):
            for start in range(0, len(piece), 65_536):
                codes = piece[start : start + 65_536]
                profile.add_texts(characters[codes], keys[codes[codes >= 0]])
                behind = total + np.cumsum(bytes_of[codes])
                self.blocks.add(ends, behind.astype(np.int64))
                self.blocks.add(content, np.frombuffer(b"".join([texts[code] for code in codes.tolist()]), np.uint8))
                total = int(behind[-1])
        reason = text_reason(profile, rows)
        return Finished(ColumnSpec(self.name, "text", (), reason), [ends, content], profile)


def hash_of(text: bytes) -> int:
    """A 64-bit hash of a text, the same in every process."""
    import hashlib

    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little")


def _pair(levels: Sequence[str]) -> tuple[str, str] | None:
    """The words for false and true as they are first written, if the levels are two such words in any case."""
    first: dict[str, str] = {}
    for level in levels:
        first.setdefault(level.lower(), level)
    for no, yes in BOOLEAN_PAIRS:
        if set(first) == {no, yes}:
            return first[no], first[yes]
    return None


def _same(level: str, pair: tuple[str, str]) -> str:
    return pair[0] if level.lower() == pair[0].lower() else pair[1]


class TextSink(Sink):
    """Texts; a missing one is empty. The batch has the texts, their lengths in characters and their hashes."""

    kind: ColumnKind = "text"
    dtype = "<i8"

    def __init__(self, name: str, plan: Plan, blocks: Blocks, sample: int) -> None:
        super().__init__(name, plan, blocks, sample)
        self.content, self._total = StoredArray("|u1"), 0

    def add(self, arrays: Sequence[Any], keep: Array | None, places: Array | None, base: int) -> None:
        texts = strings(arrays[0])
        lengths, _ = numbers(arrays[1])
        keys, _ = numbers(arrays[2])
        sizes = np.diff(texts.ends)
        content = texts.content[texts.ends[0] : texts.ends[-1]]
        if keep is not None:
            content = content[np.repeat(keep, sizes)]
            lengths, keys, sizes = lengths[keep], keys[keep], sizes[keep]
        self.profile.add_texts(lengths, keys[lengths > 0])
        behind = self._total + np.cumsum(sizes)
        self.blocks.add(self.array, behind.astype(np.int64))
        self.blocks.add(self.content, content)
        self._total = int(behind[-1]) if len(behind) else self._total

    def finish(self, rows: int) -> Finished | Turned:
        reason = text_reason(self.profile, rows)
        return Finished(ColumnSpec(self.name, "text", (), reason), [self.array, self.content], self.profile)


def text_reason(profile: ColumnProfile, rows: int) -> str | None:
    """Why a column of texts is set aside: they are names or numbers of single things rather than prose."""
    summary, different = profile.summary, profile.distinct
    if not summary.count:
        return "holds no values"
    if different == 1 and not summary.missing and rows > 1:
        return "holds the same value in every row"
    assert isinstance(summary, TextSummary)
    short = summary.characters < PROSE * summary.count
    if short and rows > 2 and different > SINGLE * summary.count:
        return f"{different:,} different texts in {rows:,} rows"
    return None


SINKS: dict[str, type[Sink]] = {
    "number": NumberSink,
    "single": SingleSink,
    "whole": WholeSink,
    "boolean": BooleanSink,
    "datetime": TimeSink,
    "category": CategorySink,
    "text": TextSink,
}
