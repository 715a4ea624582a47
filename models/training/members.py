"""Members of a version: the tasks that train them, what is reported of them, and the pool that carries them out.

A member is an ordinary training run of an ordinary network, with some rows held out. Members are numbered from 1. Tasks
and reports are values that can be sent to another process.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, Protocol

from models.definition.definition import ModelDefinition
from models.features.rows import FeatureRows
from models.training.checkpoint import Checkpoint
from models.training.prepared import Part
from models.training.request import TrainingRequest
from nncore.arrays import Array
from nncore.batches import RowSource
from nncore.kernels.kinds import Kind
from nncore.training import Epoch

__all__ = [
    "Ended",
    "Looked",
    "MemberData",
    "MemberFailure",
    "MemberLostError",
    "MemberPool",
    "MemberTask",
    "Report",
    "Saved",
    "Stopped",
]


@dataclass(frozen=True, eq=False)
class MemberData:
    """What all members of a kind read: inputs (n_rows, width), class numbers (n_rows,) and, if rows count differently,
    weights (n_rows,).

    ``validation`` are further rows, by which members are judged that hold none of these rows out.
    """

    inputs: Array | RowSource
    codes: Array
    weights: Array | None
    validation: Part | None = None

    def ready(self) -> MemberData:
        """The data as members train on it: few features are expanded once rather than for each batch."""
        inputs = self.inputs
        return replace(self, inputs=inputs.expand_if_small()) if isinstance(inputs, FeatureRows) else self


@dataclass(frozen=True, eq=False)
class MemberTask:
    """The training of one member.

    ``data`` is the name under which its data is shared. ``definition`` has one network, whose ``inputs`` is the width
    of the data, and no features. ``training`` and ``validation`` are row numbers in the data. ``class_weights`` has a
    weight for each class. The member pauses when it has trained ``pause_at`` epochs, if it has not ended by then.
    ``resume`` is a state of this member, from which it continues to the same bits. ``kernels`` are those of its run.
    """

    number: int
    data: str
    definition: ModelDefinition
    request: TrainingRequest
    training: Array
    validation: Array | None
    class_weights: Literal["balanced"] | list[float] | None = None
    pause_at: int | None = None
    resume: Checkpoint | None = None
    kernels: Kind = "numpy"


@dataclass(frozen=True)
class Looked:
    """The epochs that a member has trained since its previous report, none or more, and its ``step`` so far."""

    number: int
    records: list[Epoch]
    step: int


@dataclass(frozen=True, eq=False)
class Saved:
    """A member's state because one was asked for; training goes on."""

    number: int
    checkpoint: Checkpoint


@dataclass(frozen=True, eq=False)
class Ended:
    """A member's end, with its last state, in which its best weights are.

    ``stopped_by`` is what ended it before its last epoch. ``held_out`` are the probabilities of the validation rows,
    (n_validation, classes), by the best weights if the run tracks them; None without validation rows.
    """

    number: int
    checkpoint: Checkpoint
    stopped_by: Literal["early_stopping", "max_seconds"] | None
    held_out: Array | None


@dataclass(frozen=True, eq=False)
class Stopped:
    """A member's state because it was asked to stop, or paused at ``pause_at``."""

    number: int
    checkpoint: Checkpoint


@dataclass(frozen=True)
class MemberFailure:
    """A member cannot go on, and would not if it was tried again."""

    number: int
    code: str
    detail: str


#: Each report has the member's ``number``; the last one of a member is Ended, Stopped or MemberFailure.
Report = Looked | Saved | Ended | Stopped | MemberFailure


class MemberLostError(RuntimeError):
    """The process of member ``number`` ended without a report; another one may succeed.

    ``code`` and ``detail`` say why, as for a runner that died.
    """

    def __init__(self, number: int, code: str, detail: str) -> None:
        super().__init__(f"member {number}: {detail}")
        self.number, self.code, self.detail = number, code, detail


class MemberPool(Protocol):
    """Trains members, side by side if it has several places."""

    @property
    def free(self) -> int:
        """Number of places without a member."""

    def share(self, name: str, data: MemberData) -> None:
        """Make data known to all members, before the first task that names it."""

    def start(self, task: MemberTask) -> None:
        """Begin a task in a free place."""

    def reports(self, seconds: float) -> list[Report]:
        """The reports since the previous call; waits at most so long for the first one.

        Raises MemberLostError if the process of a member died, after all reports before that are returned. The others
        go on, and the place is free.
        """

    def ask_states(self) -> None:
        """Have each running member report Saved; one that ends before reports its end instead."""

    def stop(self) -> list[Report]:
        """Have each running member save and stop; returns the last reports, with Stopped or Ended of each.

        A member whose process died has no report; the next call of ``reports`` raises its MemberLostError.
        """

    def close(self) -> None:
        """End all members without states, and all processes."""
