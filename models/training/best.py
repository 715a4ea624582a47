"""The best epoch of a run so far, with the parameters it ended with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from nncore.arrays import Array
from nncore.stopping import Monitor, improves
from nncore.training import Epoch, Training

__all__ = ["Best"]


@dataclass
class Best:
    """``value`` of ``monitor`` in its best ``epoch``, and the epochs ``waited`` since for one better by ``min_delta``.

    ``parameters`` and ``statistics`` are those that this epoch was evaluated with, by name; ``epoch`` is 0 and they are
    empty before the first epoch.
    """

    monitor: Monitor
    min_delta: float = 0.0
    value: float | None = None
    epoch: int = 0
    waited: int = 0
    parameters: Mapping[str, Array] = field(default_factory=dict)
    statistics: Mapping[str, Array] = field(default_factory=dict)

    def observe(self, record: Epoch, training: Training) -> None:
        """Take note of an epoch that has just ended; a value that is not finite is never better."""
        value: float | None = getattr(record, self.monitor)
        if value is None or not improves(self.monitor, value, self.value, self.min_delta):
            self.waited += 1
            return
        self.value, self.epoch, self.waited = value, record.number, 0
        self.parameters = {name: array.copy() for name, array in training.evaluated.items()}
        self.statistics = {name: array.copy() for name, array in training.evaluated_statistics.items()}
