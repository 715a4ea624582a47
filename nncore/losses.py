"""Losses of a classifier: cross-entropy and focal loss, alone and fused with the softmax before them.

ŷ is kept at 1e-7 or more where its logarithm is taken; gradients are those of the mean over samples. Samples may have
weights, which multiply their losses; the mean still divides by the number of samples.

To add a loss: one class here, one line in ``LOSSES`` at the foot, one case in ``testing/cases.py``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal, NamedTuple

import numpy as np

from nncore.arrays import Array, Workspace
from nncore.hyperparameters import check_hyperparameters, hyperparameter
from nncore.layers import Calls, Signal, Softmax

__all__ = ["LOSSES", "CategoricalCrossentropy", "FocalLoss", "FusedPlan", "Loss", "class_weights", "sparse_labels"]

#: Probabilities below this are taken as this, so that a confident error costs 16 nats and not infinity.
FLOOR = 1e-7


def sparse_labels(labels: Array, classes: int) -> Array:
    """Class numbers of shape (n_samples,) from class numbers or from one-hot rows of shape (n_samples, classes).

    Raises ValueError for another shape, a row that is not one-hot, or a class outside ``0…classes-1``.
    """
    if labels.ndim == 2:
        if labels.shape[1] != classes:
            raise ValueError(f"one-hot labels must have {classes} columns. Received: {labels.shape[1]}")
        good = ((labels == 0) | (labels == 1)).all(axis=1) & ((labels == 1).sum(axis=1) == 1)
        if not good.all():
            row = int(np.argmin(good))
            raise ValueError(f"row {row} is not one-hot. Received: {labels[row].tolist()}")
        numbers: Array = np.argmax(labels, axis=1)
        return numbers
    if labels.ndim != 1 or (labels.size and labels.dtype.kind not in "iu"):
        raise ValueError(f"labels must be whole numbers or one-hot rows. Received: {labels.dtype} of {labels.shape}")
    sparse = labels.astype(np.intp)
    if sparse.size and not 0 <= sparse.min() <= sparse.max() < classes:
        row = int(np.argmax((sparse < 0) | (sparse >= classes)))
        raise ValueError(f"label {row} must be from 0 to {classes - 1}. Received: {int(sparse[row])}")
    return sparse


def class_weights(wanted: Literal["balanced"] | Sequence[float], labels: Array, classes: int) -> Array:
    """A weight for each class, float64: as given, or by ``n_samples / (classes that occur · rows of the class)``.

    Raises ValueError where there is not one finite weight, 0 or more, for each class.
    """
    if wanted == "balanced":
        counts = np.bincount(labels, minlength=classes)
        return np.where(counts > 0, len(labels) / (np.count_nonzero(counts) * np.maximum(counts, 1)), 0.0)
    weights = np.asarray(wanted, np.float64)
    if weights.shape != (classes,) or not np.isfinite(weights).all() or (weights < 0).any():
        raise ValueError(f"class weights must be {classes} numbers, 0 or more. Received: {wanted!r}")
    return weights


@dataclass(frozen=True)
class FusedPlan:
    """Softmax and loss of one batch as calls, and where their results lie after each run.

    ``total`` is minus the sum of the batch's losses, ``hits`` tells which samples are classified right.
    """

    forward: Calls
    backward: Calls
    total: Array
    hits: Array


class Batch(NamedTuple):
    """What the losses of one batch are made from: arrays of a plan, features-first, filled by its softmax.

    ``chosen`` is the probability of each sample's true class, ``log`` its logarithm; ``scale`` what every sample's
    gradient is to be multiplied with, its weight by ``1/n_samples``.
    """

    values: Array
    gradient: Array
    chosen: Array
    log: Array
    scale: Array


class LossCalls(NamedTuple):
    """A loss in a plan: ``forward`` fills ``losses`` with minus each sample's loss, ``backward`` fills the gradient.

    The gradient is that of the logits, scaled, for all classes but the true one; what belongs there is left in
    ``at_true``, (n_samples,).
    """

    forward: Calls
    losses: Array
    backward: Calls
    at_true: Array


@dataclass(frozen=True)
class Loss(ABC):
    """A number to be made small for each sample, from its probabilities and its true class."""

    def __post_init__(self) -> None:
        check_hyperparameters(self)

    @abstractmethod
    def forward(self, probabilities: Array, labels: Array) -> Array:
        """The loss of each sample; labels are sparse (n_samples,) or one-hot (n_samples, n_classes)."""

    @abstractmethod
    def backward(self, probabilities: Array, labels: Array) -> Array:
        """``∂L/∂ŷ`` of the mean over samples, of the shape of ``probabilities``."""

    @abstractmethod
    def plan_losses(self, batch: Batch, workspace: Workspace) -> LossCalls:
        """The calls from a batch's probabilities to its losses and to the gradient of its logits."""

    def plan_fused(
        self, logits: Signal, labels: Array, workspace: Workspace, weights: Array | None = None
    ) -> FusedPlan:
        """The calls from logits to loss and back to the logits' gradient, of the mean over samples.

        ``labels`` is the buffer, (n_samples,) of integers, that holds each batch's true classes, ``weights`` the one
        of its samples' weights. The probabilities take the place of the logits in ``logits.values``.
        """
        values, gradient = logits.values, logits.gradient
        assert gradient is not None
        samples = values.shape[1]
        flat, flat_gradient = values.reshape(-1), gradient.reshape(-1)
        columns, samples_scalar = np.arange(samples), np.array(samples)
        place = workspace.array((samples,), np.intp)
        predicted = workspace.array((samples,), np.intp)
        hits = workspace.array((samples,), np.bool_)
        chosen, log = workspace.array((samples,)), workspace.array((samples,))
        total = np.zeros((), values.dtype)
        floor, share = np.full(samples, FLOOR, values.dtype), np.array(1.0 / samples, values.dtype)
        scale = share if weights is None else workspace.array((samples,))
        calls = self.plan_losses(Batch(values, gradient, chosen, log, scale), workspace)
        forward: Calls = [
            *Softmax().forward_calls(values, values, workspace),
            partial(values.argmax, axis=0, out=predicted),
            partial(np.equal, predicted, labels, out=hits),
            partial(np.multiply, labels, samples_scalar, out=place),
            partial(np.add, place, columns, out=place),
            partial(flat.take, place, out=chosen, mode="clip"),
            partial(np.maximum, chosen, floor, out=log),
            partial(np.log, log, out=log),
            *calls.forward,
        ]
        losses = calls.losses
        if weights is not None:
            losses = workspace.array((samples,))
            forward.append(partial(np.multiply, calls.losses, weights, out=losses))
            forward.append(partial(np.multiply, weights, share, out=scale))
        forward.append(partial(np.add.reduce, losses, out=total))
        backward: Calls = [*calls.backward, partial(flat_gradient.__setitem__, place, calls.at_true)]
        return FusedPlan(forward, backward, total, hits)


