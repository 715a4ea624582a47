"""Training: runs mini-batch gradient descent and holds its state."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from time import perf_counter
from typing import Any, Literal, NamedTuple

import numpy as np

from nncore.arrays import Array, NamedVector, Workspace
from nncore.batches import MatrixRows, RowSource, gathered, with_ones
from nncore.kernels.kinds import Kind
from nncore.layer import Calls
from nncore.losses import CategoricalCrossentropy, Loss, class_weights, sparse_labels
from nncore.metrics import mean_log_loss, score
from nncore.network import PREDICTION_ROWS, Network, Predictor
from nncore.optimizers import Adam, Optimizer
from nncore.plan import BatchPlan, LabelledRows
from nncore.streams import generator_from_state, generator_state, stream
from nncore.updates import Updates

__all__ = ["DivergedError", "Epoch", "Training", "TrainingState", "train"]


@dataclass
class Epoch:
    """The record of one epoch.

    ``loss`` and ``accuracy`` are means over the batches, each measured before the batch's update. ``loss`` and
    ``validation_loss`` are the run's loss with the layers' penalties. ``validation_log_loss`` is the mean of
    ``-log max(p, 1e-7)`` over the validation rows, where p is the probability of the true class, whatever the run's
    loss is. The three values of validation are None if the epoch was not validated; a loss that is not finite is None
    too. ``learning_rate`` is that of the last update, ``seconds`` the duration of the epoch.
    """

    number: int
    loss: float
    accuracy: float
    validation_loss: float | None
    validation_accuracy: float | None
    learning_rate: float
    seconds: float
    validation_log_loss: float | None = None


class _Validation(NamedTuple):
    """What an epoch's record says of the validation rows."""

    loss: float | None = None
    accuracy: float | None = None
    log_loss: float | None = None


class DivergedError(ArithmeticError):
    """Raised if the loss, a gradient, a parameter or a statistic is not finite.

    ``step`` counts from 1. ``parameter`` is the first parameter or statistic that is not finite. If all are finite, it
    is the first parameter with a gradient that is not, or None.
    """

    def __init__(
        self,
        epoch: int,
        step: int,
        parameters: NamedVector,
        gradients: NamedVector,
        statistics: NamedVector | None = None,
    ) -> None:
        self.epoch, self.step = epoch, step
        self.parameter = parameters.first_non_finite() or (statistics.first_non_finite() if statistics else None)
        what = f"parameter {self.parameter}"
        if self.parameter is None:
            self.parameter = gradients.first_non_finite()
            what = f"the gradient of {self.parameter}" if self.parameter else "the loss"
        super().__init__(
            f"training diverged in step {step} (epoch {epoch}): {what} is not finite. "
            "A lower learning_rate or smaller input values usually help."
        )


@dataclass
class TrainingState:
    """Everything that a resumed run needs in addition to its parameters and data.

    ``step`` counts batches and ``updates`` the optimizer's updates. ``order`` is the order of the rows in the current
    epoch, and ``position`` is the number of rows used so far. ``loss_sum``, ``hits`` and ``seconds`` are the current
    epoch's totals so far. ``schedule`` is the state of the learning rate schedule. ``averaged_statistics`` is the
    moving average of the network's statistics if the optimizer averages the parameters. ``moments`` holds the
    optimizer's vectors, by vector name and then by parameter name.
    """

    epoch: int
    step: int
    updates: int
    position: int
    order: Array
    streams: dict[str, dict[str, Any]]
    loss_sum: float
    hits: int
    seconds: float
    schedule: dict[str, float] = field(default_factory=dict)
    averaged_statistics: dict[str, Array] = field(default_factory=dict)
    moments: dict[str, dict[str, Array]] = field(default_factory=dict)


def _never() -> bool:
    return False


