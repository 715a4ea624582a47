"""Files in a directory, of this machine or of a filesystem that several machines share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, suppress
from functools import partial
from pathlib import Path
from time import time

from models.formats.durable import FileRecord, FileStat, Piece, sha256_of, stat_of, sweep, write_durably
from service.store.copies import copy_durably
from service.store.disk import Disk
from service.store.locks import Locks
from service.store.pins import pin, pins, sweep_pins
from service.store.places import OLD_SECONDS, FileKind, Recorded, is_id, is_name

__all__ = ["Directory"]


class Directory:
    """The place ``root``; ``disk`` is the one on which it lies, ``locks`` are those of this machine's processes.

    If it is ``shared``, processes of other machines write there too.
    """

    def __init__(self, root: Path, disk: Disk, locks: Locks, *, shared: bool = False) -> None:
        self._root, self._disk, self._locks, self.shared = root, disk, locks, shared
        for kind in FileKind:
            (root / kind).mkdir(parents=True, exist_ok=True)

    def path(self, kind: FileKind, file_id: str) -> Path:
        return self._root / kind / f"{file_id}.h5"

    def local(self, kind: FileKind, file_id: str, recorded: Recorded) -> Path:
        return self.path(kind, file_id)

    def copy(self, kind: FileKind, file_id: str, record: FileRecord) -> Path | None:
        return None

    def put(self, kind: FileKind, file_id: str, image: Sequence[Piece], *, over: FileStat | None = None) -> FileRecord:
        """Raises NoRoomError if the file would take what is kept of the disk. What is there is replaced."""
        self._disk.require_room(sum(piece.nbytes for piece in image))
        return write_durably(self.path(kind, file_id), image)

    def stat(self, kind: FileKind, file_id: str) -> FileStat:
        return stat_of(self.path(kind, file_id))

    def sha256(self, kind: FileKind, file_id: str) -> str:
        return sha256_of(self.path(kind, file_id))

    def ids(self, kind: FileKind) -> set[str]:
        return {path.stem for path in (self._root / kind).glob("*.h5") if is_id(kind, path.stem)}

    def clearable(self, kind: FileKind) -> set[str]:
        if not self.shared:
            return self.ids(kind)
        return {file_id for file_id in self.ids(kind) if self._is_old(self.path(kind, file_id))}

    def _is_old(self, path: Path) -> bool:
        try:
            return path.stat().st_mtime < time() - OLD_SECONDS
        except FileNotFoundError:  # Another machine has deleted it.
            return False

    def delete(self, kind: FileKind, file_ids: Sequence[str]) -> None:
        for file_id in file_ids:
            self.path(kind, file_id).unlink(missing_ok=True)

    def quarantine(self, kind: FileKind, file_id: str) -> Path:
        path, folder = self.path(kind, file_id), self._root / "orphans"
        folder.mkdir(exist_ok=True)
        return path.rename(folder / path.name)

    def strangers(self) -> list[Path]:
        """Names with a leading dot are none."""
        return [
            path
            for kind in FileKind
            for path in sorted((self._root / kind).glob("[!.]*"))
            if not is_name(kind, path.name)
        ]

    def sweep_incomplete(self) -> list[str]:
        """Incomplete files of living processes are locked, and stay."""
        since = time() - OLD_SECONDS if self.shared else None
        return [name for kind in FileKind for name in sweep(self._root / kind, since)]

    def sweep_pins(self) -> None:
        sweep_pins(self._locks, self._pinned_folders)

    def pins(self) -> AbstractContextManager[None]:
        return pins(self._locks, self._pinned_folders)

    def pin(self, kind: FileKind, file_id: str) -> Callable[[Path], str]:
        return partial(copy_durably, pin(self.path(kind, file_id)))

    @property
    def _pinned_folders(self) -> list[Path]:
        return [self._root / kind for kind in (FileKind.CHECKPOINT, FileKind.DATASET)]

    def owner(self) -> str | None:
        with suppress(FileNotFoundError):
            return self._mark.read_text()
        return None

    def claim(self, database_id: str) -> str:
        found = self.owner()
        if found is None:
            self.set_owner(database_id)
        return found or database_id

    def set_owner(self, database_id: str) -> None:
        write_durably(self._mark, [memoryview(database_id.encode())])

    @property
    def _mark(self) -> Path:
        return self._root / "database.id"
