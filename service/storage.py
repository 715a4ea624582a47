"""Where files lie below the data directory: the one place that puts, gets and deletes them."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path

from models.files import sweep
from service.pins import pins, sweep_pins

__all__ = ["Storage"]


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
