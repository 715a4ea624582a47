"""Reasons: how much each column has changed the probability of a class, from a baseline row to this one.

They are integrated gradients (Sundararajan, Taly and Yan, 2017) of the log-probability of the class that is served,
the mixture of all members after the temperature, summed to columns. Together they are the difference of the
log-probability between row and baseline. A column's reason of 0.7 means that it doubles the probability.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np

from nncore.arrays import Array
from nncore.attribution import forward_and_back
from nncore.network import Predictor

__all__ = ["EnsembleLogProbability", "Member", "Reasons", "reasons", "summed"]

#: Stretches of the way from the baseline to the row, at first and at most; their number doubles until that is enough.
FEWEST, MOST = 32, 512
#: What may be put right, as a share of all reasons: one part in a hundred.
ACCURACY = 0.01
#: Probabilities below count as this, so that their inverse fits into float32.
SMALLEST = 1e-30


class Differentiable(Protocol):
    """A number for each row with its gradient by the row."""

    def at(self, rows: Array) -> tuple[Array, Array]:
        """The numbers (n_rows,) and their gradients (n_rows, n_inputs) at rows (n_rows, n_inputs)."""


class Member(NamedTuple):
    """A network of an ensemble, its share, and the inputs that it reads: their numbers, or None for all of them."""

    predictor: Predictor
    weight: float
    columns: Array | None = None


class EnsembleLogProbability:
    """The log-probability of the class ``code``, as members predict it together, with a temperature."""

    def __init__(self, members: Sequence[Member], temperature: float, code: int) -> None:
        self._members, self._temperature, self._code = members, temperature, code

    def at(self, rows: Array) -> tuple[Array, Array]:
        """The log-probabilities (n_rows,) and their gradients (n_rows, n_inputs) at rows (n_rows, n_inputs)."""
        steps = []
        mixture: Array = np.zeros(())
        for member in self._members:
            read = rows if member.columns is None else rows[:, member.columns]
            probabilities, back = forward_and_back(member.predictor, read)
            mixture = mixture + member.weight * probabilities.astype(np.float64)
            steps.append((member, back))
        # Of log p_c/T - log Σ p_l^(1/T), by each p_l: (δ_cl - s_l)/(T·p_l) with the probabilities s after T.
        mixture = np.maximum(mixture, SMALLEST)
        logs = np.log(mixture) / self._temperature
        logs -= np.logaddexp.reduce(logs, axis=1, keepdims=True)
        slopes = -np.exp(logs)
        slopes[:, self._code] += 1.0
        slopes /= self._temperature * mixture
        gradients = np.zeros(rows.shape)
        for member, back in steps:
            gradients[:, slice(None) if member.columns is None else member.columns] += back(member.weight * slopes)
        return logs[:, self._code], gradients


class Reasons(NamedTuple):
    """What each input (n_inputs,) has added to a number, and the number at the baseline and at the row.

    ``corrected`` says how much was put right so that the reasons sum to the difference: a bound of what the reasons
    together are off, in the unit of the number.
    """

    inputs: Array
    baseline: float
    value: float
    corrected: float

    @property
    def missing(self) -> float:
        """What the inputs together miss of the difference between value and baseline."""
        return self.value - self.baseline - float(self.inputs.sum())


def reasons(function: Differentiable, row: Array, baseline: Array) -> Reasons:
    """The reasons (n_inputs,) for a number at ``row`` (n_inputs,) instead of ``baseline`` (n_inputs,).

    The way between them is cut into stretches. The gradient in one is the mean of those at its ends. What the number
    changes over a stretch beyond that, as at the kink of a ReLU, is shared in proportion to the reasons there, so that
    all of them sum to the difference. If that is more than 1 % of the reasons, there are more stretches.
    """
    way = row.astype(np.float64) - baseline
    stretches = FEWEST
    while True:
        places = np.linspace(0.0, 1.0, stretches + 1)[:, np.newaxis]
        values, gradients = function.at((baseline + places * way).astype(row.dtype))
        found = _along(values, gradients, way)
        if found.corrected <= ACCURACY * float(np.abs(found.inputs).sum()) or stretches == MOST:
            return found
        stretches *= 2


def _along(values: Array, gradients: Array, way: Array) -> Reasons:
    """The reasons by numbers (n_points,) and gradients (n_points, n_inputs) at even places of the way (n_inputs,)."""
    parts = (gradients[1:] + gradients[:-1]) * (way / (2 * (len(values) - 1)))
    left = np.diff(values) - parts.sum(axis=1)
    sizes = np.abs(parts)
    totals = sizes.sum(axis=1)
    parts += sizes * np.divide(left, totals, out=np.zeros_like(left), where=totals > 0)[:, np.newaxis]
    return Reasons(parts.sum(axis=0), float(values[0]), float(values[-1]), float(np.abs(left).sum()))


def summed(inputs: Array, widths: Sequence[int]) -> Array:
    """The sums (n_columns,) of what stands under each column: so many inputs as ``widths`` says, in their order."""
    if sum(widths) != len(inputs):
        raise ValueError(f"widths must sum to {len(inputs)}, the number of inputs. Received: {sum(widths)}")
    return np.bincount(np.repeat(np.arange(len(widths)), widths), inputs, minlength=len(widths))
