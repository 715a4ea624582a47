"""Names that clients choose, and ids that begin with their kind and sort by creation: ``job_06f3…``."""

from __future__ import annotations

import secrets
import time
from typing import Literal

__all__ = ["NAME_PATTERN", "Kind", "id_pattern", "new_id"]

Kind = Literal["job", "ckpt", "ds"]

#: Regular expression for the whole name of a model, dataset or alias.
NAME_PATTERN = "[a-z0-9][a-z0-9._-]{0,62}"

_DIGITS = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's base 32: no i, l, o, u
_last = 0


def id_pattern(kind: Kind) -> str:
    """Regular expression for a whole id of this kind."""
    return f"{kind}_[{_DIGITS}]{{21}}"


def new_id(kind: Kind) -> str:
    """A new id: 13 digits of time in nanoseconds, rising within a process, and 8 random ones."""
    global _last  # noqa: PLW0603
    _last = max(time.time_ns(), _last + 1)
    return f"{kind}_{_base32(_last, 13)}{_base32(secrets.randbits(40), 8)}"


def _base32(number: int, digits: int) -> str:
    text = ""
    for _ in range(digits):
        text = _DIGITS[number & 31] + text
        number >>= 5
    return text
