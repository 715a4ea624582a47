"""The disk of a data directory: how much of it is free, what of that is kept, and a reserve for when none is left."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO

from models.errors import LowStorageError, NoRoomError
from service.store.storage_errors import storage_error_code

__all__ = ["FULL_BYTES", "RESERVE_BYTES", "Disk"]

#: Size of the reserve: what deletions take while they run, such as the journal of a transaction of 1,000 events.
RESERVE_BYTES = 4 * 2**20
#: Free bytes below which the disk counts as full: a transaction may need as many.
FULL_BYTES = 2**20
_KEPT = "are kept for what running jobs save (TRAINYARD_MIN_FREE_BYTES)"
_REMEDY = "delete models, datasets or jobs, or try again later"


class Disk:
    """The disk on which ``data`` lies. ``kept`` bytes of it are for the saves of running jobs.

    The reserve is a file that takes space, so that it can be given up if nothing else is left. All methods raise
    OSError if the filesystem fails.
    """

    def __init__(self, data: Path, kept: int = 0) -> None:
        self._data, self.kept = data, kept
        self._reserve = data / ".reserve"

    @property
    def free(self) -> int:
        """Bytes that are free for this process."""
        found = os.statvfs(self._data)
        return found.f_bavail * found.f_frsize

    @property
    def spare(self) -> int | None:
        """Bytes that are free beyond what is kept; None if nothing is kept."""
        return max(self.free - self.kept, 0) if self.kept else None

    def require_room(self, size: int) -> None:
        """Raise NoRoomError if ``size`` bytes, of an upload or another body, would take what is kept."""
        free = self.free
        if self.kept and free - size < self.kept:
            raise self.refusal(f"this takes {size:,} bytes", free)

    def refusal(self, taken: str, free: int | None = None) -> NoRoomError:
        """The error for what would take what is kept; ``taken`` is the clause that says how many bytes it takes."""
        state = self._state(self.free if free is None else free)
        return NoRoomError("storage_reserve", f"{taken}, and {state}; {_REMEDY}")

    def require_room_for_job(self, size: int, others: int = 0) -> None:
        """Raise LowStorageError if what a new job stores, ``size`` bytes, would take what is kept.

        ``others`` are bytes that jobs which have not ended may take before it.
        """
        free = self.free
        if self.kept and free - size - others < self.kept:
            before = f", other jobs {others:,}" if others else ""
            raise LowStorageError(f"the job may take {size:,} bytes{before}, and {self._state(free)}; {_REMEDY}")

    def _state(self, free: int) -> str:
        return f"{free:,} bytes are free, of which {self.kept:,} {_KEPT}"

    def condition(self, temporary: Callable[[], IO[bytes]]) -> str:
        """``ok``, or what is wrong, in a word and a sentence: ``low``, ``full`` or ``not writable``.

        ``temporary`` makes an empty file.
        """
        try:
            with temporary() as file:
                file.write(bytes(4096))
                file.flush()
            free = self.free
        except OSError as error:
            if storage_error_code(error) == "storage_full":
                return "full: no file can be written; free some space"
            return "not writable"
        if free < FULL_BYTES:
            return f"full: {free:,} bytes are free; free some space"
        if free < self.kept:
            return f"low: {self._state(free)}; uploads, large bodies and new jobs are refused"
        return "ok"

    def hold_reserve(self) -> None:
        """Make the reserve if there is none and the disk has room for twice as much."""
        if self._reserve.exists() or self.free < 2 * RESERVE_BYTES:
            return
        try:
            descriptor = os.open(self._reserve, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        except FileExistsError:
            return
        try:
            os.posix_fallocate(descriptor, 0, RESERVE_BYTES)
        except OSError:
            self.give_up_reserve()
            raise
        finally:
            os.close(descriptor)

    def give_up_reserve(self) -> None:
        """Free the space of the reserve, also while the process that makes it still has it open."""
        with suppress(FileNotFoundError):
            os.truncate(self._reserve, 0)
            self._reserve.unlink()
