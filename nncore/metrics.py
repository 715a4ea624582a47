"""Measures of how well probabilities fit labels."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from nncore.arrays import Array
from nncore.losses import CategoricalCrossentropy

__all__ = ["Score", "score"]


class Score(NamedTuple):
    """Mean cross-entropy in nats, and the share of samples whose most probable class is the true one."""

    loss: float
    accuracy: float


def score(probabilities: Array, labels: Array) -> Score:
    """Score probabilities of shape (n_samples, n_classes) against class numbers of shape (n_samples,)."""
    losses = CategoricalCrossentropy().forward(probabilities, labels)
    return Score(float(losses.mean(dtype=np.float64)), float((probabilities.argmax(axis=1) == labels).mean()))