@dataclass(frozen=True)
class CategoricalCrossentropy(Loss):
    """``L_i = -Σ_j t_ij log ŷ_ij``, t being 1 for the true class and 0 else.

    With ``label_smoothing`` α, ``t_ij = (1-α)y_ij + α/n_classes`` (Szegedy et al. 2016, section 7).
    """

    label_smoothing: float = hyperparameter(
        0.0, minimum=0.0, below=1.0, help="Share of each label that is spread over all classes."
    )

    def forward(self, probabilities: Array, labels: Array) -> Array:
        _, chosen = _true(probabilities, labels)
        losses: Array = -np.log(np.maximum(chosen, FLOOR))
        if self.label_smoothing:
            spread = -np.log(np.maximum(probabilities, FLOOR)).mean(axis=1)
            losses = (1.0 - self.label_smoothing) * losses + self.label_smoothing * spread
        return losses

    def backward(self, probabilities: Array, labels: Array) -> Array:
        samples, classes = probabilities.shape
        true_class, chosen = _true(probabilities, labels)
        gradient = np.zeros_like(probabilities)
        if self.label_smoothing:
            gradient -= self.label_smoothing / (classes * samples) / np.maximum(probabilities, FLOOR)
        gradient[np.arange(samples), true_class] -= (1.0 - self.label_smoothing) / (np.maximum(chosen, FLOOR) * samples)
        return gradient

    def plan_losses(self, batch: Batch, workspace: Workspace) -> LossCalls:
        values, gradient, chosen, log, scale = batch
        at_true = workspace.array(chosen.shape)
        number = partial(np.array, dtype=values.dtype)
        smoothing, rest = self.label_smoothing, self.label_smoothing / len(values)
        backward: Calls = [
            partial(np.subtract, chosen, number(1.0 - smoothing + rest), out=at_true),
            partial(np.multiply, at_true, scale, out=at_true),
        ]
        if not smoothing:
            return LossCalls([], log, [*backward, partial(np.multiply, values, scale, out=gradient)], at_true)
        losses = workspace.array(chosen.shape)
        forward: Calls = [
            partial(np.maximum, values, number(FLOOR), out=gradient),
            partial(np.log, gradient, out=gradient),
            partial(np.add.reduce, gradient, axis=0, out=losses),
            partial(np.multiply, losses, number(rest), out=losses),
            partial(np.multiply, log, number(1.0 - smoothing), out=log),
            partial(np.add, losses, log, out=losses),
        ]
        backward += [
            partial(np.subtract, values, number(rest), out=gradient),
            partial(np.multiply, gradient, scale, out=gradient),
        ]
        return LossCalls(forward, losses, backward, at_true)


