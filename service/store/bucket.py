"""Files in a bucket of object storage, with copies on the local disk."""

from __future__ import annotations

import errno
import hashlib
import logging
import secrets
import socket
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from time import time

from models.formats.durable import ChangedError, FileRecord, FileStat, Piece, UnreachableError, chunks
from service.store.copies import write_copy
from service.store.local_copies import LocalCopies
from service.store.locks import Lock, Locks, LockTakenError
from service.store.objects import Object, Objects
from service.store.places import OLD_SECONDS, FileKind, Recorded, is_id, is_name

__all__ = ["SINGLE_BYTES", "Bucket"]

_log = logging.getLogger("trainyard.storage")

#: Bytes up to which an object is sent in one request, from memory.
SINGLE_BYTES = 32 * 2**20
#: The objects beside the files: whose they are, that a backup is under way, unfinished uploads, what was moved aside.
_OWNER, _BACKUP, _UPLOADS, _ORPHANS = "database.id", "backup.mark", "uploads", "orphans"


class Bucket:
    """The place at a URL. Copies of its files are in a data directory, at most ``cache_bytes`` of them.

    A file is one object, which is made under the condition that there is none of its name, and read back before this
    returns. The server's tag for the content is part of the time of the last change, which counts seconds only.
    """

    shared = True

    def __init__(self, url: str, data: Path, cache_bytes: int) -> None:
        self._objects, self._locks = Objects(url), Locks(data)
        self._copies = LocalCopies(data / "cache", cache_bytes)

    def path(self, kind: FileKind, file_id: str) -> Path:
        return self._copies.path(kind, file_id)

    def copy(self, kind: FileKind, file_id: str, record: FileRecord) -> Path | None:
        return self._copies.find(kind, file_id, record)

    def local(self, kind: FileKind, file_id: str, recorded: Recorded) -> Path:
        record = recorded()
        found = None if record is None else self.copy(kind, file_id, record)
        if found is not None:
            return found
        try:
            found, _ = self._fetch(kind, file_id)
        except FileNotFoundError:
            return self.path(kind, file_id)
        # What was read must have that name. If not, another content has.
        if record is not None and found != self.copy(kind, file_id, record):
            raise ChangedError(errno.EIO, "this is not what was written", str(self.path(kind, file_id)))
        return found

    def _fetch(self, kind: FileKind, file_id: str) -> tuple[Path, str]:
        """Copy an object anew. Raises FileNotFoundError."""
        found = self._objects.head(_key(kind, file_id))
        return self._copies.add(kind, file_id, found.bytes, self._objects.pieces(found))

    def put(self, kind: FileKind, file_id: str, image: Sequence[Piece], *, over: FileStat | None = None) -> FileRecord:
        """A large file has no conditions but that there is none of its id."""
        key, size, digest = _key(kind, file_id), sum(piece.nbytes for piece in image), hashlib.sha256()

        def content() -> Iterator[memoryview]:
            for piece in image:
                for chunk in chunks(piece):
                    digest.update(chunk)
                    yield chunk

        made, stream = True, content()
        try:
            if over is not None:
                self._replace(key, over, b"".join(stream))
            elif size <= SINGLE_BYTES:
                self._objects.create(key, stream)
            else:
                self._upload(key, stream)
        except FileExistsError:
            # Perhaps by this very request, if its first answer was lost and it was sent again.
            made = False
            deque(stream, 0)  # The digest is that of all pieces.
        found = self._same(key, size, digest.hexdigest())
        if found is not None:
            return FileRecord(size, digest.hexdigest(), _mtime_ns(found))
        if not made:
            raise _taken(key)
        # Nothing names it, so that it is cleared away later.
        raise OSError(errno.EIO, "what was uploaded does not read back", key)

    def _same(self, key: str, size: int, sha256: str) -> Object | None:
        """The object if it has this content, which is read for that."""
        try:
            found = self._objects.head(key)
            if found.bytes != size:
                return None
            digest = hashlib.sha256()
            for piece in self._objects.pieces(found):
                digest.update(piece)
        except FileNotFoundError:  # Another writer of it has only begun.
            return None
        return found if digest.hexdigest() == sha256 else None

    def _replace(self, key: str, over: FileStat, content: bytes) -> None:
        """Give an object other content. Raises FileExistsError if it is not the one that was seen any more."""
        try:
            found = self._objects.head(key)
        except FileNotFoundError:
            self._objects.create(key, [content])
            return
        if (found.bytes, _mtime_ns(found)) != over:
            raise _taken(key)
        self._objects.update(found, content)

    def _upload(self, key: str, content: Iterator[memoryview]) -> None:
        """Make a large object, in parts: those have no condition, so that the right to its name is taken before.

        Raises FileExistsError. Servers check the condition of a single request for all writers at once, but that of the
        end of an upload in parts, SeaweedFS for one, not always.
        """
        claim, mark = f"{_UPLOADS}/{key.replace('/', '.')}.claim", secrets.token_hex(8).encode()
        with suppress(FileExistsError):  # It may be this one, if an answer was lost and the request sent again.
            self._objects.create(claim, [mark])
        try:
            if self._objects.read(claim) != mark:
                raise _taken(key)
        except FileNotFoundError:  # Another writer has just finished.
            raise _taken(key) from None
        try:
            with suppress(FileNotFoundError):
                self._objects.head(key)
                raise _taken(key)
            self._objects.upload(key, content)
        finally:
            with suppress(UnreachableError):  # It is swept later.
                self._objects.delete([claim])

    def stat(self, kind: FileKind, file_id: str) -> FileStat:
        found = self._objects.head(_key(kind, file_id))
        return FileStat(found.bytes, _mtime_ns(found))

    def sha256(self, kind: FileKind, file_id: str) -> str:
        """What was read is the local copy from then on."""
        return self._fetch(kind, file_id)[1]

    def ids(self, kind: FileKind) -> set[str]:
        return {file_id for file_id, _ in self._files(kind)}

    def clearable(self, kind: FileKind) -> set[str]:
        return {file_id for file_id, found in self._files(kind) if _is_old(found)}

    def _files(self, kind: FileKind) -> Iterator[tuple[str, Object]]:
        for found in self._objects.below(kind):
            file_id = found.key.removeprefix(f"{kind}/").removesuffix(".h5")
            if is_id(kind, file_id) and found.key == _key(kind, file_id):
                yield file_id, found

    def delete(self, kind: FileKind, file_ids: Sequence[str]) -> None:
        """Files without a row that cannot be deleted now, or that a backup may copy, are cleared away later."""
        keys = [_key(kind, file_id) for file_id in file_ids]
        if kind is FileKind.MODEL:
            self._objects.delete(keys)  # It would be another state of the model.
            return
        try:
            if not self._is_backed_up():
                self._objects.delete(keys)
        except UnreachableError as error:
            _log.warning("%d files are not deleted yet, and will be cleared away: %s", len(keys), error)

    def quarantine(self, kind: FileKind, file_id: str) -> Path:
        key, new = _key(kind, file_id), f"{_ORPHANS}/{file_id}.h5"
        self._objects.copy(key, new)
        self._objects.delete([key])
        return Path(new)

    def strangers(self) -> list[Path]:
        return [
            Path(found.key)
            for kind in FileKind
            for found in sorted(self._objects.below(kind))
            if not is_name(kind, found.key.removeprefix(f"{kind}/"))
        ]

    def sweep_incomplete(self) -> list[str]:
        """Parts of uploads that were cut off cannot be listed by obstore; they are for a rule of the bucket."""
        swept = self._copies.sweep()
        old = [found.key for found in self._objects.below(_UPLOADS) if _is_old(found)]
        self._objects.delete(old)
        return [*swept, *old]

    def sweep_pins(self) -> None:
        with suppress(LockTakenError), self.pins():
            pass

    @contextmanager
    def pins(self) -> Iterator[None]:
        """While a mark is in the bucket, no machine deletes files: it deletes rows, then looks for the mark.

        What lacks a row when the mark is made may be deleted still, but what is in the database then is not.
        """
        host = socket.gethostname()
        with self._locks.exclusive(Lock.BACKUP):
            try:
                self._objects.create(_BACKUP, [host.encode()])
            except FileExistsError:
                if self._is_backed_up(by_others_than=host):
                    raise LockTakenError("another machine makes a backup") from None
                # It is of a backup that was killed.
                self._objects.replace(_BACKUP, host.encode())
            try:
                yield
            finally:
                self._objects.delete([_BACKUP])

    def _is_backed_up(self, by_others_than: str = "") -> bool:
        """Whether a backup is under way, as far as is known: one that was killed on another machine is, for a day."""
        try:
            return not _is_old(self._objects.head(_BACKUP)) and self._objects.read(_BACKUP).decode() != by_others_than
        except FileNotFoundError:
            return False

    def pin(self, kind: FileKind, file_id: str) -> Callable[[Path], str]:
        return partial(self._copy_to, _key(kind, file_id))

    def _copy_to(self, key: str, target: Path) -> str:
        return write_copy(self._objects.pieces(self._objects.head(key)), target)

    def owner(self) -> str | None:
        try:
            return self._objects.read(_OWNER).decode()
        except FileNotFoundError:
            return None

    def claim(self, database_id: str) -> str:
        with suppress(FileExistsError):
            self._objects.create(_OWNER, [database_id.encode()])
        return self.owner() or database_id

    def set_owner(self, database_id: str) -> None:
        self._objects.replace(_OWNER, database_id.encode())


def _key(kind: FileKind, file_id: str) -> str:
    return f"{kind}/{file_id}.h5"


def _taken(key: str) -> FileExistsError:
    return FileExistsError(errno.EEXIST, "another process has made this object", key)


def _is_old(found: Object) -> bool:
    return found.modified < time() - OLD_SECONDS


def _mtime_ns(found: Object) -> int:
    """The time of the last change, with what tells two changes within a second apart."""
    tag = hashlib.sha256(f"{found.tag} {found.version}".encode()).digest()
    return int(found.modified) * 10**9 + int.from_bytes(tag[:8]) % 10**9
