"""One training run, from its start or its newest checkpoint to its last epoch."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from time import monotonic
from typing import Literal, Protocol

import numpy as np

from models.clock import utc_now
from models.data.dataset import Dataset
from models.definition.class_weights import weights_of_classes
from models.definition.definition import ModelDefinition
from models.errors import InvalidError
from models.training.best import Best
from models.training.checkpoint import Checkpoint
from models.training.request import TrainingRequest
from models.training.warm_start import begin_at
from nncore.arrays import Array
from nncore.batches import stratified_split
from nncore.network import layer_sizes
from nncore.stopping import EarlyStopping, Monitor
from nncore.training import DivergedError, Epoch, Training

__all__ = [
    "CheckpointKind",
    "DivergedError",
    "Epoch",
    "Journal",
    "Monitor",
    "TrainingRun",
    "activation_bytes",
    "split_rows",
    "watched",
]

#: Why a checkpoint was taken: before the first step, on the way, because the run was told to stop, after the last; and
#: the best epoch's parameters, to be published in place of the last.
CheckpointKind = Literal["first", "between", "interrupted", "last", "best"]


class Journal(Protocol):
    """Who a run reports to, and who may ask it to stop."""

    def stopping(self) -> bool:
        """Whether the run should save its state and stop; asked before each batch."""

    def epoch(self, record: Epoch) -> None:
        """An epoch has ended."""

    def checkpoint(self, checkpoint: Checkpoint, kind: CheckpointKind) -> None:
        """The state to be saved now; its arrays change with the next step."""


class TrainingRun:
    """A model in training on its data.

    ``resume`` is a checkpoint of this very run, to go on from to the same bits. ``start`` is a checkpoint of another
    run whose weights, and with an equal optimizer its state, are the beginning of this one. ``threads`` work
    on it beside those of BLAS, without a change of bits. Raises InvalidError for
    data or a checkpoint that does not fit.
    """

    def __init__(
        self,
        definition: ModelDefinition,
        request: TrainingRequest,
        data: Dataset,
        validation: Dataset | None = None,
        *,
        start: Checkpoint | None = None,
        resume: Checkpoint | None = None,
        threads: int = 1,
    ) -> None:
        self.definition, self.request = definition, request
        self.optimizer = request.optimizer or definition.optimizer
        labels = data.codes_for(definition.classes, "/data/labels")
        self.rows, held_out = split_rows(labels, request)
        #: Rows and class numbers that are held out, if any.
        self.held_out: tuple[Array, Array] | None = None
        if held_out is not None:
            self.held_out = data.inputs[held_out], labels[held_out]
        elif validation is not None:
            self.held_out = validation.inputs, validation.codes_for(definition.classes, "/validation/labels")
        self.training = Training(
            definition.network(request.seed),
            data.inputs if held_out is None else data.inputs[self.rows],
            labels[self.rows],
            optimizer=self.optimizer,
            loss=request.loss or definition.loss,
            batch_size=request.batch_size,
            shuffle=request.shuffle,
            seed=request.seed,
            validation=self.held_out,
            weights=None if data.weights is None else data.weights[self.rows],
            class_weights=weights_of_classes(
                definition.class_weights if request.class_weights is None else request.class_weights, definition.classes
            ),
            epochs=request.epochs,
            threads=threads,
        )
        self.history: list[Epoch] = []
        self.best = Best(*watched(request, self.held_out is not None)) if request.tracks_best else None
        #: What ended the run before its last epoch, if anything did.
        self.stopped_by: Literal["early_stopping", "max_seconds"] | None = None
        self._resumed = resume is not None
        if resume is not None:
            self.training.network.parameters.fill_from(resume.parameters)
            self.training.network.statistics.fill_from(resume.statistics)
            self.training.restore(resume.state)
            self.history, self.best = list(resume.history), resume.best
        elif start is not None:
            begin_at(self.training, start, request.anew)

    def checkpoint(self) -> Checkpoint:
        """The present state; its arrays change with the next step."""
        return Checkpoint(
            definition=self.definition,
            parameters=self.training.network.parameters,
            statistics=self.training.network.statistics,
            optimizer=self.optimizer,
            state=self.training.state(),
            history=self.history,
            rows=self.rows,
            best=self.best,
            created_at=utc_now(),
        )

    def best_checkpoint(self) -> Checkpoint:
        """The present state, with the parameters of the best epoch in place of the present ones."""
        assert self.best is not None
        assert self.best.epoch
        present = self.checkpoint()
        state = present.state
        if self.optimizer.average is not None:
            moments = {**state.moments, "average": dict(self.best.parameters)}
            state = replace(state, moments=moments, averaged_statistics=dict(self.best.statistics))
        return replace(present, parameters=self.best.parameters, statistics=self.best.statistics, state=state)

    def run(self, journal: Journal, clock: Callable[[], float] = monotonic) -> bool:
        """Train to the last epoch; False where the journal had the run stop, with its state saved.

        Raises nncore.DivergedError where a number turns non-finite.
        """
        request, training = self.request, self.training
        if not self._resumed and request.epochs:
            journal.checkpoint(self.checkpoint(), "first")
        due = clock() + request.every_seconds if request.every_seconds else math.inf
        end = clock() + request.max_seconds - self._seconds() if request.max_seconds else math.inf

        def interrupted() -> bool:
            return journal.stopping() or clock() >= min(due, end)

        while not self._over(clock() >= end):
            record = training.run_epoch(interrupted)
            if record is None and journal.stopping():
                journal.checkpoint(self.checkpoint(), "interrupted")
                return False
            if record is not None:
                self._take_note(record, journal)
            elif clock() >= end:
                continue
            between = record is None or (request.every_epochs and record.number % request.every_epochs == 0)
            if between and not self._over(clock() >= end):
                journal.checkpoint(self.checkpoint(), "between")
            if record is None and request.every_seconds:
                due = clock() + request.every_seconds
        self._finish(journal)
        return True

    def _seconds(self) -> float:
        """Seconds of training so far, by whichever process."""
        return sum(record.seconds for record in self.history) + self.training.state().seconds

    def _over(self, out_of_time: bool) -> bool:
        """Whether the run is at its end, and why."""
        stopping, self.stopped_by = self.request.early_stopping, None
        if self.training.epoch >= self.request.epochs:
            return True
        if stopping is not None and self.best is not None and self.best.waited >= stopping.patience:
            self.stopped_by = "early_stopping"
        elif out_of_time:
            self.stopped_by = "max_seconds"
        return self.stopped_by is not None

    def _take_note(self, record: Epoch, journal: Journal) -> None:
        self.history.append(record)
        if self.best is not None:
            self.best.observe(record, self.training)
        journal.epoch(record)

    def _finish(self, journal: Journal) -> None:
        """Save the last state and, where it is to be published and another one, that of the best epoch."""
        journal.checkpoint(self.checkpoint(), "last")
        if self.best is not None and self.best.epoch and self.request.ends_with_best:
            journal.checkpoint(self.best_checkpoint(), "best")


def watched(request: TrainingRequest, validated: bool) -> tuple[Monitor, float]:
    """What tells a run's best epoch, and by how much it has to be better.

    Raises InvalidError where rows would have to be held out for it, and none are.
    """
    stopping = request.early_stopping or EarlyStopping()
    if stopping.monitor is None:
        return ("validation_loss" if validated else "loss"), stopping.min_delta
    if stopping.monitor.startswith("validation") and not validated:
        raise InvalidError.at("/early_stopping/monitor", f"{stopping.monitor} needs validation, and none is asked for")
    return stopping.monitor, stopping.min_delta


def split_rows(labels: Array, request: TrainingRequest) -> tuple[Array, Array | None]:
    """Row numbers for training and, where a share is held out, those for validation.

    Raises InvalidError where the share leaves one side empty.
    """
    if request.validation_fraction is None:
        return np.arange(len(labels)), None
    try:
        return stratified_split(labels, request.validation_fraction, request.seed)
    except ValueError as error:
        raise InvalidError.at("/validation/fraction", str(error)) from None


def activation_bytes(definition: ModelDefinition, batch: int) -> int:
    """Memory of one batch's activations and their gradients: two numbers a sample and unit."""
    return 2 * batch * sum(layer_sizes(definition.layers, definition.inputs)) * np.dtype(definition.dtype).itemsize