@dataclass(frozen=True)
class FocalLoss(Loss):
    """``L_i = -(1-ŷ_ik)^γ log ŷ_ik``, k the true class (Lin et al. 2017): cross-entropy that minds easy samples less.

    ``∂L_i/∂z_ij = f(ŷ_ij - y_ij)`` with ``f = (1-ŷ_ik)^γ - γ ŷ_ik (1-ŷ_ik)^(γ-1) log ŷ_ik``. ``1-ŷ`` is kept at 1e-7
    or more too.
    """

    gamma: float = hyperparameter(2.0, minimum=0.0, maximum=100.0, help="How much less easy samples count.")

    def forward(self, probabilities: Array, labels: Array) -> Array:
        _, chosen = _true(probabilities, labels)
        losses: Array = -(np.maximum(1.0 - chosen, FLOOR) ** self.gamma) * np.log(np.maximum(chosen, FLOOR))
        return losses

    def backward(self, probabilities: Array, labels: Array) -> Array:
        samples = len(probabilities)
        true_class, chosen = _true(probabilities, labels)
        chosen, rest = np.maximum(chosen, FLOOR), np.maximum(1.0 - chosen, FLOOR)
        slope = self.gamma * rest ** (self.gamma - 1.0) * np.log(chosen) - rest**self.gamma / chosen
        gradient = np.zeros_like(probabilities)
        gradient[np.arange(samples), true_class] = slope / samples
        return gradient

    def plan_losses(self, batch: Batch, workspace: Workspace) -> LossCalls:
        values, gradient, chosen, log, scale = batch
        number = partial(np.array, dtype=values.dtype)
        rest, power, losses, factor, at_true = (workspace.array(chosen.shape) for _ in range(5))
        forward: Calls = [
            partial(np.subtract, number(1.0), chosen, out=rest),
            partial(np.maximum, rest, number(FLOOR), out=rest),
            partial(np.power, rest, number(self.gamma), out=power),
            partial(np.multiply, power, log, out=losses),
        ]
        backward: Calls = [
            partial(np.multiply, chosen, losses, out=factor),
            partial(np.divide, factor, rest, out=factor),
            partial(np.multiply, factor, number(self.gamma), out=factor),
            partial(np.subtract, power, factor, out=factor),
            partial(np.multiply, factor, scale, out=factor),
            partial(np.multiply, values, factor, out=gradient),
            partial(np.subtract, chosen, number(1.0), out=at_true),
            partial(np.multiply, at_true, factor, out=at_true),
        ]
        return LossCalls(forward, losses, backward, at_true)


def _true(probabilities: Array, labels: Array) -> tuple[Array, Array]:
    """The true class of each sample, and its probability."""
    true_class = sparse_labels(labels, probabilities.shape[1])
    return true_class, np.take_along_axis(probabilities, true_class[:, np.newaxis], axis=1)[:, 0]


LOSSES: dict[str, type[Loss]] = {
    "categorical_crossentropy": CategoricalCrossentropy,
    "focal": FocalLoss,
}
