"""A checkpoint of a run with several members, as a value."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from statistics import fmean
from typing import Literal, get_args

from models.definition.definition import ModelDefinition
from models.features.fitted import FittedFeatures
from models.training.checkpoint import Checkpoint, Origin
from nncore.arrays import Array
from nncore.kernels.kinds import Kind
from nncore.metrics import Score, score

__all__ = ["ENDS", "HELD_OUT", "End", "EnsembleCheckpoint", "HeldOut", "MemberState", "Mixture", "members_metrics"]

#: What ends a member.
End = Literal["epochs", "early_stopping", "max_seconds"]
ENDS: tuple[End, ...] = get_args(End)
#: The arrays of ``HeldOut`` and their types in a file.
HELD_OUT = {"rows": "int64", "codes": "int32", "folds": "int32", "probabilities": "float32"}


@dataclass(frozen=True, eq=False)
class MemberState:
    """A member: its kind and fold, and the state of its run, in which its best weights are.

    ``ended`` is what ended it, "epochs" if that was its last epoch; None if it is under way. ``held_out`` are the
    probabilities of the rows of its fold, (n_rows, classes), if it has ended.
    """

    kind: str
    fold: int
    checkpoint: Checkpoint
    ended: End | None = None
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
    arrays that ``models.trust`` has fitted on the held-out rows. ``kernels`` are those of the run.
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
    kernels: Kind = "numpy"

    @property
    def epoch(self) -> int:
        """Epochs of all members so far."""
        return sum(member.checkpoint.state.epoch for member in self.members.values())

    @property
    def metrics(self) -> dict[str, float | None]:
        """Loss and accuracy on held-out rows, and the means of what the members that answer had in training.

        Empty if nothing is known of held-out rows.
        """
        if self.held_out is None or not len(self.held_out.rows):
            return {}
        answering = [member.checkpoint for member in self.members.values() if member.ended and self._weight(member)]
        return members_metrics(answering, score(self.held_out.probabilities, self.held_out.codes))

    def _weight(self, member: MemberState) -> float:
        return 0.0 if self.mixture is None else self.mixture.weights.get(member.kind, 0.0)

    @property
    def step(self) -> int:
        """Steps of all members so far."""
        return sum(member.checkpoint.state.step for member in self.members.values())


def members_metrics(answering: Iterable[Checkpoint], found: Score) -> dict[str, float | None]:
    """What was ``found`` on rows that were held out, and the means of what the members that answer had in training."""
    epochs = [epoch for checkpoint in answering if (epoch := checkpoint.served_epoch) is not None]
    return {
        "loss": fmean(epoch.loss for epoch in epochs) if epochs else None,
        "accuracy": fmean(epoch.accuracy for epoch in epochs) if epochs else None,
        "validation_loss": found.loss,
        "validation_log_loss": found.loss,
        "validation_accuracy": found.accuracy,
    }
