"""The mixture: how much each kind of network counts, found on rows that no member was trained on.

The weights maximize the likelihood of the true classes under ``Σ_k w_k·p_k``, with a Dirichlet prior that keeps a kind
from vanishing on few rows. They are found by expectation maximization (Dempster, Laird and Rubin, 1977).
"""

from __future__ import annotations

import numpy as np

from models.trust.held_out import of_true_class
from nncore.arrays import Array

__all__ = ["mixed", "mixture_weights"]

ROUNDS = 200
#: Rows that each kind seems to have explained alone before the first row is seen.
PRIOR_ROWS = 1.0


def mixture_weights(probabilities: Array, codes: Array) -> Array:
    """The weight (n_kinds,) of each kind, from held-out probabilities (n_kinds, n_rows, n_classes) and class numbers.

    The weights are positive and sum to 1; without rows they are equal. Raises ValueError if a shape, a probability or a
    class number is wrong.
    """
    if probabilities.ndim != 3 or not len(probabilities):
        raise ValueError(f"probabilities must have shape (n_kinds, n_rows, n_classes). Received: {probabilities.shape}")
    likelihoods = np.stack([of_true_class(kind, codes) for kind in probabilities])
    kinds, rows = likelihoods.shape
    weights = np.full(kinds, 1.0 / kinds)
    for _ in range(ROUNDS):
        shares = weights[:, np.newaxis] * likelihoods
        shares /= shares.sum(axis=0)
        weights = (shares.sum(axis=1) + PRIOR_ROWS) / (rows + kinds * PRIOR_ROWS)
    return weights


def mixed(probabilities: Array, weights: Array) -> Array:
    """The mixture (n_rows, n_classes) of probabilities (n_kinds, n_rows, n_classes) by weights (n_kinds,)."""
    kinds = len(weights)
    mixture: Array = weights.astype(probabilities.dtype) @ probabilities.reshape(kinds, -1)
    return mixture.reshape(probabilities.shape[1:])
