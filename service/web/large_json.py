"""Large JSON bodies: rows of numbers are read apart, and the memory of everything else is held before it is made."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Any, NamedTuple

import orjson

from models.data.rows import NumberRows
from models.errors import MalformedError, describe
from service.web.json_tokens import colons_outside_strings, object_bytes, repeated_key
from service.web.memory import Held
from service.web.number_rows import BLOCK, ROWS, RowsSyntaxError, RowsText, read_rows, rows_texts

__all__ = ["EMPTY", "parse_large", "require_unique_keys"]

EMPTY = "the body must be a JSON object. Received: an empty body"
#: Members that may hold rows, beside the body itself.
_PARTS = ("data", "validation")
#: Times its text that one block of numbers takes as objects.
_BLOCK_FACTOR = 16


class _Apart(NamedTuple):
    """Rows that were read apart from the rest of a body, and the place of their text."""

    text: RowsText
    rows: NumberRows


def parse_large(body: bytes, held: Held | None) -> Any:
    """Parse a large body as ``parse_json`` does."""
    if body.isspace():
        raise MalformedError("invalid_json", EMPTY)
    taken = _Taken(held, len(body))
    apart: list[_Apart] = []
    for text in rows_texts(body):
        taken.add(0 if apart else _BLOCK_FACTOR * min(BLOCK, text.stop - text.start))
        try:
            rows = read_rows(body, text, taken.add)
        except RowsSyntaxError as fault:
            before = len(body[: text.start].decode(errors="replace"))
            raise _malformed(fault.reason, body, before + fault.place - text.start, fault.place) from None
        if rows is not None:
            apart.append(_Apart(text, rows))
    if not apart:
        return _parse(body, [], body, taken)
    mark = secrets.randbits(62)
    rest = b"".join(_rest(body, apart, mark))
    document = _parse(rest, apart, body, taken)
    if _put_back(document, apart, mark):
        return document
    # Members that are no rows have the same name.
    return _parse(body, [], body, taken)


class _Taken:
    """What a body and its values take, counted as they are made."""

    def __init__(self, held: Held | None, count: int) -> None:
        self._held, self._total = held, 0
        self.add(count)

    def add(self, count: int) -> None:
        """Count further bytes; raises BusyError or TooLargeError if the budget has no room for them."""
        self._total += count
        if self._held is not None:
            self._held.reserve(self._total)


def _rest(body: bytes, apart: list[_Apart], mark: int) -> Iterator[bytes]:
    """The body with a list of two numbers in place of the rows that were read: a mark, and which of them it is."""
    place = 0
    for number, (text, _) in enumerate(apart):
        yield body[place : text.start]
        yield _stand_in(mark, number)
        place = text.stop
    yield body[place:]


def _stand_in(mark: int, number: int) -> bytes:
    return b"[%d,%d]" % (mark, number)


def _put_back(document: Any, apart: list[_Apart], mark: int) -> bool:
    """Put the rows into the document in place of what stands for them; whether all were found."""
    found = 0
    for part in (document, *(document.get(name) for name in _PARTS)) if isinstance(document, dict) else ():
        if not isinstance(part, dict):
            continue
        for name in ROWS:
            stands = part.get(name)
            if isinstance(stands, list) and len(stands) == 2 and stands[0] == mark:
                part[name] = apart[stands[1]].rows
                found += 1
    return found == len(apart)


def _parse(text: bytes, apart: list[_Apart], body: bytes, taken: _Taken) -> Any:
    """Parse what is left of a body; ``apart`` is what was taken out of it."""
    taken.add(object_bytes(text))
    try:
        document = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        if not apart:
            raise MalformedError("invalid_json", f"the body is not valid JSON: {error}") from None
        characters, place = _place_in_body(text, apart, error.pos)
        raise _malformed(error.msg, body, characters, place) from None
    require_unique_keys(text, document)
    return document


def _place_in_body(text: bytes, apart: list[_Apart], characters: int) -> tuple[int, int]:
    """The place in the body, in characters and bytes, of what stands after so many characters of the text."""
    place = len(text.decode(errors="replace")[:characters].encode())
    left_out = 0
    # What stands for rows begins where they begin, less what was left out before.
    for each in apart:
        removed = each.text.stop - each.text.start
        if place + left_out <= each.text.start:
            break
        end = text.index(b"]", each.text.start - left_out) + 1
        left_out += removed - (end - (each.text.start - left_out))
    return characters + left_out, place + left_out


def _malformed(reason: str, body: bytes, characters: int, place: int) -> MalformedError:
    """The error for what stands at a place of the body, which is given in characters and in bytes."""
    line = body.count(b"\n", 0, place) + 1
    begin = body.rfind(b"\n", 0, place) + 1
    column = len(body[begin:place].decode(errors="replace")) + 1
    detail = f"the body is not valid JSON: {reason}: line {line} column {column} (char {characters})"
    return MalformedError("invalid_json", detail)


def require_unique_keys(body: bytes, document: Any) -> None:
    """Raise MalformedError if one object of a parsed body has a key twice.

    orjson keeps the last of equal keys. If there are as many colons as keys, it dropped none. A different count may
    also come from colons inside strings.
    """
    try:
        if body.count(b":") == _count_keys(document):
            return
    except RecursionError:
        raise MalformedError("invalid_json", "the body is nested too deeply") from None
    if len(body) > BLOCK and colons_outside_strings(body) == _count_all_keys(document):
        return
    key = repeated_key(body)
    if key is not None:
        raise MalformedError("invalid_json", f"the key {describe(key)} occurs twice in one object")


def _count_keys(value: Any) -> int:
    """Number of keys in nested objects. Skips lists of lists, which hold numbers, possibly millions of them."""
    if type(value) is dict:
        count = len(value)
        for each in value.values():
            # Most values are neither, and a call takes longer than to look.
            if type(each) is dict or (type(each) is list and each and type(each[0]) is dict):
                count += _count_keys(each)
        return count
    if type(value) is list and value and type(value[0]) is dict:
        return sum(_count_keys(item) for item in value if type(item) is dict)
    return 0


def _count_all_keys(document: Any) -> int:
    """Number of keys in all objects."""
    count, left = 0, [document]
    while left:
        value = left.pop()
        if isinstance(value, dict):
            count += len(value)
            value = value.values()
        if isinstance(value, list) and not {dict, list} & set(map(type, value)):
            continue
        left += [each for each in value if isinstance(each, (dict, list))]
    return count
