"""Pins: second names for files, so that a backup can copy files that are deleted meanwhile."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from service.store.locks import Lock, Locks, LockTakenError

__all__ = ["pin", "pins", "sweep_pins"]

_FOLDER = ".backup"


@contextmanager
def pins(locks: Locks, folders: Sequence[Path]) -> Iterator[None]:
    """Permission to pin files of ``folders`` in the block. Raises LockTakenError if another process pins files."""
    with locks.exclusive(Lock.BACKUP):
        _remove(folders)
        try:
            yield
        finally:
            _remove(folders)


def pin(path: Path) -> Path:
    """Create a hard link to a file in a folder for pins beside it, and return its path. Raises OSError."""
    folder = path.parent / _FOLDER
    folder.mkdir(exist_ok=True)
    pinned = folder / path.name
    os.link(path, pinned)
    return pinned


def sweep_pins(locks: Locks, folders: Sequence[Path]) -> None:
    """Remove the pins of a backup that was killed."""
    with suppress(LockTakenError), pins(locks, folders):
        pass


def _remove(folders: Sequence[Path]) -> None:
    for folder in folders:
        if (folder / _FOLDER).exists():
            shutil.rmtree(folder / _FOLDER)
