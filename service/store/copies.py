"""Copies elsewhere, for backups: a directory that is whole or absent, files that are durable and verified."""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from models.formats.durable import TEMPORARY_SUFFIX, sha256_of

__all__ = ["copy_durably", "flush", "is_new", "new_directory", "write_copy"]

_CHUNK = 1 << 20


def is_new(target: Path) -> bool:
    """Whether a path is absent or an empty directory."""
    return not target.exists() or (target.is_dir() and not any(target.iterdir()))


@contextmanager
def new_directory(target: Path, folders: tuple[str, ...]) -> Iterator[Path]:
    """A new directory with these folders, to be filled in the block, that becomes ``target`` when the block ends.

    If the block raises, the directory is deleted. ``target`` must be absent or an empty directory.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    work = target.with_name(f".{target.name}.{secrets.token_hex(4)}{TEMPORARY_SUFFIX}")
    work.mkdir()
    try:
        for folder in folders:
            (work / folder).mkdir()
        yield work
        for folder in folders:
            flush(work / folder)
        flush(work)
        work.rename(target)
    except BaseException:
        shutil.rmtree(work)
        raise
    flush(target.parent)


def copy_durably(source: Path, target: Path) -> str:
    """Copy a file, flush the copy to the disk and read it back; the SHA-256 of the content. Raises OSError."""
    with source.open("rb") as reading:
        return write_copy(iter(lambda: reading.read(_CHUNK), b""), target)


def write_copy(content: Iterable[bytes | memoryview], target: Path) -> str:
    """Write a copy, given in pieces, flush it to the disk and read it back; the SHA-256. Raises OSError."""
    digest = hashlib.sha256()
    with target.open("xb") as writing:
        for chunk in content:
            digest.update(chunk)
            writing.write(chunk)
        writing.flush()
        os.fsync(writing.fileno())
    if sha256_of(target) != digest.hexdigest():
        raise OSError(errno.EIO, "the copy did not read back as written", str(target))
    return digest.hexdigest()


def flush(path: Path) -> None:
    """Flush a file or a directory to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
