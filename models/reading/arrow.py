"""NumPy views of Arrow arrays."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from nncore.arrays import Array

__all__ = ["Strings", "numbers", "strings", "valid_of"]


class Strings(NamedTuple):
    """Strings: the places between their bytes, (n + 1,), all bytes, and which are there; None if all are."""

    ends: Array
    content: Array
    valid: Array | None


def valid_of(view: Any, offset: int, length: int) -> Array | None:
    """Which values are there, (length,) of bool; None if all are."""
    bits = np.asarray(view.buffer(0))
    if view.null_count == 0 or not bits.size:
        return None
    found: Array = np.unpackbits(bits.view(np.uint8), count=offset + length, bitorder="little")[offset:].view(bool)
    return found


def numbers(array: Any) -> tuple[Array, Array | None]:
    """The values of an array of numbers, a view of its memory, and which are there."""
    view = array.view()
    values = np.asarray(view.buffer(1))[array.offset : array.offset + array.length]
    return values, valid_of(view, array.offset, array.length)


def strings(array: Any) -> Strings:
    """An array of strings; its bytes are a view of its memory."""
    view = array.view()
    ends = np.asarray(view.buffer(1))[array.offset : array.offset + array.length + 1].astype(np.int64)
    content = np.asarray(view.buffer(2)).view(np.uint8)
    return Strings(ends, content, valid_of(view, array.offset, array.length))
