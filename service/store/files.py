"""The files of an installation; only the modules of this folder write, find and delete them."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import IO, NamedTuple
from urllib.parse import unquote, urlsplit

from models.formats.durable import TEMPORARY_SUFFIX, FileRecord, FileStat, Piece, sweep
from service.settings import Settings
from service.store.directory import Directory
from service.store.disk import Disk
from service.store.locks import Lock, Locks
from service.store.places import FileKind, Place, Recorded
from service.store.shadow_log import ShadowLog

__all__ = ["FileKind", "FileStore", "Space", "StoredFile", "shared_folder"]


class Space(NamedTuple):
    """Bytes of the filesystem of the data directory: in all, and free for this process."""

    total: int
    free: int


class StoredFile(NamedTuple):
    """One file, to be examined (``models.registry.integrity``)."""

    size_and_time: Callable[[], FileStat]
    sha256: Callable[[], str]


class FileStore:
    """The files of an installation, each with a kind and an id, and what its data directory has beside them.

    A file is complete or absent. Files of checkpoints and datasets never change; the file of a model is replaced as a
    whole. All methods raise OSError if the filesystem fails, and UnreachableError, which is one, if the files lie
    elsewhere and that place does not answer.

    A process that stores what clients send gives ``kept``: the bytes of the disk that its files leave free. The files
    lie in ``place``, or else in the data directory.
    """

    def __init__(self, data: Path, *, kept: int = 0, place: Place | None = None) -> None:
        self.data, self.disk = data, Disk(data, kept)
        self.locks = Locks(data)
        self.shadows = ShadowLog(data, self.disk, self.locks)
        self.place: Place = place or Directory(data, self.disk, self.locks)
        (data / FileKind.CHECKPOINT).mkdir(parents=True, exist_ok=True)
        self.locks.prepare()

    @classmethod
    def of(cls, settings: Settings, *, kept: int = 0) -> FileStore:
        """The files where the settings say that they are."""
        return cls(settings.data, kept=kept, place=_place(settings, kept))

    def path(self, kind: FileKind, file_id: str) -> Path:
        """The path of a file as messages name it; to read it, take that of ``local``."""
        return self.place.path(kind, file_id)

    def local(self, kind: FileKind, file_id: str, recorded: Recorded = lambda: None) -> Path:
        """The path at which a file can be read or mapped, soon after this call; nothing is there if it is missing.

        ``recorded`` returns what the database says of the file. Raises ChangedError if a copy is made and differs.
        """
        return self.place.local(kind, file_id, recorded)

    def copy(self, kind: FileKind, file_id: str, record: FileRecord) -> Path | None:
        """The path of a verified copy of a file that lies elsewhere, if there is one: that place is not asked."""
        return self.place.copy(kind, file_id, record)

    def file(self, kind: FileKind, file_id: str) -> StoredFile:
        """A file to be examined."""
        return StoredFile(partial(self.place.stat, kind, file_id), partial(self.place.sha256, kind, file_id))

    def put(self, kind: FileKind, file_id: str, image: Sequence[Piece], *, over: FileStat | None = None) -> FileRecord:
        """Write a file durably; ``image`` is its content in pieces. After an OSError nothing names what there may be.

        It replaces ``over``, the ``stat`` of the same file before its content was decided: another machine may have
        replaced it since, which raises FileExistsError. Raises NoRoomError if the file would take what is kept of the
        disk.
        """
        return self.place.put(kind, file_id, image, over=over)

    def stat(self, kind: FileKind, file_id: str) -> FileStat | None:
        """Size and modification time of a file; None if it does not exist."""
        try:
            return self.place.stat(kind, file_id)
        except FileNotFoundError:
            return None

    def ids(self, kind: FileKind) -> set[str]:
        """The ids of all files of a kind."""
        return self.place.ids(kind)

    def clearable(self, kind: FileKind) -> set[str]:
        """The ids of files that nobody is about to name, if no process of this machine is (``no_writers``)."""
        return self.place.clearable(kind)

    def delete(self, kind: FileKind, *file_ids: str) -> None:
        """Delete files; missing ones are ignored."""
        if file_ids:
            self.place.delete(kind, file_ids)

    def quarantine(self, kind: FileKind, file_id: str) -> Path:
        """Move a file to the folder ``orphans``, which only operators use. Returns its new path."""
        return self.place.quarantine(kind, file_id)

    def strangers(self) -> list[Path]:
        """Files in these folders whose names are no ids of their kind, except names with a leading dot."""
        return self.place.strangers()

    def temporary(self) -> IO[bytes]:
        """An empty file without a name, which the kernel deletes with its last descriptor.

        On a filesystem without such files it has a name for an instant, one that ``sweep`` recognizes.
        """
        folder = self.data / FileKind.CHECKPOINT
        return tempfile.TemporaryFile(dir=folder, prefix=".import.", suffix=TEMPORARY_SUFFIX)

    def sweep(self) -> list[str]:
        """Delete what killed processes have left: incomplete files, and pins. Returns the names of the files."""
        self.place.sweep_pins()
        return self.sweep_incomplete()

    def sweep_incomplete(self) -> list[str]:
        """Delete incomplete files of killed processes; those of living ones are locked. Returns their names."""
        # Besides those of the place, what ``temporary`` has made.
        return [*self.place.sweep_incomplete(), *sweep(self.data / FileKind.CHECKPOINT)]

    def writing(self) -> AbstractContextManager[None]:
        """A lock to hold from before a file is written until the database names it."""
        return self.locks.shared(Lock.WRITING)

    def no_writers(self) -> AbstractContextManager[None]:
        """A lock that excludes ``writing``, so that clearable files without rows stay without. Raises LockTakenError.

        It is one of this machine's processes. What those of another one may be about to name is not clearable.
        """
        return self.locks.exclusive(Lock.WRITING)

    def pins(self) -> AbstractContextManager[None]:
        """Permission to pin files, for one process at a time. Raises LockTakenError."""
        return self.place.pins()

    def pin(self, kind: FileKind, file_id: str) -> Callable[[Path], str]:
        """Keep a file until the block of ``pins`` ends; see ``Place.pin``. Raises FileNotFoundError."""
        return self.place.pin(kind, file_id)

    def owner(self) -> str | None:
        """The id of the database that the files belong to; None if they belong to none yet."""
        return self.place.owner()

    def claim(self, database_id: str) -> str:
        """Record that the files belong to a database, unless they belong to one. Returns the id of their owner."""
        return self.place.claim(database_id)

    def set_owner(self, database_id: str) -> None:
        """Record that the files belong to a database."""
        self.place.set_owner(database_id)

    def exists(self) -> bool:
        """Whether the data directory still exists."""
        return self.data.exists()

    def space(self) -> Space:
        """How large the filesystem is, and how much of it is free."""
        found = shutil.disk_usage(self.data)
        return Space(found.total, found.free)


def shared_folder(storage: str) -> Path | None:
    """The folder that a value of the setting ``storage`` names; None if it names a bucket."""
    return Path(unquote(urlsplit(storage).path)) if storage.startswith("file:") else None


def _place(settings: Settings, kept: int) -> Place | None:
    """Where the setting ``storage`` has the files; None for the data directory."""
    if not settings.storage:
        return None
    root = shared_folder(settings.storage)
    if root is not None:
        return Directory(root, Disk(root, kept), Locks(settings.data), shared=True)
    from service.store.bucket import Bucket

    return Bucket(settings.storage, settings.data, settings.cache_bytes)
