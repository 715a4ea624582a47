"""Files of checkpoints and datasets, written outside a data directory."""

from __future__ import annotations

from pathlib import Path

from models.data.dataset import Dataset
from models.formats.checkpoint_file import AnyCheckpoint, checkpoint_image
from models.formats.dataset_file import dataset_image
from models.formats.durable import FileRecord, write_durably


def save_checkpoint(path: Path, checkpoint: AnyCheckpoint) -> FileRecord:
    return write_durably(path, checkpoint_image(checkpoint))


def save_dataset(path: Path, dataset: Dataset) -> FileRecord:
    return write_durably(path, dataset_image(dataset))
