"""One member in training: a task carried out on its data, stretch by stretch."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np

from models.definition.definition import ModelDefinition
from models.errors import TrainyardError
from models.training.checkpoint import Checkpoint, CheckpointKind
from models.training.members import Ended, Looked, MemberData, MemberFailure, MemberTask, Saved, Stopped
from models.training.prepared import Part, monitor_of
from models.training.run import DivergedError, Epoch, TrainingRun
from nncore.arrays import Array
from nncore.batches import ChosenRows, RowSource
from nncore.layer import Calls
from nncore.network import PREDICTION_ROWS, Predictor
from nncore.stopping import EarlyStopping, Monitor

__all__ = ["MemberRun", "PreparedMember", "failed"]

_log = logging.getLogger("trainyard.member")


class _Matrix:
    """Rows of a matrix (n_rows, inputs), which is read where it is: it may lie in memory that processes share."""

    def __init__(self, inputs: Array, dtype: np.dtype[np.generic]) -> None:
        self._inputs, self.dtype = inputs, dtype
        self.samples, self.inputs = inputs.shape

    def gather_calls(self, chosen: Array, out: Array) -> Calls:
        """Return the calls that write the rows ``chosen`` into ``out``, (n_chosen, inputs + 1)."""
        if self._inputs.dtype != out.dtype:
            return [partial(self._convert, chosen, out[:, :-1])]
        return [partial(self._inputs.take, chosen, axis=0, out=out[:, :-1], mode="clip")]

    def _convert(self, chosen: Array, out: Array) -> None:
        out[...] = self._inputs.take(chosen, axis=0, mode="clip")

    def expanded(self, start: int = 0, stop: int | None = None) -> Array:
        """The rows from ``start`` to before ``stop``, (n_rows, inputs)."""
        return self._inputs[start:stop].astype(self.dtype)


@dataclass(frozen=True, eq=False)
class PreparedMember:
    """The rows of a member; the data is read where it is."""

    task: MemberTask
    data: MemberData
    fitted: None = None
    groups: None = None

    @property
    def definition(self) -> ModelDefinition:
        return self.task.definition

    @property
    def rows(self) -> Array:
        return self.task.training

    @property
    def class_weights(self) -> Literal["balanced"] | list[float] | None:
        return self.task.class_weights

    @property
    def monitor(self) -> Monitor:
        return monitor_of(self.task.request, validated=self.validation_rows > 0)

    @property
    def min_delta(self) -> float:
        return (self.task.request.early_stopping or EarlyStopping()).min_delta

    @property
    def validation_rows(self) -> int:
        if self.task.validation is not None:
            return len(self.task.validation)
        return 0 if self.data.validation is None else len(self.data.validation.codes)

    def training_part(self) -> Part:
        """The training rows."""
        return self._part(self.task.training)

    def validation_part(self) -> Part | None:
        """The rows that are held out, or those that come with the data; None if there are none.

        They all count the same.
        """
        rows, given = self.task.validation, self.data.validation
        if rows is not None:
            return self._part(rows)._replace(weights=None)
        return None if given is None else Part(self._source(given.inputs), given.codes)

    def _part(self, rows: Array) -> Part:
        weights = self.data.weights
        source = ChosenRows(self._source(self.data.inputs), rows)
        return Part(source, self.data.codes[rows], None if weights is None else weights[rows])

    def _source(self, inputs: Array | RowSource) -> RowSource:
        return _Matrix(inputs, np.dtype(self.definition.dtype)) if isinstance(inputs, np.ndarray) else inputs


class MemberRun:
    """A member in training. ``advance`` trains a stretch; between two stretches, its state can be taken.

    How a run is divided into stretches does not change a bit of its result.
    """

    def __init__(self, task: MemberTask, data: MemberData) -> None:
        self.number = task.number
        self._task, self._prepared = task, PreparedMember(task, data)
        self._run = TrainingRun(task.request, self._prepared, resume=task.resume, kernels=task.kernels)
        self._journal = _Journal(self._paused)

    def advance(self, enough: Callable[[], bool]) -> Ended | Stopped | MemberFailure | None:
        """Train until ``enough`` returns True, which is asked before each batch; None if there is more to train.

        Returns Stopped if the member pauses, and MemberFailure if training diverged.
        """
        try:
            ended = self._run.run(self._journal.until(enough))
        except DivergedError as error:
            return failed(self.number, error)
        if ended:
            return Ended(self.number, self._state(), self._run.stopped_by, self._held_out())
        return self.stop() if self._paused() else None

    def looked(self) -> Looked:
        """The epochs since the previous call, and the number of steps."""
        return Looked(self.number, self._journal.take(), self._run.training.step)

    def saved(self) -> Saved:
        """The state, for a member that goes on."""
        return Saved(self.number, self._state())

    def stop(self) -> Stopped:
        """The state, for a member that does not go on here."""
        return Stopped(self.number, self._state())

    def _paused(self) -> bool:
        return self._task.pause_at is not None and self._run.training.epoch >= self._task.pause_at

    def _state(self) -> Checkpoint:
        return self._run.checkpoint().copied()

    def _held_out(self) -> Array | None:
        """The probabilities of the rows that are held out, by the best weights."""
        part = self._prepared.validation_part()
        if part is None:
            return None
        run, best = self._run, self._run.best
        arrays = {**run.training.evaluated, **run.training.evaluated_statistics}
        if best is not None and best.epoch:
            arrays = {**best.parameters, **best.statistics}
        predictor = Predictor(run.definition.layers, run.definition.inputs, arrays)
        rows = part.inputs
        assert not isinstance(rows, np.ndarray)
        # As many rows at a time as the predictor takes, so that features are made for these alone.
        starts = range(0, rows.samples, PREDICTION_ROWS)
        found = [predictor.predict_proba(rows.expanded(start, start + PREDICTION_ROWS)) for start in starts]
        return np.concatenate(found).astype(np.float32, copy=False)


class _Journal:
    """Collects a run's epochs, and interrupts the run if it pauses or has trained enough."""

    def __init__(self, paused: Callable[[], bool]) -> None:
        self._paused = self._enough = paused
        self._interrupts = False
        self._records: list[Epoch] = []

    def until(self, enough: Callable[[], bool]) -> _Journal:
        """This journal, for a stretch that ends when ``enough`` returns True."""
        self._enough, self._interrupts = enough, False
        return self

    def take(self) -> list[Epoch]:
        """The epochs since the previous call."""
        taken, self._records = self._records, []
        return taken

    def stopping(self) -> bool:
        # Once True, it stays so: the run asks again.
        self._interrupts = self._interrupts or self._paused() or self._enough()
        return self._interrupts

    def epoch(self, record: Epoch) -> None:
        self._records.append(record)

    def checkpoint(self, checkpoint: Checkpoint, kind: CheckpointKind) -> None:
        """The state is taken when somebody asks for it."""


def failed(number: int, error: Exception) -> MemberFailure:
    """The report for a member that raised ``error``."""
    match error:
        case DivergedError():
            return MemberFailure(number, "diverged", str(error))
        case TrainyardError():
            return MemberFailure(number, error.code, error.detail)
    _log.error("member %d failed", number, exc_info=error)
    return MemberFailure(number, "internal_error", f"{type(error).__name__}: {error}")
