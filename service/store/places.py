"""Where files lie: the one seam between a directory and a bucket."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from models.formats.durable import FileRecord, FileStat, Piece
from models.identifiers import QUALIFIED_PATTERN, id_pattern

__all__ = ["OLD_SECONDS", "FileKind", "Place", "Recorded", "is_id", "is_name"]

#: Seconds after which what no row names is cleared away in a place that several machines share. Their processes do
#: not see each other's locks, and no writer needs so long to name what it has written.
OLD_SECONDS = 24 * 3600.0
#: What the database says of a file; None if no row names it. It is asked only if the answer is needed.
Recorded = Callable[[], FileRecord | None]


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


def is_id(kind: FileKind, text: str) -> bool:
    """Whether a text is an id of a kind."""
    return re.fullmatch(_PATTERNS[kind], text) is not None


def is_name(kind: FileKind, name: str) -> bool:
    """Whether a file of a kind can have this name."""
    return re.fullmatch(rf"{_PATTERNS[kind]}\.h5", name) is not None


class Place(Protocol):
    """Files, each with a kind and an id, complete or absent.

    All methods raise OSError if the place fails, and UnreachableError, which is one, if it does not answer.
    """

    #: Whether processes of other machines write there, too.
    shared: bool

    def put(self, kind: FileKind, file_id: str, image: Sequence[Piece], *, over: FileStat | None = None) -> FileRecord:
        """Write a file durably and verified. After an OSError it is absent, or nothing names it and it goes later.

        ``over`` is what was there before its content was decided, None for nothing. A place that machines share
        raises FileExistsError if something else is there now, unless that has the same content.
        """

    def path(self, kind: FileKind, file_id: str) -> Path:
        """The file's path as messages name it; it need not exist on this machine."""

    def local(self, kind: FileKind, file_id: str, recorded: Recorded) -> Path:
        """A path of this machine at which the file's content can be read or mapped, soon after this call.

        Nothing is there if the file is missing. Raises ChangedError if the content is known to be another one.
        """

    def copy(self, kind: FileKind, file_id: str, record: FileRecord) -> Path | None:
        """As ``local``, but of a verified copy that is here already, so that the place is not asked; None without."""

    def stat(self, kind: FileKind, file_id: str) -> FileStat:
        """Size and modification time, which differs after a change. Raises FileNotFoundError."""

    def sha256(self, kind: FileKind, file_id: str) -> str:
        """The digest of the content as it is now, which is read for that. Raises FileNotFoundError."""

    def ids(self, kind: FileKind) -> set[str]:
        """The ids of all files of a kind."""

    def clearable(self, kind: FileKind) -> set[str]:
        """The ids of those that no living writer can be about to name, if none on this machine is."""

    def delete(self, kind: FileKind, file_ids: Sequence[str]) -> None:
        """Delete files; missing ones are ignored."""

    def quarantine(self, kind: FileKind, file_id: str) -> Path:
        """Move a file to the folder ``orphans``. Returns its new path, as messages name it."""

    def strangers(self) -> list[Path]:
        """What lies among the files under a name that none of them can have."""

    def sweep_incomplete(self) -> list[str]:
        """Delete what killed writers have left. Returns its names."""

    def sweep_pins(self) -> None:
        """Remove the pins of a backup that was killed."""

    def pins(self) -> AbstractContextManager[None]:
        """Permission to pin files, for one process at a time. Raises LockTakenError."""

    def pin(self, kind: FileKind, file_id: str) -> Callable[[Path], str]:
        """Keep a file until the block of ``pins`` ends, also if it is deleted.

        Returns a function that copies it durably to a path of this machine, and returns the copy's SHA-256. Either
        raises FileNotFoundError if there is no such file.
        """

    def owner(self) -> str | None:
        """The id of the database that the files belong to; None if they belong to none yet."""

    def claim(self, database_id: str) -> str:
        """Record that the files belong to a database, unless they belong to one. Returns the id of their owner."""

    def set_owner(self, database_id: str) -> None:
        """Record that the files belong to a database, whatever they belonged to."""
