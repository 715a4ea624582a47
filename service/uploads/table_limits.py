"""Limits of the process that reads an untrusted table, by the size of the file and of what it may unpack to."""

from __future__ import annotations

import resource

__all__ = ["TABLE_DOCUMENT_BYTES", "limit_table", "table_seconds"]

#: Maximum size of the document about a table: the levels of its columns and its profile.
TABLE_DOCUMENT_BYTES = 64 * 2**20
#: Memory in addition to that of the process before it opens the file.
_RESERVE_BYTES = 2 * 2**30
#: Processor time: seconds for any file, and bytes a second. Small files may unpack to large ones.
_SECONDS, _BYTES_A_SECOND = 20, 2_500_000
#: Descriptors that may be open: those that the child is given, and DuckDB's own of the same file.
_DESCRIPTORS = 32


def table_seconds(size: int) -> int:
    """Seconds of processor time for a file; twice as many may pass."""
    return _SECONDS + size // _BYTES_A_SECOND


def limit_table(size: int, unpacked: int, own: int) -> None:
    """Limit this process, irrevocably; DuckDB has started its threads. ``unpacked`` limits the unpacked file."""
    seconds = table_seconds(size)
    written = 2 * unpacked + TABLE_DOCUMENT_BYTES
    for what, most in (
        (resource.RLIMIT_AS, own + _RESERVE_BYTES),
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_FSIZE, written),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NPROC, 0),
        (resource.RLIMIT_NOFILE, _DESCRIPTORS),
    ):
        resource.setrlimit(what, (most, most + (what == resource.RLIMIT_CPU)))
