"""Whether a file is still what the database says of it.

Its size and the time of its last change tell that at once: where both are as they were when the content last matched
its digest, no program has written to the file since. Where they are not, the digest decides. A disk that changes bits
by itself shows in neither; a thorough look, which always takes the digest, finds that.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, NamedTuple

import sqlalchemy as sa

from models.formats.checkpoint_file import CheckpointError
from models.formats.durable import FileRecord, sha256_of, stat_of

__all__ = ["DamagedError", "Fault", "Finding", "examine", "note"]

#: What can be wrong: no such file, another size, other content, or the system cannot read it.
Fault = Literal["missing", "wrong_size", "wrong_digest", "unreadable"]

_FOUND: dict[str, str] = {
    "missing": "no such file",
    "wrong_size": "a file of another size",
    "wrong_digest": "other content",
    "unreadable": "a file that the system cannot read",
}
ADVICE = "Put the file back from a backup and run `python -m service verify`"


class Finding(NamedTuple):
    """What a look at a file gave: its fault, if any, and the time of its last change where there is none."""

    fault: Fault | None
    mtime_ns: int | None


class DamagedError(CheckpointError):
    """A file is not what was written; names it, what is wrong and what would help."""

    def __init__(self, path: Path, record: FileRecord, fault: str) -> None:
        written = f"the {record.bytes} bytes with SHA-256 {record.sha256[:12]}… that were written"
        super().__init__(path, "/", written, f"{_FOUND[fault]}. {ADVICE}")


def examine(path: Path, row: sa.Row[Any], *, thorough: bool = False) -> Finding:
    """Compare a file with its row (``bytes``, ``sha256``, ``mtime_ns``); the content only where that is called for."""
    try:
        found = stat_of(path)
        if found.bytes != row.bytes:
            return Finding("wrong_size", None)
        if (thorough or found.mtime_ns != row.mtime_ns) and sha256_of(path) != row.sha256:
            return Finding("wrong_digest", None)
    except FileNotFoundError:
        return Finding("missing", None)
    except OSError:
        return Finding("unreadable", None)
    return Finding(None, found.mtime_ns)


def note(connection: sa.Connection, table: sa.Table, row: sa.Row[Any], finding: Finding) -> bool:
    """Write a finding into the row it is about; False where that row is gone, and with it what was found."""
    changed = connection.execute(sa.update(table).where(table.c.id == row.id).values(**finding._asdict()))
    return changed.rowcount == 1
