"""Which errors a full or failing disk causes, and object storage that does not answer."""

from __future__ import annotations

import errno
import sqlite3
from pathlib import Path
from typing import Literal

import sqlalchemy as sa

from models.formats.durable import UnreachableError

__all__ = ["StorageCode", "start_problem", "storage_error_code"]

StorageCode = Literal["storage_full", "storage_error", "storage_unavailable"]

#: By SQLSTATE.
_OF_POSTGRESQL: dict[str, StorageCode] = {
    "53100": "storage_full",
    "58030": "storage_error",
}
#: What SQLite reports of a directory in which it cannot write.
_NOT_WRITABLE = (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM)


def storage_error_code(error: OSError | sa.exc.OperationalError) -> StorageCode | None:
    """The code for an error of a disk or of object storage; None if the database failed for another reason."""
    if isinstance(error, UnreachableError):
        return "storage_unavailable"
    if isinstance(error, OSError):
        return "storage_full" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "storage_error"
    state = _OF_POSTGRESQL.get(getattr(error.orig, "sqlstate", None) or "")
    if state is not None:
        return state
    # The low byte is the primary result code; the other bytes refine it.
    kind = getattr(error.orig, "sqlite_errorcode", 0) & 0xFF
    return {sqlite3.SQLITE_FULL: "storage_full", sqlite3.SQLITE_IOERR: "storage_error"}.get(kind)  # type: ignore[return-value]


def start_problem(error: OSError | sa.exc.OperationalError, data: Path) -> str:
    """One sentence for an operator: why a process cannot start on this data directory, and what to do."""
    code = storage_error_code(error)
    if code == "storage_full":
        return f"no disk space is left for {data}: free some space, then start again"
    if code == "storage_unavailable":
        return f"TRAINYARD_STORAGE cannot be used: {error}; check the address, the bucket and the credentials"
    if isinstance(error, OSError):
        reason: object = error.strerror or error
    elif code is None and getattr(error.orig, "sqlite_errorcode", 0) & 0xFF not in _NOT_WRITABLE:
        return f"the database did not answer: {str(error.orig).strip()}"
    else:
        reason = error.orig
    return f"the data directory {data} cannot be used: {reason}; make it writable, or set TRAINYARD_DATA to another one"
