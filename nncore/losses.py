"""The loss of a classifier: categorical cross-entropy, alone and fused with the softmax before it.

``L_i = -log ŷ_ik`` with k the true class and ŷ kept at 1e-7 or more; gradients are those of the mean over samples.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np

from nncore.arrays import Array, Workspace
from nncore.layers import Calls, Signal, Softmax

__all__ = ["CategoricalCrossentropy", "FusedPlan", "sparse_labels"]

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


@dataclass(frozen=True)
class FusedPlan:
    """Softmax and cross-entropy of one batch as calls, and where their results lie after each run.

    ``total`` is the sum of ``log ŷ_ik`` over the batch, ``hits`` tells which samples are classified right.
    """

    forward: Calls
    backward: Calls
    total: Array
    hits: Array


@dataclass(frozen=True)
class CategoricalCrossentropy:
    """Categorical cross-entropy over probabilities of shape (n_samples, n_classes)."""

    def forward(self, probabilities: Array, labels: Array) -> Array:
        """``-log ŷ_ik`` for each sample; labels are sparse (n_samples,) or one-hot (n_samples, n_classes)."""
        true_class = sparse_labels(labels, probabilities.shape[1])
        chosen = np.take_along_axis(probabilities, true_class[:, np.newaxis], axis=1)[:, 0]
        losses: Array = -np.log(np.maximum(chosen, FLOOR))
        return losses

    def backward(self, probabilities: Array, labels: Array) -> Array:
        """``∂L/∂ŷ_ij = -y_ij/ŷ_ij / n_samples``, of the shape of ``probabilities``."""
        samples, classes = probabilities.shape
        true_class = sparse_labels(labels, classes)
        rows = np.arange(samples)
        gradient = np.zeros_like(probabilities)
        gradient[rows, true_class] = -1.0 / (np.maximum(probabilities[rows, true_class], FLOOR) * samples)
        return gradient

    def plan_fused(self, logits: Signal, labels: Array, workspace: Workspace) -> FusedPlan:
        """The calls from logits to loss and back, ``∂L_i/∂z_ik = (ŷ_ik - y_ik) / n_samples``.

        ``labels`` is the buffer, (n_samples,) of integers, that holds each batch's true classes. The probabilities
        take the place of the logits in ``logits.values``.
        """
        values, gradient = logits.values, logits.gradient
        assert gradient is not None
        samples = values.shape[1]
        flat, flat_gradient = values.reshape(-1), gradient.reshape(-1)
        columns, samples_scalar = np.arange(samples), np.array(samples)
        place = workspace.array((samples,), np.intp)
        predicted = workspace.array((samples,), np.intp)
        hits = workspace.array((samples,), np.bool_)
        chosen, at_true = workspace.array((samples,)), workspace.array((samples,))
        total = np.zeros((), values.dtype)
        one, floor = np.ones((), values.dtype), np.full(samples, FLOOR, values.dtype)
        share = np.array(1.0 / samples, values.dtype)
        forward: Calls = [
            *Softmax().forward_calls(values, values, workspace),
            partial(values.argmax, axis=0, out=predicted),
            partial(np.equal, predicted, labels, out=hits),
            partial(np.multiply, labels, samples_scalar, out=place),
            partial(np.add, place, columns, out=place),
            partial(flat.take, place, out=chosen, mode="clip"),
        ]
        backward: Calls = [
            partial(np.subtract, chosen, one, out=at_true),
            partial(np.multiply, at_true, share, out=at_true),
            partial(np.multiply, values, share, out=gradient),
            partial(flat_gradient.__setitem__, place, at_true),
        ]
        forward += [
            partial(np.maximum, chosen, floor, out=at_true),
            partial(np.log, at_true, out=at_true),
            partial(np.add.reduce, at_true, out=total),
        ]
        return FusedPlan(forward, backward, total, hits)
