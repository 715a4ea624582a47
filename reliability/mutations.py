"""Damaged copies of good files; the same number always gives the same mutation."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Sequence

__all__ = ["mutated"]

#: Unusual values for sizes, counts and addresses.
_ODD = (0, 1, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**63, 2**64 - 2, 2**64 - 1)


def mutated(bases: Sequence[bytes], number: int) -> bytes:
    """Return the mutation with this number: one of the bases with one to four changes."""
    chance = random.Random(number)
    content = bytearray(chance.choice(bases))
    for _ in range(chance.choice((1, 1, 1, 2, 4))):
        chance.choice(_CHANGES)(content, chance, bases)
    return bytes(content)


def _place(content: bytearray, chance: random.Random) -> int:
    """Return a random offset; half of them are in the first kilobytes, which hold most of the structure."""
    end = len(content) if chance.random() < 0.5 else min(len(content), 4096)
    return chance.randrange(max(end, 1))


def _flip(content: bytearray, chance: random.Random, _bases: Sequence[bytes]) -> None:
    if content:
        content[_place(content, chance)] ^= 1 << chance.randrange(8)


def _byte(content: bytearray, chance: random.Random, _bases: Sequence[bytes]) -> None:
    if content:
        content[_place(content, chance)] = chance.choice((0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256)))


def _number(content: bytearray, chance: random.Random, _bases: Sequence[bytes]) -> None:
    """Write a whole number at an even offset, as counts and addresses have it."""
    place = _place(content, chance) & ~1
    size, form = chance.choice(((2, "<H"), (4, "<I"), (8, "<Q")))
    value = chance.choice((*_ODD, len(content), chance.randrange(len(content) + 1), chance.getrandbits(64)))
    content[place : place + size] = struct.pack(form, value % 2 ** (8 * size))


def _copy(content: bytearray, chance: random.Random, bases: Sequence[bytes]) -> None:
    """Overwrite a piece of this file with a piece of this or another file."""
    source = chance.choice((content, chance.choice(bases)))
    size, start, place = chance.choice((8, 16, 64, 512)), _place(bytearray(source), chance), _place(content, chance)
    piece = source[start : start + size]
    content[place : place + len(piece)] = piece


def _truncate(content: bytearray, chance: random.Random, _bases: Sequence[bytes]) -> None:
    del content[_place(content, chance) :]


def _insert(content: bytearray, chance: random.Random, _bases: Sequence[bytes]) -> None:
    place = _place(content, chance)
    content[place:place] = chance.randbytes(chance.choice((1, 8, 512)))


_CHANGES: tuple[Callable[[bytearray, random.Random, Sequence[bytes]], None], ...] = (
    *(_flip, _flip, _byte, _byte, _number, _number, _number, _number, _copy, _copy),
    *(_truncate, _insert),
)
