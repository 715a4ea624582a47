"""A checkpoint as a value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, NamedTuple

from models.definition.definition import ModelDefinition
from models.features.fitted import FittedFeatures
from models.identifiers import LOCAL
from nncore.arrays import Array
from nncore.best import Best
from nncore.kernels.kinds import Kind
from nncore.optimizers import Optimizer
from nncore.training import Epoch, TrainingState

__all__ = ["METRICS", "Checkpoint", "CheckpointKind", "Held", "Origin"]


class CheckpointKind(StrEnum):
    """Why a checkpoint was taken."""

    #: Before the first step.
    FIRST = "first"
    #: As the request's policy for checkpoints says.
    BETWEEN = "between"
    #: Because the run was asked to stop.
    INTERRUPTED = "interrupted"
    #: After the last step.
    LAST = "last"
    #: After the last one: the parameters of the best epoch, which are published instead.
    BEST = "best"
    #: A client uploaded it.
    IMPORT = "import"
    #: The file is older than the attribute that says it.
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Origin:
    """The origin of a checkpoint: its job (None if it was uploaded), its kind, its metrics as JSON, and its owner."""

    job: str | None
    kind: CheckpointKind
    metrics: str
    owner: str = LOCAL

    def attributes(self) -> dict[str, str]:
        """The attributes of the checkpoint's file."""
        job = {} if self.job is None else {"job": self.job}
        owner = {} if self.owner == LOCAL else {"owner": self.owner}
        return {"kind": self.kind.value, "metrics": self.metrics, **job, **owner}

    @classmethod
    def of(cls, attributes: Mapping[str, Any]) -> Origin | None:
        """The origin in a file's attributes; None if the file is older than these attributes."""
        if "kind" not in attributes:
            return None
        owner = str(attributes.get("owner", LOCAL))
        return cls(attributes.get("job"), CheckpointKind(attributes["kind"]), attributes["metrics"], owner)


class Held(NamedTuple):
    """The epoch whose parameters a checkpoint holds, the step at its end, and its metrics.

    The metrics of a best epoch, which is saved when later ones have ended, name their ``epoch``.
    """

    epoch: int
    step: int
    metrics: dict[str, float | None]


@dataclass(frozen=True)
class Checkpoint:
    """The content of a checkpoint file.

    ``rows`` are the row numbers of the training rows in the data as given. ``features`` are None if the model reads
    rows as they are. ``imported_epoch`` is the one whose parameters a file of another service holds if that is its best
    one, else 0. ``kernels`` are those of the run.
    """

    definition: ModelDefinition
    parameters: Mapping[str, Array]
    statistics: Mapping[str, Array]
    optimizer: Optimizer
    state: TrainingState
    history: list[Epoch]
    rows: Array
    best: Best | None
    created_at: str
    origin: Origin | None = None
    features: FittedFeatures | None = None
    imported_epoch: int = 0
    kernels: Kind = "numpy"

    def copied(self) -> Checkpoint:
        """The same state, which does not change with the next step; it can be sent to another process."""
        state, best = self.state, self.best
        return replace(
            self,
            parameters=_copied(self.parameters),
            statistics=_copied(self.statistics),
            state=replace(
                state,
                order=state.order.copy(),
                averaged_statistics=_copied(state.averaged_statistics),
                moments={name: _copied(vector) for name, vector in state.moments.items()},
            ),
            history=list(self.history),
            # The arrays of the best epoch are replaced by those of a better one, and never changed.
            best=None if best is None else replace(best),
        )

    def at_best(self) -> Checkpoint:
        """The same state, with the parameters of the best epoch instead of the current ones."""
        best, state = self.best, self.state
        assert best is not None
        assert best.epoch
        if self.optimizer.average is not None:
            moments = {**state.moments, "average": dict(best.parameters)}
            state = replace(state, moments=moments, averaged_statistics=dict(best.statistics))
        return replace(self, parameters=best.parameters, statistics=best.statistics, state=state)

    @property
    def epoch(self) -> int:
        """Epochs so far."""
        return self.state.epoch

    @property
    def step(self) -> int:
        """Steps so far."""
        return self.state.step

    @property
    def held(self) -> Held:
        """The epoch whose parameters it holds: the best one if it was saved as that, else the last one."""
        number, step = self.imported_epoch, self.step
        if self.origin is not None and self.origin.kind is CheckpointKind.BEST and self.best is not None:
            number, step = self.best.epoch, self.best.step or self.step
        if not 0 < number <= len(self.history):
            return Held(self.epoch, self.step, self.metrics)
        metrics = {name: getattr(self.history[number - 1], name) for name in METRICS}
        return Held(number, step, {**metrics, "epoch": number})

    @property
    def metrics(self) -> dict[str, float | None]:
        """The metrics of the last epoch; empty before its end."""
        return {name: getattr(self.history[-1], name) for name in METRICS} if self.history else {}

    @property
    def served_epoch(self) -> Epoch | None:
        """The record of the best epoch if the run looks for it, otherwise of the last one; None before the first."""
        number = self.best.epoch if self.best is not None and self.best.epoch else len(self.history)
        return self.history[number - 1] if 0 < number <= len(self.history) else None

    @property
    def evaluated(self) -> Mapping[str, Array]:
        """The parameters that are served: the optimizer's moving average if it keeps one."""
        return self.state.moments.get("average", self.parameters)

    @property
    def evaluated_statistics(self) -> Mapping[str, Array]:
        """The statistics that belong to the parameters that are served."""
        return self.state.averaged_statistics or self.statistics


def _copied(arrays: Mapping[str, Array]) -> dict[str, Array]:
    return {name: array.copy() for name, array in arrays.items()}


#: The members of an epoch's record that a job and a checkpoint show as their metrics.
METRICS = ("loss", "accuracy", "validation_loss", "validation_log_loss", "validation_accuracy")
