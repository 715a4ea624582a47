"""The files in the data directory; only this module writes, finds and deletes them."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Sequence
from contextlib import AbstractContextManager
from enum import StrEnum
from pathlib import Path
from typing import IO, NamedTuple

from models.formats.durable import TEMPORARY_SUFFIX, FileRecord, FileStat, Piece, stat_of, sweep, write_durably
from models.identifiers import QUALIFIED_PATTERN, id_pattern
from service.store.disk import Disk
from service.store.locks import Lock, Locks
from service.store.pins import pins, sweep_pins
from service.store.shadow_log import ShadowLog

__all__ = ["FileKind", "FileStore", "Space"]


class FileKind(StrEnum):
    """The content of a file; the value is the name of its folder."""

    CHECKPOINT = "checkpoints"
    DATASET = "datasets"
    #: A copy of a model's rows in the database (``models.formats.model_file``); its id is the model's qualified name.
    MODEL = "models"


#: Regular expressions for the ids of each kind.
_PATTERNS = {
    FileKind.CHECKPOINT: id_pattern("ckpt"),
    FileKind.DATASET: id_pattern("ds"),
    FileKind.MODEL: QUALIFIED_PATTERN,
}


class Space(NamedTuple):
    """Bytes of the filesystem of the data directory: in all, and free for this process."""

    total: int
    free: int


class FileStore:
    """The files of one data directory, each with a kind and an id.

    A file is complete or absent. Files of checkpoints and datasets never change; the file of a model is replaced as a
    whole. All methods raise OSError if the filesystem fails.

    A process that stores what clients send gives ``kept``: the bytes of the disk that its files leave free.
    """

    def __init__(self, data: Path, *, kept: int = 0) -> None:
        self.data, self.disk = data, Disk(data, kept)
        self.locks = Locks(data)
        self.shadows = ShadowLog(data, self.disk, self.locks)
        for kind in FileKind:
            (data / kind).mkdir(parents=True, exist_ok=True)
        self.locks.prepare()

    def path(self, kind: FileKind, file_id: str) -> Path:
        """The path of a file, to read or map it."""
        return self.data / kind / f"{file_id}.h5"

    def put(self, kind: FileKind, file_id: str, image: Sequence[Piece]) -> FileRecord:
        """Write a file durably; ``image`` is its content in pieces. After an OSError there is no file.

        Raises NoRoomError if the file would take what is kept of the disk.
        """
        self.disk.require_room(sum(piece.nbytes for piece in image))
        return write_durably(self.path(kind, file_id), image)

    def stat(self, kind: FileKind, file_id: str) -> FileStat | None:
        """Size and modification time of a file; None if it does not exist."""
        try:
            return stat_of(self.path(kind, file_id))
        except FileNotFoundError:
            return None

    def ids(self, kind: FileKind) -> set[str]:
        """The ids of all files of a kind."""
        found = (self.data / kind).glob("*.h5")
        return {path.stem for path in found if re.fullmatch(_PATTERNS[kind], path.stem)}

    def delete(self, kind: FileKind, *file_ids: str) -> None:
        """Delete files; missing ones are ignored."""
        for file_id in file_ids:
            self.path(kind, file_id).unlink(missing_ok=True)

    def quarantine(self, kind: FileKind, file_id: str) -> Path:
        """Move a file to the folder ``orphans``, which only operators use. Returns its new path."""
        path, folder = self.path(kind, file_id), self.data / "orphans"
        folder.mkdir(exist_ok=True)
        return path.rename(folder / path.name)

    def strangers(self) -> list[Path]:
        """Files in these folders whose names are no ids of their kind, except names with a leading dot."""
        return [
            path
            for kind, pattern in _PATTERNS.items()
            for path in sorted((self.data / kind).glob("[!.]*"))
            if not re.fullmatch(rf"{pattern}\.h5", path.name)
        ]

    def temporary(self) -> IO[bytes]:
        """An empty file without a name, which the kernel deletes with its last descriptor.

        On a filesystem without such files it has a name for an instant, one that ``sweep`` recognizes.
        """
        folder = self.data / FileKind.CHECKPOINT
        return tempfile.TemporaryFile(dir=folder, prefix=".import.", suffix=TEMPORARY_SUFFIX)

    def sweep(self) -> list[str]:
        """Delete what killed processes have left: incomplete files, and pins. Returns the names of the files."""
        sweep_pins(self.locks, self._pinned_folders)
        return self.sweep_incomplete()

    def sweep_incomplete(self) -> list[str]:
        """Delete incomplete files of killed processes; those of living ones are locked. Returns their names."""
        return [name for kind in FileKind for name in sweep(self.data / kind)]

    def writing(self) -> AbstractContextManager[None]:
        """A lock to hold from before a file is written until the database names it."""
        return self.locks.shared(Lock.WRITING)

    def no_writers(self) -> AbstractContextManager[None]:
        """A lock that excludes ``writing``, so that files without rows stay without. Raises LockTakenError."""
        return self.locks.exclusive(Lock.WRITING)

    def pins(self) -> AbstractContextManager[None]:
        """Permission to pin files (``service.store.pins``), for one process at a time. Raises LockTakenError."""
        return pins(self.locks, self._pinned_folders)

    @property
    def _pinned_folders(self) -> list[Path]:
        return [self.data / kind for kind in (FileKind.CHECKPOINT, FileKind.DATASET)]

    def owner(self) -> str | None:
        """The id of the database that the files belong to; None if they belong to none yet."""
        try:
            return self._mark.read_text()
        except FileNotFoundError:
            return None

    def set_owner(self, database_id: str) -> None:
        """Record that the files belong to a database."""
        write_durably(self._mark, [memoryview(database_id.encode())])

    @property
    def _mark(self) -> Path:
        return self.data / "database.id"

    def exists(self) -> bool:
        """Whether the data directory still exists."""
        return self.data.exists()

    def space(self) -> Space:
        """How large the filesystem is, and how much of it is free."""
        found = shutil.disk_usage(self.data)
        return Space(found.total, found.free)
