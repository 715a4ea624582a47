"""Background saves: a thread that writes one checkpoint's file while training continues."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from time import monotonic
from typing import NamedTuple

from models.formats.checkpoint_file import AnyCheckpoint, checkpoint_image
from models.formats.durable import FileRecord
from models.formats.hdf5_image import Memory
from models.identifiers import new_id
from models.training.checkpoint import Checkpoint, CheckpointKind
from service.store.files import FileKind, FileStore

__all__ = ["Save", "Saver", "Written"]


class Written(NamedTuple):
    """A file that was written, and how many seconds it took from the begin of its save on."""

    record: FileRecord
    seconds: float


@dataclass(frozen=True)
class Save:
    """A checkpoint's file that is being written, and the values for its row in the database."""

    id: str
    kind: CheckpointKind
    epoch: int
    step: int
    metrics: str
    created_at: str
    written: Future[Written]


class Saver:
    """Writes files of checkpoints, one at a time."""

    def __init__(self, files: FileStore) -> None:
        self._files = files
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="save")
        self._memory = Memory()

    def begin(self, checkpoint: AnyCheckpoint, *, copy: bool) -> Save:
        """Start writing a file. With ``copy``, the checkpoint's arrays may change as soon as this returns.

        The previous save must have ended, because its memory is reused.
        """
        assert checkpoint.origin is not None
        begin = monotonic()
        checkpoint_id = new_id("ckpt")
        image = checkpoint_image(checkpoint, self._memory if copy else None)

        def write() -> Written:
            record = self._files.put(FileKind.CHECKPOINT, checkpoint_id, image)
            return Written(record, monotonic() - begin)

        kind = checkpoint.origin.kind
        held = checkpoint.held if isinstance(checkpoint, Checkpoint) and kind is CheckpointKind.BEST else checkpoint
        return Save(
            id=checkpoint_id,
            kind=kind,
            epoch=held.epoch,
            step=held.step,
            metrics=checkpoint.origin.metrics,
            created_at=checkpoint.created_at,
            written=self._pool.submit(write),
        )
