"""Importance: how much worse predictions become if the values of a column are shuffled among the rows.

Permutation importance (Breiman, 2001; Fisher, Rudin and Dominici, 2019). It says what this model relies on. Of two
columns that say the same, it may show neither, because the other one is still there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from models.trust.held_out import of_true_class
from nncore.arrays import Array

__all__ = ["Importance", "permutation_importance"]

#: Shuffles of each column.
REPEATS = 5


class Importance(NamedTuple):
    """What shuffling each column (n_columns,) adds to the log loss and takes from the accuracy: mean and deviation."""

    log_loss: Array
    log_loss_deviation: Array
    accuracy: Array
    accuracy_deviation: Array


def permutation_importance(
    predict_proba: Callable[[Array], Array],
    rows: Array,
    codes: Array,
    widths: Sequence[int],
    seed: int = 0,
    repeats: int = REPEATS,
) -> Importance:
    """The importance of each column for predictions of ``rows`` (n_rows, n_inputs) with class numbers (n_rows,).

    A column is so many inputs as ``widths`` says, in their order, which are shuffled together. One of width 0 has no
    importance. The deviation is that of the shuffles, not that of the rows. Raises ValueError if the widths do not sum
    to the number of inputs.
    """
    if sum(widths) != rows.shape[1]:
        raise ValueError(f"widths must sum to {rows.shape[1]}, the number of inputs. Received: {sum(widths)}")
    generator = np.random.Generator(np.random.PCG64(seed))
    log_loss, accuracy = _scores(predict_proba(rows), codes)
    changes = np.zeros((2, len(widths), repeats))
    shuffled, start = rows.copy(), 0
    for column, width in enumerate(widths):
        block = slice(start, start + width)
        for repeat in range(repeats if width else 0):
            shuffled[:, block] = rows[generator.permutation(len(rows)), block]
            worse_loss, worse_accuracy = _scores(predict_proba(shuffled), codes)
            changes[:, column, repeat] = worse_loss - log_loss, accuracy - worse_accuracy
        shuffled[:, block] = rows[:, block]
        start += width
    means, deviations = changes.mean(axis=2), changes.std(axis=2)
    return Importance(means[0], deviations[0], means[1], deviations[1])


def _scores(probabilities: Array, codes: Array) -> tuple[float, float]:
    """Log loss and accuracy."""
    losses = -np.log(of_true_class(probabilities, codes))
    return float(losses.mean()), float((probabilities.argmax(axis=1) == codes).mean())
