"""Which Idempotency-Keys are in use now."""

from __future__ import annotations

import fcntl
import hashlib
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from models.errors import ConflictError

__all__ = ["KeyLocks"]


class KeyLocks:
    """Keys that requests hold, across the processes of a data directory: one locked byte of a file each.

    A record lock (POSIX) belongs to a process, and the kernel lets go of it however the process ends; ``_mine`` tells
    the threads of this process apart. The descriptor is never closed: that would let go of all of them.
    """

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        self._mine: set[int] = set()
        self._lock = threading.Lock()

    @contextmanager
    def hold(self, scope: str, key: str) -> Iterator[None]:
        """Have a key for the time of a with-block; raises ConflictError where another request has it."""
        place = int.from_bytes(hashlib.sha256(f"{scope} {key}".encode()).digest()[:7], "big")
        with self._lock:
            if place in self._mine or not self._take(place):
                detail = f"a request with the Idempotency-Key {key!r} is under way; send this one again later"
                raise ConflictError("idempotency_key_in_use", detail)
            self._mine.add(place)
        try:
            yield
        finally:
            with self._lock:
                self._mine.remove(place)
                fcntl.lockf(self._descriptor, fcntl.LOCK_UN, 1, place)

    def _take(self, place: int) -> bool:
        try:
            fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, place)
        except (BlockingIOError, PermissionError):  # EAGAIN or EACCES, as systems choose
            return False
        return True
