"""The best epoch of a run so far, with its parameters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from nncore.arrays import Array
from nncore.stopping import Monitor, improves
from nncore.training import Epoch, Training

__all__ = ["Best"]


@dataclass
class Best:
    """The best ``epoch`` so far, the ``step`` at its end, its ``value`` of ``monitor``, and what has passed since.

    A run looks after each epoch that it validates, or after every epoch if it has no validation. ``waited`` counts the
    looks since the best one, and ``waited_steps`` the steps up to the last look. Another epoch is better if it improves
    the value by more than ``min_delta``. ``parameters`` and ``statistics``, by name, are those with which the epoch was
    evaluated. Before the first epoch, ``epoch`` is 0 and they are empty.
    """

    monitor: Monitor
    min_delta: float = 0.0
    value: float | None = None
    epoch: int = 0
    waited: int = 0
    parameters: Mapping[str, Array] = field(default_factory=dict)
    statistics: Mapping[str, Array] = field(default_factory=dict)
    step: int = 0
    waited_steps: int = 0

    def observe(self, record: Epoch, training: Training) -> None:
        """Look at the epoch that has just ended. A value that is not finite is never better."""
        if training.validation is not None and not training.validates(record.number):
            return
        value: float | None = getattr(record, self.monitor)
        if value is None or not improves(self.monitor, value, self.value, self.min_delta):
            self.waited += 1
            self.waited_steps = training.step - self.step
            return
        self.value, self.epoch, self.step, self.waited, self.waited_steps = value, record.number, training.step, 0, 0
        self.parameters = {name: array.copy() for name, array in training.evaluated.items()}
        self.statistics = {name: array.copy() for name, array in training.evaluated_statistics.items()}
