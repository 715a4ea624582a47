"""Names that clients choose, and ids that begin with their kind and sort by creation: ``job_06f3…``.

A name is unique among those of its owner. ``qualified`` names are unique in a data directory.
"""

from __future__ import annotations

import secrets
import time
from typing import Literal

__all__ = ["LOCAL", "NAME_PATTERN", "QUALIFIED_PATTERN", "Kind", "id_pattern", "new_id", "qualified", "unqualified"]

Kind = Literal["job", "ckpt", "ds", "key"]

#: Regular expression for the whole name of a model, dataset or alias.
NAME_PATTERN = "[a-z0-9][a-z0-9._-]{0,62}"
#: Regular expression for a whole qualified name.
QUALIFIED_PATTERN = f"(?:{NAME_PATTERN}~)?{NAME_PATTERN}"
#: The owner of what is made without a key.
LOCAL = "local"

_DIGITS = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's base 32: no i, l, o, u
_last = 0


def id_pattern(kind: Kind) -> str:
    """Regular expression for a whole id of this kind."""
    return f"{kind}_[{_DIGITS}]{{21}}"


def qualified(owner: str, name: str) -> str:
    """A name together with its owner, as in ``alice~iris``; the name alone if the owner is ``LOCAL``."""
    return name if owner == LOCAL else f"{owner}~{name}"


def unqualified(text: str) -> tuple[str, str]:
    """The owner and the name of a qualified name."""
    owner, mark, name = text.rpartition("~")
    return (owner if mark else LOCAL), name


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
