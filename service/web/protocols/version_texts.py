"""Versions as addresses name them."""

from __future__ import annotations

__all__ = ["wanted_of"]

#: Longer numbers exceed every limit, and Python refuses to parse integers with thousands of digits.
_DIGITS = 18


def wanted_of(text: str | None) -> int | str | None:
    """What a text means: a version by its number, else by an alias or a checkpoint's id; None is the default one."""
    if text is not None and text.isascii() and text.isdecimal() and len(text) <= _DIGITS:
        return int(text)
    return text
