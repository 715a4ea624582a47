"""Second names for files of the data directory, under which a backup copies what may be deleted meanwhile."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

__all__ = ["pin", "pins", "sweep_pins"]

_LOCK, _FOLDER = "backup.lock", ".backup"


@contextmanager
def pins(data: Path, folders: Sequence[Path]) -> Iterator[None]:
    """The right to pin files of ``folders`` within the block; raises BlockingIOError where another process has it."""
    with (data / _LOCK).open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _remove(folders)
        try:
            yield
        finally:
            _remove(folders)


def pin(path: Path) -> Path:
    """A hard link to a file in its own folder's corner for pins; raises OSError."""
    corner = path.parent / _FOLDER
    corner.mkdir(exist_ok=True)
    pinned = corner / path.name
    os.link(path, pinned)
    return pinned


def sweep_pins(data: Path, folders: Sequence[Path]) -> None:
    """Remove what a backup that was killed has left."""
    with suppress(BlockingIOError), pins(data, folders):
        pass


def _remove(folders: Sequence[Path]) -> None:
    for folder in folders:
        if (folder / _FOLDER).exists():
            shutil.rmtree(folder / _FOLDER)
