"""Where files lie below the data directory: the one place that puts, gets and deletes them."""

from __future__ import annotations

from pathlib import Path

__all__ = ["Storage"]


class Storage:
    """Files of checkpoints and datasets, each named by its id."""

    def __init__(self, data: Path) -> None:
        self.data = data
        for folder in ("checkpoints", "datasets"):
            (data / folder).mkdir(parents=True, exist_ok=True)

    def checkpoint(self, checkpoint_id: str) -> Path:
        """The file of a checkpoint."""
        return self.data / "checkpoints" / f"{checkpoint_id}.h5"

    def dataset(self, dataset_id: str) -> Path:
        """The file of a dataset."""
        return self.data / "datasets" / f"{dataset_id}.h5"

    def writable(self) -> bool:
        """Whether a file can be made now."""
        probe = self.data / ".probe"
        try:
            probe.write_bytes(b"")
            probe.unlink(missing_ok=True)
        except OSError:
            return False
        return True
