"""The record of the best epoch so far, without its parameters, which ``nncore.best.Best`` keeps."""

from __future__ import annotations

from dataclasses import dataclass

from nncore.stopping import Monitor, improves
from nncore.training import Epoch

__all__ = ["BestEpoch"]


@dataclass
class BestEpoch:
    """The record of the best epoch by ``monitor``; another one is better if it improves by more than ``min_delta``."""

    monitor: Monitor
    min_delta: float = 0.0
    record: Epoch | None = None

    def observe(self, record: Epoch) -> None:
        """Look at an epoch; one without a value of the monitor is never the best."""
        value: float | None = getattr(record, self.monitor)
        best: float | None = None if self.record is None else getattr(self.record, self.monitor)
        if value is not None and improves(self.monitor, value, best, self.min_delta):
            self.record = record
