"""One training run, from its start or a checkpoint to its last epoch."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import Any, Literal, Protocol

import numpy as np

from models.clock import utc_now
from models.definition.definition import ModelDefinition
from models.training.best_epoch import BestEpoch
from models.training.checkpoint import METRICS, Checkpoint, CheckpointKind
from models.training.prepared import Prepared
from models.training.request import TrainingRequest
from models.training.warm_start import begin_at
from nncore.best import Best
from nncore.kernels.kinds import Kind
from nncore.network import layer_sizes
from nncore.stopping import Monitor
from nncore.training import DivergedError, Epoch, Training

__all__ = [
    "DivergedError",
    "Epoch",
    "Journal",
    "Monitor",
    "RunProgress",
    "TrainingRun",
    "activation_bytes",
]


@dataclass(frozen=True)
class RunProgress:
    """How far a run is: epochs and steps so far, the done ``fraction`` of it, and its newest metrics by name."""

    epoch: int
    step: int
    fraction: float
    metrics: dict[str, float | None] | None


class Journal(Protocol):
    """Receives the progress of a run, and may ask the run to stop."""

    def stopping(self) -> bool:
        """Whether the run should save its state and stop; called before each batch."""

    def epoch(self, record: Epoch) -> None:
        """Called when an epoch has ended."""

    def checkpoint(self, checkpoint: Checkpoint, kind: CheckpointKind) -> None:
        """Called to save a state; its arrays change with the next step."""


class TrainingRun:
    """A model in training on prepared rows, of which the run makes a copy in the model's dtype.

    ``resume`` is a checkpoint of this run, from which it continues to the same bits. ``start`` is a checkpoint of
    another run; this one begins with its weights and, if the optimizers are equal, with its optimizer state.
    ``threads`` work on the updates in addition to the threads of BLAS, and do not change any bit of the result.
    ``kernels`` is how the calls of its steps run.
    """

    def __init__(
        self,
        request: TrainingRequest,
        prepared: Prepared,
        *,
        start: Checkpoint | None = None,
        resume: Checkpoint | None = None,
        threads: int = 1,
        kernels: Kind = "numpy",
    ) -> None:
        definition = self.definition = prepared.definition
        self.request, self.fitted, self.kernels = request, prepared.fitted, kernels
        self.optimizer = request.optimizer or definition.optimizer
        #: The training rows' numbers in the data as given.
        self.rows = prepared.rows
        #: The value that decides which epoch is the best.
        self.monitor = prepared.monitor
        inputs, codes, weights = prepared.training_part()
        validation = prepared.validation_part()
        self.training = Training(
            definition.network(request.seed),
            inputs,
            codes,
            optimizer=self.optimizer,
            loss=request.loss or definition.loss,
            batch_size=request.batch_size,
            shuffle=request.shuffle,
            seed=request.seed,
            validation=None if validation is None else (validation.inputs, validation.codes),
            weights=weights,
            class_weights=prepared.class_weights,
            epochs=request.epochs,
            threads=threads,
            validate_every=request.validate_every,
            kernels=kernels,
        )
        self.history: list[Epoch] = []
        self.best = Best(prepared.monitor, prepared.min_delta) if request.tracks_best else None
        #: The best epoch of a run that need not keep it.
        self._lowest = BestEpoch(prepared.monitor)
        #: What ended the run before its last epoch; None if it was not ended early.
        self.stopped_by: Literal["early_stopping", "max_seconds"] | None = None
        self._resumed = resume is not None
        if resume is not None:
            self.training.network.parameters.fill_from(resume.parameters)
            self.training.network.statistics.fill_from(resume.statistics)
            self.training.restore(resume.state)
            self.history, self.best = list(resume.history), resume.best
            for record in self.history if self.best is None else ():
                self._lowest.observe(record)
        elif start is not None:
            begin_at(self.training, start, request.reinitialize)

    def checkpoint(self) -> Checkpoint:
        """The current state; its arrays change with the next step."""
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
            features=self.fitted,
            kernels=self.kernels,
        )

    def progress(self) -> RunProgress:
        """How far the run is."""
        training, epochs = self.training, self.request.epochs
        done = training.epoch + training.position / training.samples
        metrics = _metrics(self.history[-1]) if self.history else None
        return RunProgress(training.epoch, training.step, min(1.0, done / epochs) if epochs else 1.0, metrics)

    @property
    def planned(self) -> dict[int, int]:
        """The most epochs of each member, which is the only one and has the number 0."""
        return {0: self.request.epochs}

    def best_epochs(self) -> dict[int, Epoch]:
        """The best epoch so far of each member that has one."""
        number = 0 if self.best is None else self.best.epoch
        best = self._lowest.record if self.best is None else self.history[number - 1] if number else None
        return {} if best is None else {0: best}

    def metrics_of(self, kind: CheckpointKind) -> dict[str, float | None]:
        """The metrics of the epoch whose parameters a checkpoint of this kind holds; empty before the first epoch.

        A checkpoint of the best epoch is saved when later ones have ended, so its metrics name their ``epoch``.
        """
        best = self.best.epoch if kind is CheckpointKind.BEST and self.best is not None else 0
        epoch = best or len(self.history)
        found = _metrics(self.history[epoch - 1]) if epoch else {}
        return {**found, "epoch": best} if best else found

    def details(self) -> dict[str, Any]:
        """What a job shows of its run beside its progress."""
        best = self.best
        known = None
        if best is not None and best.value is not None:
            known = {"epoch": best.epoch, "monitor": best.monitor, "value": best.value}
        return {"best": known, "stopped_by": self.stopped_by, "kernels": self.kernels}

    def rows_of(self, _member: int = 0) -> int:
        """How many rows an epoch trains on."""
        return len(self.rows)

    def run(self, journal: Journal, clock: Callable[[], float] = monotonic) -> bool:
        """Train to the last epoch; False if the journal asked the run to stop, and its state is saved.

        Raises DivergedError if a number turns non-finite.
        """
        request, training = self.request, self.training
        if not self._resumed and request.epochs:
            journal.checkpoint(self.checkpoint(), CheckpointKind.FIRST)
        due = clock() + request.every_seconds if request.every_seconds else math.inf
        end = clock() + request.max_seconds - self._seconds() if request.max_seconds else math.inf

        def interrupted() -> bool:
            return journal.stopping() or clock() >= min(due, end)

        while not self._over(clock() >= end):
            record = training.run_epoch(interrupted)
            if record is None and journal.stopping():
                journal.checkpoint(self.checkpoint(), CheckpointKind.INTERRUPTED)
                return False
            if record is not None:
                self._observe(record, journal)
            elif clock() >= end:
                continue
            between = record is None or (request.every_epochs and record.number % request.every_epochs == 0)
            if between and not self._over(clock() >= end):
                journal.checkpoint(self.checkpoint(), CheckpointKind.BETWEEN)
            if record is None and request.every_seconds:
                due = clock() + request.every_seconds
        self._finish(journal)
        return True

    def _seconds(self) -> float:
        """Seconds of training so far, in all processes that ran it."""
        return sum(record.seconds for record in self.history) + self.training.state().seconds

    def _over(self, out_of_time: bool) -> bool:
        """Whether the run has reached its end; sets ``stopped_by``."""
        stopping, best, self.stopped_by = self.request.early_stopping, self.best, None
        if self.training.epoch >= self.request.epochs:
            return True
        if stopping is not None and best is not None and stopping.ends(best.waited, best.waited_steps):
            self.stopped_by = "early_stopping"
        elif out_of_time:
            self.stopped_by = "max_seconds"
        return self.stopped_by is not None

    def _observe(self, record: Epoch, journal: Journal) -> None:
        self.history.append(record)
        if self.best is not None:
            self.best.observe(record, self.training)
        else:
            self._lowest.observe(record)
        journal.epoch(record)

    def _finish(self, journal: Journal) -> None:
        """Save the last state and, if the run ends with the best epoch, that one's state too."""
        journal.checkpoint(self.checkpoint(), CheckpointKind.LAST)
        if self.best is not None and self.best.epoch and self.request.ends_with_best:
            journal.checkpoint(self.checkpoint().at_best(), CheckpointKind.BEST)


def _metrics(record: Epoch) -> dict[str, float | None]:
    return {name: getattr(record, name) for name in METRICS}


def activation_bytes(definition: ModelDefinition, batch: int) -> int:
    """Memory of one batch's activations and their gradients: two numbers for each row and unit."""
    return 2 * batch * sum(layer_sizes(definition.layers, definition.inputs)) * np.dtype(definition.dtype).itemsize
