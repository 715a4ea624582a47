"""The secret of a key: ``ty_``, 256 random bits, and a checksum, by which scanners recognize a leaked one."""

from __future__ import annotations

import hashlib
import secrets
import zlib

__all__ = ["SECRET_PATTERN", "digest_of", "hint_of", "is_secret", "new_secret"]

_PREFIX = "ty_"
_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
#: 62**43 > 2**256, and 62**6 > 2**32.
_RANDOM, _CHECKSUM = 43, 6
#: Regular expression for a secret, for scanners.
SECRET_PATTERN = rf"{_PREFIX}[0-9A-Za-z]{{{_RANDOM + _CHECKSUM}}}"
_LENGTH = len(_PREFIX) + _RANDOM + _CHECKSUM


def new_secret() -> str:
    """A new secret."""
    begin = _PREFIX + _base62(secrets.randbits(256), _RANDOM)
    return begin + _checksum(begin)


def is_secret(text: str) -> bool:
    """Whether a text is a whole secret with its checksum; no other text can belong to a key."""
    if len(text) != _LENGTH or not text.startswith(_PREFIX) or not text.isascii():
        return False
    return _checksum(text[:-_CHECKSUM]) == text[-_CHECKSUM:]


def digest_of(secret: str) -> str:
    """What is stored of a secret: its SHA-256, in hexadecimal digits. With 256 random bits, it needs no salt."""
    return hashlib.sha256(secret.encode()).hexdigest()


def hint_of(secret: str) -> str:
    """The end of a secret, by which its holder finds it in a list."""
    return f"…{secret[-4:]}"


def _checksum(begin: str) -> str:
    return _base62(zlib.crc32(begin.encode()), _CHECKSUM)


def _base62(number: int, digits: int) -> str:
    text = ""
    for _ in range(digits):
        number, digit = divmod(number, 62)
        text = _DIGITS[digit] + text
    return text
