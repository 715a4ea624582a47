"""Which errors a full or failing disk causes."""

from __future__ import annotations

import errno
import sqlite3
from typing import Literal

import sqlalchemy as sa

__all__ = ["storage_error_code"]


def storage_error_code(error: OSError | sa.exc.OperationalError) -> Literal["storage_full", "storage_error"] | None:
    """The code for an error of a full or failing disk; None if the database failed for another reason."""
    if isinstance(error, OSError):
        return "storage_full" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "storage_error"
    # The low byte is the primary result code; the other bytes refine it.
    kind = getattr(error.orig, "sqlite_errorcode", 0) & 0xFF
    return {sqlite3.SQLITE_FULL: "storage_full", sqlite3.SQLITE_IOERR: "storage_error"}.get(kind)  # type: ignore[return-value]
