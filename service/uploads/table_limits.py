"""Limits of the process that reads an untrusted table, by the size of the file and of what it may unpack to."""

from __future__ import annotations

import resource

__all__ = ["LEAST_BYTES", "TABLE_DOCUMENT_BYTES", "WRITTEN_FILES", "limit_table", "table_seconds", "written_bytes"]

#: Maximum size of the document about a table: the levels of its columns and its profile.
TABLE_DOCUMENT_BYTES = 64 * 2**20
#: The number of files that the process writes, and bytes that it may always write to each: a refusal has no more.
WRITTEN_FILES, LEAST_BYTES = 3, 256 * 2**10
#: Memory in addition to that of the process before it opens the file.
_RESERVE_BYTES = 2 * 2**30
#: Processor time: seconds for any file, and bytes a second. Small files may unpack to large ones.
_SECONDS, _BYTES_A_SECOND = 20, 2_500_000
#: Descriptors that may be open: those that the child is given, and DuckDB's own of the same file.
_DESCRIPTORS = 32


def table_seconds(size: int) -> int:
    """Seconds of processor time for a file; twice as many may pass."""
    return _SECONDS + size // _BYTES_A_SECOND


def written_bytes(unpacked: int, spare: int | None) -> int:
    """Bytes that the process may write to each file if the upload may unpack to ``unpacked``.

    All together take at most the ``spare`` bytes of the disk; None if all of it may be taken.
    """
    most = 2 * unpacked + TABLE_DOCUMENT_BYTES
    return most if spare is None else min(most, max(spare // WRITTEN_FILES, LEAST_BYTES))


def limit_table(size: int, written: int, own: int) -> None:
    """Limit this process, irrevocably; DuckDB has started its threads. ``written`` limits each file that it writes."""
    seconds = table_seconds(size)
    for what, most in (
        (resource.RLIMIT_AS, own + _RESERVE_BYTES),
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_FSIZE, written),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NPROC, 0),
        (resource.RLIMIT_NOFILE, _DESCRIPTORS),
    ):
        resource.setrlimit(what, (most, most + (what == resource.RLIMIT_CPU)))
