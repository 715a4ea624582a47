"""Compiled code in the data directory: what a process has compiled, the next one loads.

kernels/KEY has a SHA-256 digest and then the code. No file here is needed: one that is missing or damaged, or to which
other users can write, counts as absent, and its code is compiled again.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import secrets
from collections.abc import Iterator, MutableMapping
from contextlib import suppress
from pathlib import Path

from models.formats.durable import TEMPORARY_SUFFIX

__all__ = ["MOST_BYTES", "CompiledCode"]

_log = logging.getLogger("trainyard.kernels")

#: Bytes of all files together.
MOST_BYTES = 64 * 2**20
_KEY = re.compile("[0-9a-f]{64}")
_DIGEST = hashlib.sha256().digest_size
#: Of a file's mode, what lets others write to it.
_OTHERS_WRITE = 0o022


class CompiledCode(MutableMapping[str, bytes]):
    """The code of one data directory by key, a SHA-256 in hexadecimal digits. Several processes may use it at once.

    If all files are more than ``most`` bytes, the oldest are deleted. Code that cannot be written is not kept.
    """

    def __init__(self, data: Path, most: int = MOST_BYTES) -> None:
        self._folder, self._most = data / "kernels", most
        self._reported: set[str] = set()

    def __getitem__(self, key: str) -> bytes:
        path = self._path(key)
        try:
            content = _read(path)
        except FileNotFoundError:
            raise KeyError(key) from None
        except OSError as error:
            self._report("compiled code cannot be read, and is compiled again: %s", error)
            raise KeyError(key) from error
        code = content[_DIGEST:]
        if content[:_DIGEST] != _digest(key, code):
            _log.warning("compiled code is damaged, and is compiled again: %s", path.name)
            raise KeyError(key)
        return code

    def __setitem__(self, key: str, code: bytes) -> None:
        path = self._path(key)
        if _DIGEST + len(code) > self._most:
            return
        temporary = path.with_name(f".{secrets.token_hex(8)}{TEMPORARY_SUFFIX}")
        try:
            self._folder.mkdir(mode=0o700, exist_ok=True)
            with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(_digest(key, code) + code)
            temporary.rename(path)
            self._make_room()
        except OSError as error:
            self._report("compiled code cannot be kept, so the next process compiles it too: %s", error)
            with suppress(OSError):
                temporary.unlink(missing_ok=True)

    def __delitem__(self, key: str) -> None:
        try:
            self._path(key).unlink()
        except FileNotFoundError:
            raise KeyError(key) from None

    def __iter__(self) -> Iterator[str]:
        return (path.name for path in self._folder.glob("*") if _KEY.fullmatch(path.name))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def _report(self, message: str, error: OSError) -> None:
        """Log the first error of its kind; those of other files have the same reason."""
        if message not in self._reported:
            _log.warning(message, error)
        self._reported.add(message)

    def _path(self, key: str) -> Path:
        if not _KEY.fullmatch(key):
            raise ValueError(f"a key must be a SHA-256 in hexadecimal digits. Received: {key!r}")
        return self._folder / key

    def _make_room(self) -> None:
        """Delete the oldest files until all take ``most`` bytes or less. What killed processes have left counts too."""
        found = []
        for path in self._folder.iterdir():
            with suppress(FileNotFoundError):  # Another process has deleted or renamed it.
                stat = path.stat()
                found.append((stat.st_mtime_ns, path, stat.st_size))
        total = sum(size for _, _, size in found)
        for _, path, size in sorted(found):
            if total <= self._most:
                return
            path.unlink(missing_ok=True)
            total -= size


def _digest(key: str, code: bytes) -> bytes:
    """The digest of a file, which also holds its key: code under another name is damaged."""
    return hashlib.sha256(key.encode() + b"\0" + code).digest()


def _read(path: Path) -> bytes:
    """The content of a file, which this process is going to execute. Raises OSError, also if others can write to it."""
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb") as file:
        stat = os.fstat(file.fileno())
        if stat.st_uid != os.geteuid() or stat.st_mode & _OTHERS_WRITE:
            raise PermissionError(f"{path.name} belongs to another user, or others can write to it")
        return file.read()
