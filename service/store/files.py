"""Where files lie below the data directory: the one place that puts, gets and deletes them."""

from __future__ import annotations

import fcntl
import re
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import IO

from models.formats.durable import TEMPORARY_SUFFIX, sweep
from models.identifiers import NAME_PATTERN, id_pattern
from service.store.pins import pins, sweep_pins

__all__ = ["Storage"]


#: Held by all who are between writing a file and naming it.
WRITING_LOCK = "writing.lock"
#: What the files in each folder are called, before the suffix.
_PATTERNS = {"checkpoints": id_pattern("ckpt"), "datasets": id_pattern("ds"), "models": NAME_PATTERN}


class Storage:
    """Files of checkpoints and datasets, each named by its id, and of models, by name."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.folders = (data / "checkpoints", data / "datasets")
        for folder in (*self.folders, data / "models"):
            folder.mkdir(parents=True, exist_ok=True)
        # So that holding the lock needs no space later.
        (data / WRITING_LOCK).touch()

    def checkpoint(self, checkpoint_id: str) -> Path:
        """The file of a checkpoint."""
        return self.data / "checkpoints" / f"{checkpoint_id}.h5"

    def dataset(self, dataset_id: str) -> Path:
        """The file of a dataset."""
        return self.data / "datasets" / f"{dataset_id}.h5"

    def model(self, name: str) -> Path:
        """The file that keeps what the database knows of a model (``models.formats.model_file``)."""
        return self.data / "models" / f"{name}.h5"

    @property
    def aside(self) -> Path:
        """Where files go that the database does not name and that may be of use to somebody."""
        return self.data / "orphans"

    def checkpoint_ids(self) -> set[str]:
        """The ids of all checkpoint files that are there."""
        return self._stems("checkpoints")

    def dataset_ids(self) -> set[str]:
        """The ids of all dataset files that are there."""
        return self._stems("datasets")

    def model_names(self) -> set[str]:
        """The names of all files of models that are there."""
        return self._stems("models")

    def strangers(self) -> list[Path]:
        """What lies among the files and is not called like one of them; not what begins with a dot."""
        return [
            path
            for folder, pattern in _PATTERNS.items()
            for path in sorted((self.data / folder).glob("[!.]*"))
            if not re.fullmatch(rf"{pattern}\.h5", path.name)
        ]

    def _stems(self, folder: str) -> set[str]:
        found = (self.data / folder).glob("*.h5")
        return {path.stem for path in found if re.fullmatch(_PATTERNS[folder], path.stem)}

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Held by whoever writes a file and then names it in the database, from the one to the other.

        The kernel lets go of it however its holder ends.
        """
        with (self.data / WRITING_LOCK).open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH)
            yield

    @contextmanager
    def nobody_writing(self) -> Iterator[None]:
        """The time for a block in which nobody is ``writing``: a file without a row will never have one.

        Raises BlockingIOError where somebody is at it.
        """
        with (self.data / WRITING_LOCK).open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield

    def unnamed(self) -> IO[bytes]:
        """A file without a name: it is gone with its last descriptor, however its owner ends.

        Where the file system knows no such files it has a name for a moment, which ``sweep`` knows.
        """
        return tempfile.TemporaryFile(dir=self.data / "checkpoints", prefix=".import.", suffix=TEMPORARY_SUFFIX)

    def sweep(self) -> list[str]:
        """Remove what a process that was killed had begun to write; the names."""
        sweep_pins(self.data, self.folders)
        return [name for folder in (*self.folders, self.data / "models") for name in sweep(folder)]

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
