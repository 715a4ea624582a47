"""Copies of objects on the local disk, from which processes read and map them."""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from time import time

from models.formats.durable import FileRecord, open_temporary, sweep
from service.store.places import FileKind

__all__ = ["RECENT_SECONDS", "LocalCopies"]

#: Seconds within which a process opens a path that it was given. Copies that were used since then stay.
RECENT_SECONDS = 60.0


class LocalCopies:
    """Copies in a folder, up to ``most`` bytes and what was used in the last minute; the least recently used ones go.

    A copy stands under its kind, its digest and its id, so that one name never means two contents. It gets its name
    when it is complete. Processes that make the same one do not disturb each other. What a process has mapped stays
    readable for it if the copy goes.
    """

    def __init__(self, folder: Path, most: int) -> None:
        self._folder, self._most = folder, most

    def path(self, kind: FileKind, file_id: str) -> Path:
        """A path for messages, at which never is a file."""
        return self._folder / kind / f"{file_id}.h5"

    def find(self, kind: FileKind, file_id: str, record: FileRecord) -> Path | None:
        """The copy of a file with a row's size and digest, if there is one, which counts as used now."""
        path = self._place(kind, file_id, record.sha256)
        with suppress(FileNotFoundError):
            if path.stat().st_size == record.bytes:
                os.utime(path)
                return path
        return None

    def add(self, kind: FileKind, file_id: str, size: int, content: Iterable[memoryview]) -> tuple[Path, str]:
        """Make a copy of ``size`` bytes, about; its path and digest. Raises OSError, and leaves nothing behind then."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self._make_room(size)
        digest = hashlib.sha256()
        temporary, file = open_temporary(self._folder / f"{file_id}.h5")
        try:
            with file:
                for piece in content:
                    digest.update(piece)
                    left = piece
                    while left:
                        left = left[file.write(left) :]
                # After a power cut, a file whose content was not flushed can have its name and its size.
                os.fsync(file.fileno())
            path = self._place(kind, file_id, digest.hexdigest())
            _rename(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        return path, digest.hexdigest()

    def sweep(self) -> list[str]:
        """Delete what killed processes have left. Returns its names."""
        return sweep(self._folder)

    def _place(self, kind: FileKind, file_id: str, sha256: str) -> Path:
        return self._folder / kind / sha256 / f"{file_id}.h5"

    def _make_room(self, size: int) -> None:
        """Delete the least recently used copies until there is room; one process at a time."""
        with (self._folder / "lock").open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            copies = []
            for path in self._folder.glob("*/*/*.h5"):
                with suppress(FileNotFoundError):
                    found = path.stat()
                    copies.append((found.st_mtime, found.st_size, path))
            excess, recent = sum(each[1] for each in copies) + size - self._most, time() - RECENT_SECONDS
            for used, nbytes, path in sorted(copies):
                if excess <= 0 or used > recent:
                    break
                path.unlink(missing_ok=True)
                with suppress(OSError):  # Another copy of the same content is made there.
                    path.parent.rmdir()
                excess -= nbytes


def _rename(temporary: Path, path: Path) -> None:
    """Give a file its name, in a folder that another process may remove while it is empty."""
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):
            temporary.rename(path)
            return
