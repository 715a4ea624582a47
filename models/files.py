"""Files that are either whole or not there: written beside their place, made durable, verified, then renamed."""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import h5py

__all__ = ["TEMPORARY_SUFFIX", "FileRecord", "hdf5_image", "sha256_of", "write_durably"]

TEMPORARY_SUFFIX = ".partial"
_CHUNK = 1 << 20


class FileRecord(NamedTuple):
    """Size and digest by which the database knows a file."""

    bytes: int
    sha256: str


def hdf5_image(build: Callable[[h5py.File], None]) -> bytes:
    """The bytes of an HDF5 file that ``build`` fills, made in memory so that it is hashed and written in one go.

    Data sets begin at multiples of 64 bytes, so that they can be mapped and handed to vector instructions. The format
    is the one of HDF5 1.8, which every tool reads.
    """
    name = f"image-{secrets.token_hex(8)}"
    with h5py.File(
        name,
        "w",
        driver="core",
        backing_store=False,
        libver=("v108", "v108"),
        alignment_threshold=64,
        alignment_interval=64,
    ) as file:
        build(file)
        file.flush()
        image: bytes = file.id.get_file_image()
    return image


def write_durably(path: Path, content: bytes) -> FileRecord:
    """Put ``content`` at ``path`` so that it survives a power cut, or raise OSError and leave nothing behind.

    The order matters: the content is flushed to the disk and read back before the name points to it, and the
    directory is flushed before anybody is told.
    """
    record = FileRecord(len(content), hashlib.sha256(content).hexdigest())
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}{TEMPORARY_SUFFIX}")
    try:
        with temporary.open("xb") as file:
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
