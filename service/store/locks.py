"""Locks between the processes of a data directory: files in it that the kernel locks.

The kernel releases a lock when its process ends, for whatever reason, so no lock outlives its holder.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import IO

__all__ = ["Lock", "LockTakenError", "Locks"]


class Lock(StrEnum):
    """The lock files. Their names are the same in every release: an older process may still hold one."""

    #: Exclusive: the trainer, so that a data directory has only one.
    TRAINER = "trainer.lock"
    #: Shared: every web process that relies on a trainer, so that the trainer ends after the last of them.
    WEB = "web.lock"
    #: Exclusive: a process that upgrades the database to the newest schema.
    MIGRATION = "migrate.lock"
    #: Shared: a process that has written a file and has not named it in the database yet. Exclusive: a process that
    #: looks for files without a row.
    WRITING = "writing.lock"
    #: Exclusive: a backup, which gives files second names.
    BACKUP = "backup.lock"
    #: Exclusive: the process that writes the files of models, so that no older state replaces a newer one.
    MODEL_FILES = "keeper.lock"
    #: Exclusive: a process that writes a log of a shadow, or deletes files of such logs.
    SHADOWS = "shadows.lock"


#: One byte for each key of ``Locks.keyed``. No ``Lock``: opening and closing the file would drop this process's locks.
_KEYS = "idempotency.lock"


class LockTakenError(Exception):
    """Another process or thread holds the lock."""


class Locks:
    """The locks of one data directory."""

    def __init__(self, data: Path) -> None:
        self._data = data
        #: Bytes that this process holds. The set excludes its threads from each other, so they must share one object.
        self._bytes: set[int] = set()
        self._guard = threading.Lock()
        #: Never closed: closing any descriptor of a file drops the record locks (POSIX) that this process has on it.
        self._keys: int | None = None

    def prepare(self) -> None:
        """Create the files of all locks, so that taking one needs no space on the disk later."""
        for name in (*Lock, _KEYS):
            (self._data / name).touch()  # This opens, and closes, no file that exists.

    @contextmanager
    def shared(self, name: Lock) -> Iterator[None]:
        """Hold a lock together with others that share it, after a holder of the exclusive lock has released it."""
        with self._open(name) as file:
            fcntl.flock(file, fcntl.LOCK_SH)
            yield

    @contextmanager
    def exclusive(self, name: Lock, *, wait: bool = False) -> Iterator[None]:
        """Hold a lock alone. If it is taken, waits for it or raises LockTakenError."""
        with self._open(name) as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise LockTakenError(f"another process holds {self._data / name}") from None
            yield

    def share_until_exit(self, name: Lock) -> None:
        """Take a shared lock for the rest of this process's life: its descriptor is never closed."""
        descriptor = os.open(self._data / name, os.O_RDWR | os.O_CREAT, 0o644)
        fcntl.flock(descriptor, fcntl.LOCK_SH)

    def is_free(self, name: Lock) -> bool:
        """Whether no process holds a lock, shared or exclusive; takes the exclusive lock for an instant."""
        try:
            with self.exclusive(name):
                return True
        except LockTakenError:
            return False

    @contextmanager
    def keyed(self, scope: str, key: str) -> Iterator[None]:
        """Hold a key of a scope alone; a key is any text. Raises LockTakenError if it is taken.

        A key is one byte of a file, at an offset that its hash determines. The lock on it is a record lock (POSIX),
        which belongs to the process and not to the descriptor.
        """
        place = int.from_bytes(hashlib.sha256(f"{scope} {key}".encode()).digest()[:7], "big")
        with self._guard:
            if place in self._bytes or not self._lock_byte(place):
                raise LockTakenError(f"another request holds the key {key!r}")
            self._bytes.add(place)
        try:
            yield
        finally:
            with self._guard:
                self._bytes.remove(place)
                fcntl.lockf(self._key_file(), fcntl.LOCK_UN, 1, place)

    def _open(self, name: Lock) -> IO[str]:
        return (self._data / name).open("a")

    def _lock_byte(self, place: int) -> bool:
        try:
            fcntl.lockf(self._key_file(), fcntl.LOCK_EX | fcntl.LOCK_NB, 1, place)
        except (BlockingIOError, PermissionError):  # EAGAIN or EACCES, depending on the system
            return False
        return True

    def _key_file(self) -> int:
        if self._keys is None:
            self._keys = os.open(self._data / _KEYS, os.O_RDWR | os.O_CREAT, 0o644)
        return self._keys
