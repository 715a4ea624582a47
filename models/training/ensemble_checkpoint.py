"""A checkpoint of a run with several members, as a value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from models.definition.definition import ModelDefinition
from models.features.fitted import FittedFeatures
from models.training.checkpoint import Checkpoint, Origin
from nncore.arrays import Array

__all__ = ["EnsembleCheckpoint", "HeldOut", "MemberState", "Mixture"]


@dataclass(frozen=True, eq=False)
class MemberState:
    """A member: its kind and fold, and the state of its run, in which its best weights are.

    ``ended`` is what ended it, "epochs" if that was its last epoch; None if it is under way. ``held_out`` are the
    probabilities of the rows of its fold, (n_rows, classes), if it has ended.
    """

    kind: str
    fold: int
    checkpoint: Checkpoint
    ended: Literal["epochs", "early_stopping", "max_seconds"] | None = None
    held_out: Array | None = None

    @property
    def parameters(self) -> Mapping[str, Array]:
        """The parameters that are served: those of the best epoch if the run looked for it."""
        best = self.checkpoint.best
        return best.parameters if best is not None and best.epoch else self.checkpoint.evaluated

    @property
    def statistics(self) -> Mapping[str, Array]:
        """The statistics that belong to ``parameters``."""
        best = self.checkpoint.best
        return best.statistics if best is not None and best.epoch else self.checkpoint.evaluated_statistics


@dataclass(frozen=True)
class Mixture:
    """How the members answer together: each kind's weight by its name, and the temperature of the mixture."""

    weights: Mapping[str, float]
    temperature: float


@dataclass(frozen=True, eq=False)
class HeldOut:
    """What is known from rows that a member held out, each predicted by members that did not train on it.

    ``rows`` are their numbers in the data, ``codes`` and ``folds`` (n_rows,) their classes and folds, ``probabilities``
    (n_rows, classes) those of the mixture after the temperature. Rows of folds without an ended member are left out.
    """

    rows: Array
    codes: Array
    folds: Array
    probabilities: Array


@dataclass(frozen=True, eq=False)
class EnsembleCheckpoint:
    """The content of a checkpoint file of several members.

    ``members`` are those that have begun, by number. ``mixture`` and ``held_out`` are there after the end. ``rows`` are
    the numbers of the training rows in the data. ``seconds`` is the time that the run took so far. ``trust`` are the
    arrays that ``models.trust`` has fitted on the held-out rows.
    """

    definition: ModelDefinition
    features: FittedFeatures | None
    members: Mapping[int, MemberState]
    rows: Array
    seconds: float
    created_at: str
    mixture: Mixture | None = None
    held_out: HeldOut | None = None
    trust: Mapping[str, Array] = field(default_factory=dict)
    origin: Origin | None = None

    @property
    def epoch(self) -> int:
        """Epochs of all members so far."""
        return sum(member.checkpoint.state.epoch for member in self.members.values())

    @property
    def step(self) -> int:
        """Steps of all members so far."""
        return sum(member.checkpoint.state.step for member in self.members.values())
