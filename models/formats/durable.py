"""Files that are complete or absent: written under a temporary name, flushed, verified, then renamed."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import secrets
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from io import FileIO
from pathlib import Path
from typing import NamedTuple

__all__ = [
    "TEMPORARY_SUFFIX",
    "ChangedError",
    "FileRecord",
    "FileSpan",
    "FileStat",
    "Piece",
    "UnreachableError",
    "chunks",
    "open_temporary",
    "record_of",
    "sha256_of",
    "stat_of",
    "sweep",
    "write_durably",
]

TEMPORARY_SUFFIX = ".partial"
_CHUNK = 1 << 20


class UnreachableError(OSError):
    """The place where files are kept does not answer, or refuses to: nothing is known of what it holds."""


class ChangedError(OSError):
    """A file has other content than its record says."""


class FileRecord(NamedTuple):
    """Size, digest and modification time of a file, by which the database recognizes it."""

    bytes: int
    sha256: str
    mtime_ns: int | None = None


class FileStat(NamedTuple):
    """Size and modification time of a file."""

    bytes: int
    mtime_ns: int


class FileSpan(NamedTuple):
    """Bytes of an open file, which does not change meanwhile."""

    descriptor: int
    offset: int
    nbytes: int


#: A piece of a file's content: in memory, or in another file, from which it is read again each time it is needed.
Piece = memoryview | FileSpan


def chunks(piece: Piece) -> Iterator[memoryview]:
    """The bytes of a piece, at most ``_CHUNK`` at a time. Raises OSError if they cannot be read."""
    for start in range(0, piece.nbytes, _CHUNK):
        if isinstance(piece, memoryview):
            yield piece[start : start + _CHUNK]
            continue
        size = min(_CHUNK, piece.nbytes - start)
        content = os.pread(piece.descriptor, size, piece.offset + start)
        if len(content) != size:
            raise OSError(errno.EIO, "a temporary file is cut short")
        yield memoryview(content)


def write_durably(path: Path, content: Sequence[Piece]) -> FileRecord:
    """Write ``content``, given in consecutive pieces, to ``path`` so that it survives a power cut.

    Raises OSError and leaves no file behind if that fails. The order matters: the content is flushed and read back
    before the file gets its name, and the directory is flushed before this function returns. If a flush fails, the
    file is abandoned: the kernel reports a lost page only once, so a second flush of the same file proves nothing
    (Rebello et al. 2020, "Can applications recover from fsync failures?"). A retry must write a new file.
    """
    temporary, file = open_temporary(path)
    named = False
    try:
        with file, ThreadPoolExecutor(1) as beside:
            digest = beside.submit(_digest, content)
            for piece in content:
                _write(file, piece)
            read_back = beside.submit(_require_same, file, content)
            os.fsync(file.fileno())
            read_back.result()
            temporary.rename(path)
            named = True
        _flush_directory(path.parent)
        mtime_ns = stat_of(path).mtime_ns
    except BaseException:
        (path if named else temporary).unlink(missing_ok=True)
        raise
    return FileRecord(sum(piece.nbytes for piece in content), digest.result(), mtime_ns)


def _write(file: FileIO, piece: Piece) -> None:
    for chunk in chunks(piece):
        while chunk:
            chunk = chunk[file.write(chunk) :]  # noqa: PLW2901 - what is left of it


def _digest(content: Sequence[Piece]) -> str:
    digest = hashlib.sha256()
    for piece in content:
        for chunk in chunks(piece):
            digest.update(chunk)
    return digest.hexdigest()


def _require_same(file: FileIO, content: Sequence[Piece]) -> None:
    """Raise OSError if the file does not read back as written. Compares chunks that fit the processor's cache."""
    # A bytearray compares with any buffer by memcmp. NumPy would need more memory in the supervising processes.
    read, position = bytearray(_CHUNK), 0
    for piece in content:
        for wanted in chunks(piece):
            if wanted.nbytes != len(read):
                read = bytearray(wanted.nbytes)
            count = os.preadv(file.fileno(), [read], position)
            if count != wanted.nbytes or read != wanted:
                raise OSError(errno.EIO, "what was written does not read back", file.name)
            position += count
    if os.fstat(file.fileno()).st_size != position:
        raise OSError(errno.EIO, "what was written does not read back", file.name)


def open_temporary(path: Path) -> tuple[Path, FileIO]:
    """A new file beside ``path``. It is locked while it is open, so that ``sweep`` leaves it alone.

    The lock is the file's, and ends with it: it has no name that ``service.store.locks`` could list.
    """
    while True:
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}{TEMPORARY_SUFFIX}")
        file = FileIO(temporary, "x+")
        fcntl.flock(file, fcntl.LOCK_EX)
        if os.fstat(file.fileno()).st_nlink:
            return temporary, file
        file.close()  # ``sweep`` removed it before it was locked.


def sweep(directory: Path, unchanged_since: float | None = None) -> list[str]:
    """Remove temporary files of dead writers, or only those of them not written to since a time. Returns their names.

    The time is for a folder that several machines share, whose locks one of them may not see.
    """
    removed = []
    for path in directory.glob(f".*{TEMPORARY_SUFFIX}"):
        with suppress(FileNotFoundError, BlockingIOError), path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if unchanged_since is not None and os.fstat(file.fileno()).st_mtime > unchanged_since:
                continue
            path.unlink()
            removed.append(path.name)
    return removed


def _flush_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def stat_of(path: Path) -> FileStat:
    """Size and modification time of a file. Raises FileNotFoundError."""
    found = path.stat()
    return FileStat(found.st_size, found.st_mtime_ns)


def record_of(path: Path) -> FileRecord:
    """The record of a file as it is now."""
    found = stat_of(path)
    return FileRecord(found.bytes, sha256_of(path), found.mtime_ns)


def sha256_of(path: Path) -> str:
    """Hexadecimal SHA-256 of a file's content."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
