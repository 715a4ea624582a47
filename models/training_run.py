"""One training run, from its start or its newest checkpoint to its last epoch."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import Literal, Protocol

import numpy as np

from models.checkpoints import Checkpoint
from models.clock import utc_now
from models.datasets import Dataset
from models.definitions import ModelDefinition
from models.errors import InvalidError
from models.training_request import TrainingRequest
from nncore.arrays import Array
from nncore.batches import stratified_split
from nncore.network import layer_sizes
from nncore.training import DivergedError, Epoch, Training

__all__ = [
    "CheckpointKind",
    "DivergedError",
    "Epoch",
    "Journal",
    "TrainingRun",
    "activation_bytes",
    "split_rows",
]

#: Why a checkpoint was taken: before the first step, on the way, because the run was told to stop, after the last.
CheckpointKind = Literal["first", "between", "interrupted", "last"]


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
    run whose weights, and with an equal optimizer its state, are the beginning of this one. Raises InvalidError for
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
    ) -> None:
        self.definition, self.request = definition, request
        self.optimizer = request.optimizer or definition.optimizer
        labels = data.codes_for(definition.classes, "/data/labels")
        self.rows, held_out = split_rows(labels, request)
        validation_pair: tuple[Array, Array] | None = None
        if held_out is not None:
            validation_pair = data.inputs[held_out], labels[held_out]
        elif validation is not None:
            validation_pair = validation.inputs, validation.codes_for(definition.classes, "/validation/labels")
        self.training = Training(
            definition.network(request.seed),
            data.inputs if held_out is None else data.inputs[self.rows],
            labels[self.rows],
            optimizer=self.optimizer,
            batch_size=request.batch_size,
            shuffle=request.shuffle,
            seed=request.seed,
            validation=validation_pair,
        )
        self.history: list[Epoch] = []
        self._resumed = resume is not None
        if resume is not None:
            self.training.network.parameters.fill_from(resume.parameters)
            self.training.network.statistics.fill_from(resume.statistics)
            self.training.restore(resume.state)
            self.history = list(resume.history)
        elif start is not None:
            self.training.network.parameters.fill_from(start.parameters)
            self.training.network.statistics.fill_from(start.statistics)
            if start.optimizer == self.optimizer:
                self.training.restore_moments(start.state.moments, start.state.step)

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
            created_at=utc_now(),
        )

    def run(self, journal: Journal, clock: Callable[[], float] = monotonic) -> bool:
        """Train to the last epoch; False where the journal had the run stop, with its state saved.

        Raises nncore.DivergedError where a number turns non-finite.
        """
        request, training = self.request, self.training
        if not self._resumed:
            journal.checkpoint(self.checkpoint(), "first")
        due = clock() + request.every_seconds if request.every_seconds else None

        def interrupted() -> bool:
            return journal.stopping() or (due is not None and clock() >= due)

        while training.epoch < request.epochs:
            record = training.run_epoch(interrupted)
            if record is None and journal.stopping():
                journal.checkpoint(self.checkpoint(), "interrupted")
                return False
            if record is not None:
                self.history.append(record)
                journal.epoch(record)
            between = record is None or (request.every_epochs and record.number % request.every_epochs == 0)
            if between and training.epoch < request.epochs:
                journal.checkpoint(self.checkpoint(), "between")
            if record is None and request.every_seconds:
                due = clock() + request.every_seconds
        journal.checkpoint(self.checkpoint(), "last")
        return True


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
