"""A checkpoint of a sweep under way, as a value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from models.definition.definition import ModelDefinition
from models.features.fitted import FittedFeatures
from models.training.checkpoint import Checkpoint, Origin
from nncore.arrays import Array
from nncore.kernels.kinds import Kind

__all__ = ["SweepCheckpoint"]


@dataclass(frozen=True, eq=False)
class SweepCheckpoint:
    """The content of a checkpoint file of a sweep.

    ``members`` are the states of trials that may go on, and of the best one so far, by number; each has its own
    definition, and no rows. ``search`` is the state of the search and of all trials as JSON. ``rows`` are the numbers
    of the training rows in the data. ``seconds`` is the time that the sweep took so far. ``kernels`` are those of the
    run.
    """

    definition: ModelDefinition
    features: FittedFeatures | None
    members: Mapping[int, Checkpoint]
    search: dict[str, Any]
    rows: Array
    seconds: float
    created_at: str
    origin: Origin | None = None
    kernels: Kind = "numpy"

    @property
    def epoch(self) -> int:
        """Epochs of all trials so far."""
        return sum(trial["epoch"] for trial in self.search["trials"].values())

    @property
    def step(self) -> int:
        """Steps of all trials so far."""
        return sum(trial["step"] for trial in self.search["trials"].values())
