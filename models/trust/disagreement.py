"""Disagreement: how far the members of an ensemble differ about a row, from 0 to 1.

It is the mutual information of the class and the member, ``H(Σ w_m p_m) - Σ w_m H(p_m)`` with the entropy H, over the
logarithm of the number of classes (Depeweg et al., 2018; Lakshminarayanan et al., 2017). It is 0 if all members say the
same, however unsure they are, and 1 if each is certain of another class in equal parts.
"""

from __future__ import annotations

import math

import numpy as np

from nncore.arrays import Array

__all__ = ["disagreement"]


def disagreement(members: Array, mixture: Array, weights: Array) -> Array:
    """The disagreement (n_rows,) of members' probabilities (n_members, n_rows, n_classes), without a temperature.

    ``mixture`` (n_rows, n_classes) is their mean by ``weights`` (n_members,), which sum to 1. It is 0 for one class. A
    row whose probabilities are not finite has NaN.
    """
    count, rows, classes = members.shape
    if classes == 1:
        return np.zeros(rows, members.dtype)
    own = _negative_entropies(members.reshape(count, -1), weights.astype(members.dtype, copy=False))
    together: Array = np.maximum(mixture, np.finfo(mixture.dtype).tiny)
    np.log(together, out=together)
    together *= mixture
    information = np.add.reduce(own.reshape(rows, classes) - together, axis=1)
    information *= 1.0 / math.log(classes)
    limited: Array = np.clip(information, 0.0, 1.0)
    return limited


def _negative_entropies(members: Array, weights: Array) -> Array:
    """``Σ w_m·p_m·log p_m`` for each probability, (n_members, n) and weights (n_members,)."""
    logs: Array = np.maximum(members, np.finfo(members.dtype).tiny)
    np.log(logs, out=logs)
    logs *= members
    product: Array = weights @ logs
    return product
