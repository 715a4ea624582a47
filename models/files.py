"""Files that are either whole or not there: written beside their place, made durable, verified, then renamed."""

from __future__ import annotations

import fcntl
import hashlib
import os
import secrets
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, NamedTuple

__all__ = ["TEMPORARY_SUFFIX", "FileRecord", "sha256_of", "sweep", "write_durably"]

TEMPORARY_SUFFIX = ".partial"
_CHUNK = 1 << 20


class FileRecord(NamedTuple):
    """Size and digest by which the database knows a file."""

    bytes: int
    sha256: str


def write_durably(path: Path, content: bytes) -> FileRecord:
    """Put ``content`` at ``path`` so that it survives a power cut, or raise OSError and leave nothing behind.

    The order matters: the content is flushed to the disk and read back before the name points to it, and the
    directory is flushed before anybody is told.
    """
    record = FileRecord(len(content), hashlib.sha256(content).hexdigest())
    temporary, file = _open_temporary(path)
    try:
        with file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
            _verify(temporary, record)
            temporary.rename(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _flush_directory(path.parent)
    return record


def _open_temporary(path: Path) -> tuple[Path, BinaryIO]:
    """A new file beside ``path``, locked for as long as it is open, which tells ``sweep`` that somebody writes it."""
    while True:
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}{TEMPORARY_SUFFIX}")
        file = temporary.open("xb")
        fcntl.flock(file, fcntl.LOCK_EX)
        if os.fstat(file.fileno()).st_nlink:
            return temporary, file
        file.close()  # A sweep came between creation and lock.


def sweep(directory: Path) -> list[str]:
    """Remove temporary files whose writers are dead; their names."""
    removed = []
    for path in directory.glob(f".*{TEMPORARY_SUFFIX}"):
        with suppress(FileNotFoundError, BlockingIOError), path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()
            removed.append(path.name)
    return removed


def _verify(path: Path, record: FileRecord) -> None:
    if sha256_of(path) != record.sha256:
        raise OSError(f"{path} did not read back as written")


def _flush_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sha256_of(path: Path) -> str:
    """Hexadecimal SHA-256 of a file's content."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
