"""Locks on the Idempotency-Keys that are in use."""

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
    """Locks keys across all processes of a data directory; each key is one locked byte of a file.

    A POSIX record lock belongs to a process, and the kernel releases it when the process ends. ``_mine`` separates
    the threads of this process. The descriptor stays open, because closing it would release every lock.
    """

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        self._mine: set[int] = set()
        self._lock = threading.Lock()

    @contextmanager
    def hold(self, scope: str, key: str) -> Iterator[None]:
        """Hold a key during a with-block. Raises ConflictError if another request holds it."""
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
        except (BlockingIOError, PermissionError):  # EAGAIN or EACCES, depending on the system
            return False
        return True
