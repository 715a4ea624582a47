"""Where files lie below the data directory: the one place that puts, gets and deletes them."""

from __future__ import annotations

import errno
import sqlite3
import tempfile
from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO, Literal

import sqlalchemy as sa

from models.files import TEMPORARY_SUFFIX, sweep
from service.pins import pins, sweep_pins

__all__ = ["Storage", "storage_fault"]


def storage_fault(error: OSError | sa.exc.OperationalError) -> Literal["storage_full", "storage_error"] | None:
    """The code of an error that a full or failing disk has made; None for what else keeps a database from answering."""
    if isinstance(error, OSError):
        return "storage_full" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "storage_error"
    # The low byte is the kind of the error, the others tell it more closely.
    kind = getattr(error.orig, "sqlite_errorcode", 0) & 0xFF
    return {sqlite3.SQLITE_FULL: "storage_full", sqlite3.SQLITE_IOERR: "storage_error"}.get(kind)  # type: ignore[return-value]


class Storage:
    """Files of checkpoints and datasets, each named by its id."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.folders = (data / "checkpoints", data / "datasets")
        for folder in self.folders:
            folder.mkdir(parents=True, exist_ok=True)

    def checkpoint(self, checkpoint_id: str) -> Path:
        """The file of a checkpoint."""
        return self.data / "checkpoints" / f"{checkpoint_id}.h5"

    def dataset(self, dataset_id: str) -> Path:
        """The file of a dataset."""
        return self.data / "datasets" / f"{dataset_id}.h5"

    def unnamed(self) -> IO[bytes]:
        """A file without a name: it is gone with its last descriptor, however its owner ends.

        Where the file system knows no such files it has a name for a moment, which ``sweep`` knows.
        """
        return tempfile.TemporaryFile(dir=self.data / "checkpoints", prefix=".import.", suffix=TEMPORARY_SUFFIX)

    def sweep(self) -> list[str]:
        """Remove what a process that was killed had begun to write; the names."""
        sweep_pins(self.data, self.folders)
        return [name for folder in self.folders for name in sweep(folder)]

    def pins(self) -> AbstractContextManager[None]:
        """The right to pin files, which one process has at a time; raises BlockingIOError."""
        return pins(self.data, self.folders)

    def writable(self) -> bool:
        """Whether a file can be made now."""
        probe = self.data / ".probe"
        try:
            probe.write_bytes(b"")
            probe.unlink(missing_ok=True)
        except OSError:
            return False
        return True
