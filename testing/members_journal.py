"""A journal of runs of several members, in memory, and a pool that trains one batch at a time."""

from __future__ import annotations

from typing import Any

from models.formats.checkpoint_file import AnyCheckpoint
from models.training.checkpoint import CheckpointKind
from models.training.local_pool import LocalPool
from nncore.training import Epoch

__all__ = ["MembersRecorder", "QuickPool"]


class MembersRecorder:
    """Records what a run reports, and stops it at a given call."""

    def __init__(self, stop_at: float = float("inf")) -> None:
        self.calls, self.stop_at = 0, stop_at
        self.epochs: list[tuple[int, Epoch]] = []
        self.checkpoints: list[tuple[CheckpointKind, AnyCheckpoint]] = []

    def stopping(self) -> bool:
        self.calls += 1
        return self.calls >= self.stop_at

    def epoch(self, record: Epoch, member: int = 0) -> None:
        self.epochs.append((member, record))

    def checkpoint(self, checkpoint: AnyCheckpoint, kind: CheckpointKind) -> None:
        self.checkpoints.append((kind, checkpoint))

    @property
    def newest(self) -> AnyCheckpoint:
        return self.checkpoints[-1][1]


class QuickPool(LocalPool):
    """A pool that trains one batch at a time, so that a run can be stopped at any of them."""

    def reports(self, seconds: float) -> list[Any]:
        return super().reports(0.0)
