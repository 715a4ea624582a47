"""The temperature: one number that makes probabilities sharper or flatter (Guo, Pleiss, Sun and Weinberger, 2017).

``p_j^(1/T) / Σ_l p_l^(1/T)``: below 1 it sharpens, above 1 it flattens, and the order of the classes stays. For one
network this is the softmax of logits over T; for a mixture, which has no logits, log p takes their place.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from models.trust.held_out import of_true_class
from nncore.arrays import Array
from nncore.losses import FLOOR

__all__ = ["fit_temperature", "sharpened"]

#: log T lies within ± this.
LIMIT = 1.5
#: Width of the interval of log T at which the search ends.
TOLERANCE = 1e-4
GOLDEN = (math.sqrt(5.0) - 1.0) / 2.0
#: Standard deviation of log T before a row is seen: few rows, or rows that say little, leave T near 1.
SPREAD = 0.25


def fit_temperature(probabilities: Array, codes: Array) -> float:
    """The temperature for held-out probabilities (n_rows, n_classes) and class numbers (n_rows,).

    It minimizes ``Σ -log p_true + (log T / 0.25)² / 2`` by golden section: the likelihood with a normal prior of log T,
    so that few rows, or rows that say little, leave it near 1. Without rows it is 1. Raises ValueError if a shape, a
    probability or a class number is wrong.
    """
    of_true_class(probabilities, codes)
    if not len(codes):
        return 1.0
    logs = np.log(np.maximum(probabilities.astype(np.float64), FLOOR))
    rows = np.arange(len(codes))

    def cost(log_temperature: float) -> float:
        scaled = logs * math.exp(-log_temperature)
        losses = np.logaddexp.reduce(scaled, axis=1) - scaled[rows, codes]
        return float(losses.sum()) + (log_temperature / SPREAD) ** 2 / 2.0

    return math.exp(_smallest(cost, -LIMIT, LIMIT))


def sharpened(probabilities: Array, temperature: float) -> Array:
    """Probabilities (n_rows, n_classes) with a temperature, in a new array of the same type.

    A row that is not finite stays so. Probabilities below 1e-7 count as 1e-7, as where the temperature was fitted.
    """
    powers: Array = np.maximum(probabilities, np.array(FLOOR, probabilities.dtype))
    np.power(powers, np.array(1.0 / temperature, probabilities.dtype), out=powers)
    powers /= np.add.reduce(powers, axis=-1, keepdims=True)
    return powers


def _smallest(cost: Callable[[float], float], low: float, high: float) -> float:
    """The place of a convex function's minimum, by golden section (Kiefer, 1953)."""
    left, right = high - GOLDEN * (high - low), low + GOLDEN * (high - low)
    at_left, at_right = cost(left), cost(right)
    while high - low > TOLERANCE:
        if at_left <= at_right:
            high, right, at_right = right, left, at_left
            left = high - GOLDEN * (high - low)
            at_left = cost(left)
        else:
            low, left, at_left = left, right, at_right
            right = low + GOLDEN * (high - low)
            at_right = cost(right)
    return (low + high) / 2.0
