"""Integrity: whether a file still matches its row in the database.

Size and modification time are compared first. If both are the same as when the content last matched the digest, no
program has written to the file since. If not, the digest decides. A disk that corrupts bits changes neither size nor
time; a thorough examination, which always computes the digest, detects that.

A file may lie in a place that does not answer. That says nothing about the file, and so is no fault of it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, NamedTuple, Protocol

import sqlalchemy as sa

from models.formats.checkpoint_file import CheckpointError
from models.formats.durable import FileRecord, FileStat, UnreachableError

__all__ = ["DamagedError", "Examined", "Fault", "Finding", "examine", "note"]

#: Faults of a file: it does not exist, or has another size, other content, or a read error.
Fault = Literal["missing", "wrong_size", "wrong_digest", "unreadable"]

_FOUND: dict[str, str] = {
    "missing": "no such file",
    "wrong_size": "a file of another size",
    "wrong_digest": "other content",
    "unreadable": "a file that the system cannot read",
}
ADVICE = "Put the file back from a backup and run `trainyard verify`"


class Finding(NamedTuple):
    """The result of examining a file: its fault, if any, else its modification time."""

    fault: Fault | None
    mtime_ns: int | None


class DamagedError(CheckpointError):
    """A file is missing or damaged; the message names the file, the fault and a remedy."""

    def __init__(self, path: Path, record: FileRecord, fault: str) -> None:
        written = f"the {record.bytes} bytes with SHA-256 {record.sha256[:12]}… that were written"
        super().__init__(path, "/", written, f"{_FOUND[fault]}. {ADVICE}")


class Examined(Protocol):
    """A file wherever it lies. Both methods raise FileNotFoundError, UnreachableError and other OSErrors."""

    def size_and_time(self) -> FileStat:
        """Its size and modification time."""

    def sha256(self) -> str:
        """The SHA-256 of its content, which is read for that."""


def examine(file: Examined, record: FileRecord, *, thorough: bool = False) -> Finding:
    """Compare a file with its row's record. Reads the content only if necessary. Raises UnreachableError."""
    try:
        found = file.size_and_time()
        if found.bytes != record.bytes:
            return Finding("wrong_size", None)
        if (thorough or found.mtime_ns != record.mtime_ns) and file.sha256() != record.sha256:
            return Finding("wrong_digest", None)
    except UnreachableError:
        raise
    except FileNotFoundError:
        return Finding("missing", None)
    except OSError:
        return Finding("unreadable", None)
    return Finding(None, found.mtime_ns)


def note(connection: sa.Connection, table: sa.Table, file_id: str, finding: Finding) -> bool:
    """Write a finding into the file's row. Returns False if the row has been deleted."""
    changed = connection.execute(sa.update(table).where(table.c.id == file_id).values(**finding._asdict()))
    return changed.rowcount == 1
