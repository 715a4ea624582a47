"""JSON looked through without being parsed: what its values would take in memory, and keys that stand twice."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np
import orjson

from models.data.rows import Array

__all__ = ["byte_counts", "colons_outside_strings", "object_bytes", "repeated_key"]

#: Bytes that are looked through at a time; other threads run in between.
BLOCK = 256 * 1024

_TOKEN = re.compile(rb'("[^"\\]*+(?:\\.[^"\\]*+)*+")([ \t\r\n]*+:)?|[{}]', re.DOTALL)
_QUOTE, _COLON, _COMMA, _BACKSLASH = b'":,\\'
_LIST, _OBJECT = b"[{"
#: First bytes of UTF-8 from which on a character, and so each of its string, takes 2 and 4 bytes.
_TWO, _FOUR = 0xC4, 0xF0

#: Bytes that orjson takes of each value and key while it parses, growth included.
PARSED = 24
#: Bytes of what a value takes in memory: a number with its place in a list, and what the other kinds take beside that.
SCALAR, LIST, OBJECT, MEMBER, STRING = 41, 88, 64, 48, 56


def byte_counts(body: bytes, start: int = 0, stop: int | None = None) -> Array:
    """How often each byte, (256,), occurs in a part of a body."""
    counts, content = np.zeros(256, np.int64), np.frombuffer(body, np.uint8)
    stop = len(body) if stop is None else stop
    for first in range(start, stop, BLOCK):
        counts += np.bincount(content[first : min(first + BLOCK, stop)], minlength=256)
    return counts


def object_bytes(body: bytes) -> int:
    """The memory that parsing a body takes at most, its values included and the body itself not."""
    counts = byte_counts(body)
    commas, colons, lists, objects = (int(counts[sign]) for sign in (_COMMA, _COLON, _LIST, _OBJECT))
    width = 1
    if counts[_TWO:].any():
        width = 2
    if counts[_FOUR:].any() or counts[_BACKSLASH]:
        width = 4
    parsed = PARSED * (commas + colons + lists + objects + 1) + len(body)
    strings = STRING * (int(counts[_QUOTE]) // 2) + width * len(body)
    return parsed + SCALAR * (commas + 1) + LIST * lists + OBJECT * objects + MEMBER * colons + strings


def colons_outside_strings(body: bytes) -> int:
    """The number of colons outside of strings, which is that of all keys of valid JSON."""
    total = within = 0
    for block in _blocks(body):
        signs = np.frombuffer(block, np.uint8)
        colons = np.flatnonzero(signs == _COLON)
        if len(colons) or within or b'"' in block:
            quotes = np.flatnonzero(signs == _QUOTE)
            before = np.searchsorted(quotes, colons) + within
            total += int(np.count_nonzero(before % 2 == 0))
            within = (within + len(quotes)) % 2
    return total


def _blocks(body: bytes) -> Iterator[bytes]:
    """The body in blocks, in which escaped signs are replaced, so that every quote begins or ends a string."""
    start = 0
    while start < len(body):
        block = body[start : start + BLOCK]
        start += len(block)
        if b"\\" in block:
            escapes = len(block) - len(block.rstrip(b"\\"))
            if escapes % 2:  # The escaped sign is in the next block.
                block += body[start : start + 1]
                start += 1
            block = block.replace(b"\\\\", b"__").replace(b'\\"', b"__")
        yield block


def repeated_key(body: bytes) -> str | None:
    """The first key that stands twice in one object of valid JSON; None if there is none."""
    objects: list[set[str]] = []
    for token in _TOKEN.finditer(body):
        if token[2] is not None:
            key = orjson.loads(token[1]) if b"\\" in token[1] else token[1][1:-1].decode()
            if key in objects[-1]:
                return str(key)
            objects[-1].add(key)
        elif token[0] == b"{":
            objects.append(set())
        elif token[0] == b"}":
            objects.pop()
    return None
