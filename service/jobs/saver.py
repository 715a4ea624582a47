"""Saves beside the training: a thread that writes one checkpoint's file while the next batches are run."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.formats.checkpoint_file import checkpoint_image
from models.formats.durable import FileRecord, write_durably
from models.formats.hdf5_image import Memory
from models.identifiers import new_id
from models.training.checkpoint import Checkpoint
from service.store.files import Storage

__all__ = ["Save", "Saver"]


@dataclass(frozen=True)
class Save:
    """A file on its way to the disk, and what the database is to say of it once it is there."""

    path: Path
    values: dict[str, Any]
    written: Future[FileRecord]


class Saver:
    """Writes files of checkpoints, one at a time."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="save")
        self._memory = Memory()

    def begin(self, checkpoint: Checkpoint, values: dict[str, Any], *, copy: bool) -> Save:
        """Start to write; with ``copy`` the checkpoint's arrays may change as soon as this returns.

        The save before must have ended: its copy's memory is used again.
        """
        checkpoint_id = new_id("ckpt")
        path = self._storage.checkpoint(checkpoint_id)
        image = checkpoint_image(checkpoint, self._memory if copy else None)
        return Save(path, {"id": checkpoint_id, **values}, self._pool.submit(write_durably, path, image))
