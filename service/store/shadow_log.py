"""The logs of shadows: lines of JSON, in files that each process appends to for itself.

shadows/MODEL/ALIAS/TIME-PROCESS.ndjson, with the number of the model in the database, which is never used again. Each
line begins with its time. A process that is killed while it writes may leave a part of a line at the end of its file.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from heapq import merge
from pathlib import Path
from time import time_ns
from typing import IO, NamedTuple

from service.store.disk import Disk
from service.store.locks import Lock, Locks

__all__ = ["ShadowLog"]

#: A file of a log ends with this many bytes, or with this part of what all logs may take, whichever is less.
SEGMENT_BYTES, SEGMENTS = 4 * 2**20, 16
#: Bytes of a line by which lines of several files are put in order: ``{"at":"2026-11-27T15:00:00.000Z"``.
_AT = 32
_NAME = re.compile(r"[0-9]{19,20}-[0-9]+\.ndjson")


class _Segment(NamedTuple):
    """A file of a log, and its size."""

    log: Path
    path: Path
    size: int


class ShadowLog:
    """The logs of one data directory. All methods raise OSError if the filesystem fails."""

    def __init__(self, data: Path, disk: Disk, locks: Locks) -> None:
        self._folder, self._disk, self._locks = data / "shadows", disk, locks
        #: The files that this process appends to.
        self._open: dict[Path, Path] = {}

    def append(self, model: int, alias: str, lines: bytes, most: int) -> bool:
        """Append whole lines. Returns False, without writing, if they are more than ``most`` bytes.

        If all logs would take more than ``most``, the oldest file of the largest one is deleted. Raises NoRoomError if
        the lines would take what is kept of the disk. After an OSError, a part of them may be written.
        """
        if len(lines) > most:
            return False
        self._disk.require_room(len(lines))
        folder = self._log(model, alias)
        with self._locks.exclusive(Lock.SHADOWS, wait=True):
            self._make_room(most - len(lines))
            path = self._open.pop(folder, None)
            if path is None or not _has_room(path, len(lines), min(SEGMENT_BYTES, most // SEGMENTS)):
                folder.mkdir(parents=True, exist_ok=True)
                path = folder / f"{time_ns()}-{os.getpid()}.ndjson"
            with path.open("ab") as file:
                file.write(lines)
            # Only now, since another file follows a part of a line.
            self._open[folder] = path
        return True

    def size(self, model: int, alias: str) -> int:
        """Bytes that a log takes."""
        return sum(segment.size for segment in _segments(self._log(model, alias)))

    def lines(self, model: int, alias: str) -> Iterator[bytes]:
        """The lines of a log, the oldest first: those that are there now, also if they are deleted meanwhile."""
        with ExitStack() as opened:
            files = []
            for segment in _segments(self._log(model, alias)):
                with suppress(FileNotFoundError):
                    files.append(opened.enter_context(segment.path.open("rb")))
            yield from merge(*map(_whole_lines, files), key=_time)

    def clear(self, model: int, alias: str | None = None) -> None:
        """Delete the log of an alias, or those of all aliases of a model."""
        with self._locks.exclusive(Lock.SHADOWS, wait=True), suppress(FileNotFoundError):
            shutil.rmtree(self._log(model, alias) if alias else self._folder / str(model))

    def sweep(self, is_named: Callable[[int, str], bool]) -> None:
        """Delete the logs of aliases that do not exist."""
        for folder in self._folder.glob("*/*"):
            if folder.parent.name.isdecimal() and not is_named(int(folder.parent.name), folder.name):
                self.clear(int(folder.parent.name), folder.name)

    def _log(self, model: int, alias: str) -> Path:
        return self._folder / str(model) / alias

    def _make_room(self, most: int) -> None:
        """Delete files until all take ``most`` bytes or less."""
        segments = [segment for log in self._folder.glob("*/*") for segment in _segments(log)]
        logs: dict[Path, list[_Segment]] = {}
        for segment in segments:
            logs.setdefault(segment.log, []).append(segment)
        sizes = {log: sum(segment.size for segment in found) for log, found in logs.items()}
        total = sum(sizes.values())
        while total > most:
            log = max(sizes, key=sizes.__getitem__)
            oldest = logs[log].pop(0)
            oldest.path.unlink(missing_ok=True)
            total -= oldest.size
            sizes[log] -= oldest.size
            if not logs[log]:
                del sizes[log]


def _segments(log: Path) -> list[_Segment]:
    """The files of a log, the oldest first."""
    found = []
    for path in sorted(log.glob("*.ndjson")):
        with suppress(FileNotFoundError):
            if _NAME.fullmatch(path.name):
                found.append(_Segment(log, path, path.stat().st_size))
    return found


def _has_room(path: Path, size: int, most: int) -> bool:
    """Whether a file is still there, and may take so many bytes more."""
    try:
        return path.stat().st_size + size <= most
    except FileNotFoundError:
        return False


def _whole_lines(file: IO[bytes]) -> Iterator[bytes]:
    """The lines up to the end that a file has now."""
    size = os.fstat(file.fileno()).st_size
    for line in file:
        size -= len(line)
        if size < 0 or not line.endswith(b"\n"):
            return
        yield line


def _time(line: bytes) -> bytes:
    return line[:_AT]
