"""Rows of numbers read from the bytes of a large body, in blocks: Python objects exist for one block at a time."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import orjson

from models.data.rows import Array, NumberRows, packer
from models.errors import describe

__all__ = ["LONG", "ROWS", "RowsSyntaxError", "RowsText", "read_rows", "rows_texts"]

#: The members of requests that hold rows of numbers.
ROWS = ("inputs", "instances")
#: Bytes of a list of rows from which on it is read in blocks.
LONG = 32 * 1024
#: Bytes that are parsed at a time. Parsing them takes a few milliseconds, in which no other thread runs.
BLOCK = 256 * 1024

#: What stands between the key of the rows and their first row.
_BEGIN = re.compile(rb"[ \t\r\n]*+:[ \t\r\n]*+(\[)[ \t\r\n]*+(?=\[)")
#: The keys that they follow, and the length of the longest one.
_KEYS = tuple(b'"%b"' % name.encode() for name in ROWS)
_KEY_LENGTH = max(map(len, _KEYS))
#: What may stand between the end of the rows and the next string.
_AFTER = b" \t\r\n,}"
_OPEN, _CLOSE, _COMMA = b"[],"
_NUMBERS = {int, float}
#: The first signs of true, false, null and objects.
_OTHERS = (b"t", b"f", b"n", b"{")


class RowsText(NamedTuple):
    """The place of a list of rows in a body: from its opening bracket to before ``stop``."""

    start: int
    stop: int


class RowsSyntaxError(Exception):
    """The rows are not JSON: what is wrong, and the byte of the body at which it was found."""

    def __init__(self, reason: str, place: int) -> None:
        super().__init__(reason)
        self.reason, self.place = reason, place


def rows_texts(body: bytes) -> Iterator[RowsText]:
    """The long lists of rows that follow a key of ``ROWS`` and contain no strings, in their order.

    If the body is JSON, they are outside of strings: the text before them ends with a whole key.
    """
    place, length = 0, len(body)
    while place < length:
        # The last quote within reach: if there is none, the text without quotes is a long one.
        quote = body.rfind(b'"', place, place + LONG)
        if quote >= 0:
            place = quote + 1
            continue
        end = body.find(b'"', place + LONG)
        end = length if end < 0 else end
        named = body[max(place - _KEY_LENGTH, 0) : place].endswith(_KEYS)
        begin = _BEGIN.match(body, place, end) if named else None
        if begin is not None:
            stop = _end_of_rows(body, begin.start(1), end)
            if stop - begin.start(1) >= LONG:
                yield RowsText(begin.start(1), stop)
        place = end + 1


def _end_of_rows(body: bytes, start: int, end: int) -> int:
    """The end of the list that begins at ``start`` and is followed by no other value before ``end``."""
    while end > start:
        first = max(start, end - LONG)
        kept = body[first:end].rstrip(_AFTER)
        if kept:
            return first + len(kept)
        end = first
    return end


def read_rows(body: bytes, text: RowsText, reserve: Callable[[int], None]) -> NumberRows | None:
    """The rows of a text; None if it is not as long as they are, or if something is nested in them.

    ``reserve`` is called with the bytes of the array before it is made. Raises RowsSyntaxError if the text is not JSON.
    """
    rows = _Rows(body, text, reserve)
    first, stop, within = text.start + 1, text.stop - 1, False
    if body[stop] != _CLOSE:
        return None
    while True:
        cut = stop if stop - first <= BLOCK else body.rfind(b",", first, first + BLOCK)
        if cut < 0:  # One number is longer than a block.
            cut = body.find(b",", first + BLOCK, stop)
            cut = stop if cut < 0 else cut
        block = body[first:cut]
        bracket, closing = block.rfind(b"["), block.rfind(b"]")
        ends_within = bracket > closing or (within and bracket == closing)
        if ends_within and cut == stop:
            return None
        before = b"[[" if within else b"["
        try:
            found = orjson.loads(b"".join((before, block, b"]]" if ends_within else b"]")))
        except orjson.JSONDecodeError as error:
            if b"}" in block or _is_deep(block, within=within):
                return None
            raise RowsSyntaxError(error.msg, first + max(error.pos - len(before), 0)) from None
        if not found or (within and not found[0]):
            raise RowsSyntaxError("unexpected character", cut)  # Nothing stands beside a comma.
        # Without strings, which the text does not have, all else but numbers and lists has one of these signs.
        plain = not any(sign in block for sign in _OTHERS)
        rows.add(found, continues=within, ends_within=ends_within, plain=plain)
        if cut == stop:
            return rows.result()
        first, within = cut + 1, ends_within


def _is_deep(block: bytes, *, within: bool) -> bool:
    """Whether lists are nested in the rows of a block; ``within`` says that it begins within a row."""
    signs = np.frombuffer(block, np.uint8)
    depths = np.cumsum((signs == _OPEN).astype(np.int8) - (signs == _CLOSE).astype(np.int8), dtype=np.int64)
    return bool(depths.max(initial=0) + within > 1)


def _commas(body: bytes, text: RowsText) -> int:
    """The number of commas in a text; ``bytes.count`` takes several times as long."""
    signs = np.frombuffer(body, np.uint8)
    pieces = (signs[start : min(start + BLOCK, text.stop)] for start in range(text.start, text.stop, BLOCK))
    return sum(int(np.count_nonzero(piece == _COMMA)) for piece in pieces)


class _Rows:
    """The rows that were read so far."""

    def __init__(self, body: bytes, text: RowsText, reserve: Callable[[int], None]) -> None:
        self._body, self._text, self._reserve = body, text, reserve
        self._numbers: Array | None = None
        #: Rows that have ended, the length of the first one, and cells of the row that has not ended.
        self._count, self._length, self._partial = 0, -1, 0
        self._cells = 0
        self._uneven: tuple[int, int | str] | None = None
        self._no_number: tuple[int, str] | None = None

    def add(self, rows: list[Any], *, continues: bool, ends_within: bool, plain: bool) -> None:
        """Add the rows of a block: the first one continues the last one, and the last one may go on.

        ``plain`` says that the text of the block has nothing but numbers and lists.
        """
        if self._uneven is not None:
            self._count += len(rows) - ends_within
            return
        lengths = self._lengths(rows)
        if continues and lengths:
            lengths[0] += self._partial
        self._partial = lengths.pop() if ends_within and len(lengths) == len(rows) else 0
        if self._length < 0 and lengths:
            self._length = lengths[0]
        if self._uneven is None or lengths:
            odd = next((place for place, length in enumerate(lengths) if length != self._length or not length), None)
            if odd is not None:
                self._uneven = self._count + odd, lengths[odd]
        self._count += len(rows) - ends_within
        if self._uneven is None and self._no_number is None:
            self._add_cells(rows, sum(map(len, rows)), plain=plain)

    def _lengths(self, rows: list[Any]) -> list[int]:
        """The lengths of the rows, up to before the first one that is no list, which is noted."""
        if set(map(type, rows)) != {list}:
            odd = next(place for place, row in enumerate(rows) if type(row) is not list)
            self._uneven = self._count + odd, describe(rows[odd])
            rows = rows[:odd]
        return list(map(len, rows))

    def _add_cells(self, rows: list[list[Any]], count: int, *, plain: bool) -> None:
        if not plain and not self._are_numbers(rows):
            return
        if self._numbers is None:
            # One more than there are commas, if no row is empty.
            size = _commas(self._body, self._text) + 1
            self._reserve(8 * size)
            self._numbers = np.empty(size, np.float64)
        try:
            # Packing takes a third of the time of numpy.fromiter.
            packed = b"".join([packer(len(row), "d")(*row) for row in rows])
        except (struct.error, TypeError):  # A list stands where a number should.
            if self._are_numbers(rows):
                raise
            return
        self._numbers[self._cells : self._cells + count] = np.frombuffer(packed, np.float64)
        self._cells += count

    def _are_numbers(self, rows: list[list[Any]]) -> bool:
        """Whether all cells are numbers; the first one that is none is noted."""
        cells = list(chain.from_iterable(rows))
        if set(map(type, cells)) <= _NUMBERS:
            return True
        place = next(place for place, cell in enumerate(cells) if type(cell) not in _NUMBERS)
        self._no_number = self._cells + place, describe(cells[place])
        return False

    def result(self) -> NumberRows:
        """All rows."""
        length, whole = max(self._length, 0), self._uneven is None and self._no_number is None
        numbers = self._numbers if whole and self._numbers is not None else np.empty(0)
        no_number = None
        if self._no_number is not None:
            cell, received = self._no_number
            no_number = (*divmod(cell, max(length, 1)), received)
        shaped = numbers[: self._cells].reshape(self._count, length) if whole else np.empty((0, 0))
        return NumberRows(shaped, self._count, length, self._uneven, no_number)
