"""How far two versions agree about the same rows."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from models.data.labels import match
from models.data.rows import Array
from service.serving.inference import Prediction

__all__ = ["Agreement", "agreement"]


class Agreement(NamedTuple):
    """Of some rows: how many there are, for how many the most probable class is the same, and the sum of differences.

    The difference of a row is the mean of |p - q| over the classes.
    """

    rows: int
    agreeing: int
    difference: float


def agreement(one: Prediction, other: Prediction) -> Agreement:
    """Compare predictions of the same rows; classes are matched by value, and one that a version lacks has 0."""
    first, second = one.probabilities, other.probabilities
    if one.classes != other.classes:
        first, second = _aligned(one, other)
    agreeing = int(np.count_nonzero(first.argmax(axis=1) == second.argmax(axis=1)))
    difference = float(np.abs(first.astype(np.float64) - second).mean(axis=1).sum())
    return Agreement(len(first), agreeing, difference)


def _aligned(one: Prediction, other: Prediction) -> tuple[Array, Array]:
    """The probabilities of both, with a column for each class of either."""
    places = match(other.classes, one.classes)
    new = places < 0
    places = np.where(new, len(one.classes) + np.cumsum(new) - 1, places)
    first = np.pad(one.probabilities, ((0, 0), (0, int(new.sum()))))
    second = np.zeros((len(first), first.shape[1]), other.probabilities.dtype)
    second[:, places] = other.probabilities
    return first, second