class Training:
    """A run of mini-batch gradient descent that can stop between any two batches and resume with bit-identical results.

    - ``x`` has shape (n_samples, inputs), or is a source of such rows.
    - ``y`` holds class numbers (n_samples,) or one-hot rows (n_samples, classes).
    - ``batch_size`` is a number of rows, or "full" for all rows.
    - ``shuffle`` draws a new order of the rows for every epoch, from ``seed``. It has no effect if one batch holds all
      rows.
    - ``validation`` is a pair (x, y) that is scored, without weights, after every ``validate_every`` epochs.
    - ``weights`` has one weight per row; ``class_weights`` has one weight per class or is "balanced". Both multiply.
    - ``epochs`` is the planned number of epochs, which some learning rate schedules need.
    - ``threads`` is the number of threads for the updates of large networks. BLAS has its own threads for matrix
      products.
    - ``kernels`` is how the calls of a step run (see ``nncore.kernels.kinds``).

    Raises ValueError if the data does not fit the network.
    """

    def __init__(
        self,
        network: Network,
        x: Array | RowSource,
        y: Array,
        *,
        optimizer: Optimizer | None = None,
        loss: Loss | None = None,
        batch_size: int | Literal["full"] = 32,
        shuffle: bool = True,
        seed: int = 0,
        validation: tuple[Array | RowSource, Array] | None = None,
        weights: Array | None = None,
        class_weights: Literal["balanced"] | Sequence[float] | None = None,
        epochs: float = math.inf,
        threads: int = 1,
        validate_every: int = 1,
        kernels: Kind = "numpy",
    ) -> None:
        self.kernels = kernels
        self.network, self.optimizer, self.loss = network, optimizer or Adam(), loss or CategoricalCrossentropy()
        if batch_size != "full" and batch_size < 1:
            raise ValueError(f"batch_size must be at least 1. Received: {batch_size}")
        if validate_every < 1:
            raise ValueError(f"validate_every must be at least 1. Received: {validate_every}")
        self.samples, self.epochs, self.validate_every = _rows_of(x), epochs, validate_every
        self.batch_size = self.samples if batch_size == "full" else min(batch_size, self.samples)
        # Gathering rows into batches is fast if each row is contiguous. A full batch is read in place, so it is stored
        # features-first, as the plan needs it.
        order: Literal["C", "F"] = "F" if self.batch_size == self.samples else "C"
        self._rows, labels = _checked_data(network, x, np.asarray(y), "x", order)
        self._labels, self._weights = labels, _row_weights(network, labels, weights, class_weights)
        self.shuffle = shuffle and self.batch_size < self.samples
        self.validation: tuple[RowSource, Array] | None = None
        if validation is not None:
            self.validation = _checked_data(network, validation[0], np.asarray(validation[1]), "validation x")

        self.epoch = self.step = self.position = 0
        self._loss_sum, self._hits, self._seconds = 0.0, 0, 0.0
        self._rate, self._regularized = math.nan, network.regularized
        self._schedule_state = self.optimizer.schedule.initial_state()
        self._order_stream = stream(seed, "order")
        self._noise_stream = stream(seed, "noise")
        self._order = self._next_order()

        self._gradients = NamedVector.zeros(network.parameters.shapes, network.dtype)
        self._updates = Updates(network, self.optimizer, self._gradients, threads, kernels)
        served = {**self._updates.evaluated, **self._updates.evaluated_statistics}
        self._evaluated = Predictor(network.layers, network.inputs, served)
        self._workspace = Workspace(network.dtype)
        #: The numbers of a batch's rows.
        self._chosen = np.empty(self.batch_size, np.intp)
        self._plans: dict[int, BatchPlan] = {}
        self._current = self._plan(self.batch_size)

    @property
    def steps_per_epoch(self) -> int:
        """Number of batches per epoch."""
        return -(-self.samples // self.batch_size)

    def run_epoch(self, interrupted: Callable[[], bool] = _never) -> Epoch | None:
        """Train to the end of the current epoch and return its record.

        ``interrupted`` is called before each batch. If it returns True, training stops and the result is None. Raises
        DivergedError if the loss or a clipped gradient is not finite after a batch, or if a parameter or a statistic is
        not finite at the end of the epoch or at an interruption.
        """
        begin = perf_counter()
        with np.errstate(all="ignore"):  # Non-finite values are detected below.
            while self.position < self.samples:
                if interrupted():
                    self._require_finite()
                    self._seconds += perf_counter() - begin
                    return None
                self._run_batch()
            self._require_finite()
            validated = self.validates(self.epoch + 1)
            validation = self._validate() if validated else _Validation()
        self.epoch += 1
        record = Epoch(
            number=self.epoch,
            loss=self._loss_sum / self.samples,
            accuracy=self._hits / self.samples,
            validation_loss=validation.loss,
            validation_accuracy=validation.accuracy,
            validation_log_loss=validation.log_loss,
            learning_rate=self._rate,
            seconds=self._seconds + perf_counter() - begin,
        )
        self.position, self._loss_sum, self._hits, self._seconds = 0, 0.0, 0, 0.0
        if validated or self.validation is None:
            watched = validation.loss if validated else record.loss
            watched = math.nan if watched is None else watched
            self._schedule_state = self.optimizer.schedule.observe(self._schedule_state, watched)
        # Drawn now, so that a state taken between two epochs contains the next order.
        self._order = self._next_order()
        return record

    def validates(self, epoch: int) -> bool:
        """Return whether the validation rows are scored after this epoch, counted from 1."""
        return self.validation is not None and epoch % self.validate_every == 0

    def predict_proba(self, x: Array | RowSource) -> Array:
        """Return probabilities (n_samples, n_classes) by the evaluated parameters and statistics.

        ``x`` is a matrix (n_samples, inputs) or a source of rows. Raises ValueError if it does not fit the network.
        """
        if isinstance(x, (np.ndarray, list)):
            return self._evaluated.predict_proba(np.asarray(x))
        # As many rows at a time as the predictor takes, so that features are made for these alone.
        starts = range(0, max(x.samples, 1), PREDICTION_ROWS)
        found = [self._evaluated.predict_proba(x.expanded(start, start + PREDICTION_ROWS)) for start in starts]
        return found[0] if len(found) == 1 else np.concatenate(found)

    def _require_finite(self) -> None:
        network = self.network
        if network.parameters.first_non_finite() or network.statistics.first_non_finite():
            raise DivergedError(self.epoch + 1, self.step, network.parameters, self._gradients, network.statistics)

    def state(self) -> TrainingState:
        """Return the current state; its arrays are views that the next step changes."""
        return TrainingState(
            epoch=self.epoch,
            step=self.step,
            updates=self._updates.count,
            position=self.position,
            order=self._order,
            streams={
                "order": generator_state(self._order_stream),
                "noise": generator_state(self._noise_stream),
            },
            loss_sum=self._loss_sum,
            hits=self._hits,
            seconds=self._seconds,
            schedule=dict(self._schedule_state),
            averaged_statistics=dict(self._updates.averaged_statistics or {}),
            moments={name: dict(vector) for name, vector in self._updates.vectors.items()},
        )

    def restore(self, state: TrainingState) -> None:
        """Continue from ``state``, taken from a run with the same data and settings.

        Raises ValueError if the state does not fit this run.
        """
        if sorted(state.order.tolist()) != list(range(self.samples)):
            raise ValueError(f"order must hold each of the {self.samples} rows once. Received: {state.order.shape}")
        self.restore_moments(state)
        self.epoch, self.position = state.epoch, state.position
        self._schedule_state = dict(state.schedule)
        self._order = state.order.astype(np.intp)
        self._order_stream = generator_from_state(state.streams["order"])
        if "noise" in state.streams:  # Optional, because a run without noise layers does not use it.
            # The generator is changed in place because the plans hold a reference to it.
            self._noise_stream.bit_generator.state = generator_from_state(state.streams["noise"]).bit_generator.state
        self._loss_sum, self._hits, self._seconds = state.loss_sum, state.hits, state.seconds

    def restore_moments(self, state: TrainingState) -> None:
        """Restore only the optimizer's vectors and counts from ``state``.

        Raises ValueError if the vectors are not those of this optimizer.
        """
        vectors = self._updates.vectors
        if state.moments.keys() != vectors.keys():
            raise ValueError(f"the optimizer keeps {sorted(vectors)}. Received: {sorted(state.moments)}")
        for name, arrays in state.moments.items():
            vectors[name].fill_from(arrays)
        if self._updates.averaged_statistics is not None:
            self._updates.averaged_statistics.fill_from(state.averaged_statistics)
        self.step, self._updates.count = state.step, state.updates

    @property
    def evaluated(self) -> NamedVector:
        """The parameters for evaluation and serving: the optimizer's moving average, or the parameters without one."""
        return self._updates.evaluated

    @property
    def evaluated_statistics(self) -> NamedVector:
        """The statistics that belong to ``evaluated``."""
        return self._updates.evaluated_statistics

    def _run_batch(self) -> None:
        start, stop = self.position, min(self.position + self.batch_size, self.samples)
        plan = self._current
        if plan.samples != stop - start:
            plan = self._current = self._plan(stop - start)
            plan.take_over()
        if not plan.fixed:
            self._chosen[: plan.samples] = self._order[start:stop]
        plan.run()
        loss_sum = plan.loss_sum
        if self._regularized:
            loss_sum += self.network.penalty() * plan.samples
        if not (math.isfinite(loss_sum) and self._update(start, stop)):
            raise DivergedError(self.epoch + 1, self.step + 1, self.network.parameters, self._gradients)
        self._loss_sum += loss_sum
        self._hits += plan.hits
        self.step += 1
        self.position = stop

    def _gather_calls(self, batch: LabelledRows) -> Calls:
        """Return the calls that copy the chosen rows into a batch's buffers."""
        chosen = self._chosen[: len(batch.labels)]
        calls = self._rows.gather_calls(chosen, batch.rows)
        calls.append(partial(self._labels.take, chosen, out=batch.labels, mode="clip"))
        if self._weights is not None:
            calls.append(partial(self._weights.take, chosen, out=batch.weights, mode="clip"))
        return calls

    def _update(self, start: int, stop: int) -> bool:
        """Update the parameters, or accumulate the gradients of the batch; return False if a gradient is not finite."""
        together = self.optimizer.accumulate
        if together > 1:
            self._updates.accumulate(stop - start)
            batch = start // self.batch_size
            if (batch + 1) % together and stop < self.samples:
                return True
            self._updates.average_accumulated(stop - batch // together * together * self.batch_size)
        time = self.epoch + start / self.samples
        self._rate = self.optimizer.learning_rate_at(self._updates.count, time, self.epochs, self._schedule_state)
        return self._updates.apply(self._rate)

    def _plan(self, samples: int) -> BatchPlan:
        if samples not in self._plans:
            self._plans[samples] = BatchPlan(
                self.network,
                self._gradients,
                samples,
                self._workspace,
                self._noise_stream,
                self.loss,
                self._fixed_data() if samples == self.samples else None,
                weighted=self._weights is not None,
                gather=self._gather_calls,
                kind=self.kernels,
            )
        return self._plans[samples]

    def _fixed_data(self) -> LabelledRows:
        """All rows as the one batch that they are."""
        if isinstance(self._rows, MatrixRows):
            return LabelledRows(self._rows.rows, self._labels, self._weights)
        rows = np.asfortranarray(gathered(self._rows, np.arange(self.samples)))
        return LabelledRows(rows, self._labels, self._weights)

    def _next_order(self) -> Array:
        return self._order_stream.permutation(self.samples) if self.shuffle else np.arange(self.samples)

    def _validate(self) -> _Validation:
        """Return the scores of the validation rows; a loss that is not finite is None."""
        assert self.validation is not None
        rows, labels = self.validation
        probabilities = self.predict_proba(rows)
        loss, accuracy = score(probabilities, labels, self.loss)
        loss += self.network.penalty(self.evaluated) if self.network.regularized else 0.0
        log_loss = mean_log_loss(probabilities, labels)
        return _Validation(
            loss if math.isfinite(loss) else None, accuracy, log_loss if math.isfinite(log_loss) else None
        )


def _rows_of(x: Array | RowSource) -> int:
    return len(x) if isinstance(x, (np.ndarray, list)) else x.samples


def _checked_data(
    network: Network, x: Array | RowSource, y: Array, name: str, order: Literal["C", "F"] = "C"
) -> tuple[RowSource, Array]:
    """A source of rows, and class numbers (n_samples,); raises ValueError unless they fit the network."""
    if isinstance(x, (np.ndarray, list)):
        matrix = np.asarray(x)
        shape = matrix.shape
    else:
        shape = x.samples, x.inputs
    if len(shape) != 2 or shape[1] != network.inputs or not shape[0]:
        raise ValueError(f"{name} must have shape (n_samples, {network.inputs}), n_samples ≥ 1. Received: {shape}")
    labels = sparse_labels(y, network.classes)
    if len(labels) != shape[0]:
        raise ValueError(f"{name} has {shape[0]} rows, so y must have {shape[0]} labels. Received: {len(labels)}")
    if isinstance(x, (np.ndarray, list)):
        return MatrixRows(with_ones(matrix, network.dtype, order)), labels
    return x, labels


def _row_weights(
    network: Network,
    labels: Array,
    weights: Array | None,
    by_class: Literal["balanced"] | Sequence[float] | None,
) -> Array | None:
    """Return one weight per row in the network's dtype, or None if all weights are 1."""
    if weights is None and by_class is None:
        return None
    found = np.ones(len(labels)) if weights is None else np.asarray(weights, np.float64)
    if found.shape != labels.shape or not np.isfinite(found).all() or (found < 0).any():
        raise ValueError(
            f"weights must be {len(labels)} numbers of at least 0, one per row. Received: array of {found.shape}"
        )
    if by_class is not None:
        found = found * class_weights(by_class, labels, network.classes)[labels]
    return found.astype(network.dtype)


def train(
    network: Network,
    x: Array | RowSource,
    y: Array,
    *,
    optimizer: Optimizer | None = None,
    loss: Loss | None = None,
    epochs: int = 1,
    batch_size: int | Literal["full"] = 32,
    shuffle: bool = True,
    seed: int = 0,
    validation: tuple[Array | RowSource, Array] | None = None,
    weights: Array | None = None,
    class_weights: Literal["balanced"] | Sequence[float] | None = None,
    threads: int = 1,
    validate_every: int = 1,
    kernels: Kind = "numpy",
) -> Iterator[Epoch]:
    """Train ``network`` in place and yield one record per epoch; the arguments are those of ``Training``."""
    training = Training(
        network,
        x,
        y,
        optimizer=optimizer,
        loss=loss,
        batch_size=batch_size,
        shuffle=shuffle,
        seed=seed,
        validation=validation,
        weights=weights,
        class_weights=class_weights,
        epochs=epochs,
        threads=threads,
        validate_every=validate_every,
        kernels=kernels,
    )
    # Training holds copies. If the caller keeps no reference, this frees the originals.
    del x, y, validation, weights
    for _ in range(epochs):
        epoch = training.run_epoch()
        assert epoch is not None
        yield epoch
