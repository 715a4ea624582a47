"""Losses of a classifier: cross-entropy and focal loss, on their own and fused with the softmax before them.

Logarithms are taken of max(ŷ, 1e-7). Gradients are those of the mean loss over the samples. Sample weights multiply the
losses; the mean is still the sum divided by the number of samples.

To add a loss, write one class here, one line in ``LOSSES`` at the end of this file and one case in
``testing/cases.py``.
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

#: Lower limit of a probability in a logarithm, so that a confident error has a loss of 16 nats and not infinity.
FLOOR = 1e-7


def sparse_labels(labels: Array, classes: int) -> Array:
    """Return class numbers (n_samples,) for class numbers (n_samples,) or one-hot rows (n_samples, classes).

    Raises ValueError if the shape is different, a row is not one-hot or a class is not in ``0…classes-1``.
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
    """Return one weight per class in float64.

    "balanced" is ``n_samples / (number of classes that occur · rows of the class)``, and 0 for a class without rows.
    Raises ValueError if ``wanted`` is not one finite non-negative number per class.
    """
    if wanted == "balanced":
        counts = np.bincount(labels, minlength=classes)
        return np.where(counts > 0, len(labels) / (np.count_nonzero(counts) * np.maximum(counts, 1)), 0.0)
    weights = np.asarray(wanted, np.float64)
    if weights.shape != (classes,) or not np.isfinite(weights).all() or (weights < 0).any():
        raise ValueError(f"class weights must be {classes} numbers of at least 0. Received: {wanted!r}")
    return weights


@dataclass(frozen=True)
class FusedPlan:
    """The calls of softmax and loss for one batch, and the arrays of their results.

    ``total`` is the negated sum of the batch's losses; ``hits`` (n_samples,) marks the correctly classified samples.
    """

    forward: Calls
    backward: Calls
    total: Array
    hits: Array


class Batch(NamedTuple):
    """The input of a batch's losses: features-first arrays of a plan.

    ``values`` are the probabilities and ``gradient`` is the gradient of the logits, both (n_classes, n_samples).
    ``chosen`` (n_samples,) is the probability of each sample's true class and ``log`` its logarithm. Each sample's
    gradient is multiplied by ``scale``: ``1/n_samples``, times the sample's weight if there are weights.
    """

    values: Array
    gradient: Array
    chosen: Array
    log: Array
    scale: Array


class LossCalls(NamedTuple):
    """The calls of a loss in a plan.

    ``forward`` fills ``losses`` with the negated loss of each sample. ``backward`` computes the scaled gradient of the
    logits: the batch's ``gradient`` is valid for all classes except the true one, ``at_true`` (n_samples,) for the true
    class.
    """

    forward: Calls
    losses: Array
    backward: Calls
    at_true: Array


@dataclass(frozen=True)
class Loss(ABC):
    """Base class of all losses."""

    def __post_init__(self) -> None:
        check_hyperparameters(self)

    @abstractmethod
    def forward(self, probabilities: Array, labels: Array) -> Array:
        """Return the loss of each sample (n_samples,).

        ``labels`` are class numbers (n_samples,) or one-hot rows (n_samples, n_classes).
        """

    @abstractmethod
    def backward(self, probabilities: Array, labels: Array) -> Array:
        """Return ``∂L/∂ŷ`` of the mean loss, in the shape of ``probabilities``."""

    @abstractmethod
    def plan_losses(self, batch: Batch, workspace: Workspace) -> LossCalls:
        """Return the calls that compute the losses and the gradient of the logits from a batch's probabilities."""

    def plan_fused(
        self, logits: Signal, labels: Array, workspace: Workspace, weights: Array | None = None
    ) -> FusedPlan:
        """Return the calls that compute the mean loss and its gradient with respect to the logits.

        ``labels`` (n_samples,) and ``weights`` (n_samples,) are buffers with each batch's class numbers and sample
        weights. The probabilities overwrite the logits in ``logits.values``.
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
    """``L_i = -Σ_j t_ij log ŷ_ij`` with t = 1 for the true class and 0 for all others.

    With ``label_smoothing`` α, ``t_ij = (1-α)y_ij + α/n_classes`` (Szegedy et al. 2016, section 7).
    """

    label_smoothing: float = hyperparameter(
        0.0, minimum=0.0, below=1.0, help="Label smoothing α: fraction of each label spread evenly over all classes."
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
    """Cross-entropy with less weight on easy samples (Lin et al. 2017).

    ``L_i = -(1-ŷ_ik)^γ log ŷ_ik`` with the true class k. ``∂L_i/∂z_ij = f(ŷ_ij - y_ij)`` with
    ``f = (1-ŷ_ik)^γ - γ ŷ_ik (1-ŷ_ik)^(γ-1) log ŷ_ik``. ``1-ŷ`` is also limited to 1e-7 or more.
    """

    gamma: float = hyperparameter(
        2.0, minimum=0.0, maximum=100.0, help="Focusing parameter γ; higher values down-weight easy samples."
    )

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
    """Return the true class of each sample and its probability."""
    true_class = sparse_labels(labels, probabilities.shape[1])
    return true_class, np.take_along_axis(probabilities, true_class[:, np.newaxis], axis=1)[:, 0]


LOSSES: dict[str, type[Loss]] = {
    "categorical_crossentropy": CategoricalCrossentropy,
    "focal": FocalLoss,
}
