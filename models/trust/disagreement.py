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

#: A probability below counts as this. It is a normal number in float32.
SMALLEST = 1e-37


def disagreement(members: Array, mixture: Array, weights: Array) -> Array:
    """The disagreement (n_rows,) of members' probabilities (n_members, n_rows, n_classes), without a temperature.

    ``mixture`` (n_rows, n_classes) is their mean by ``weights`` (n_members,), which sum to 1. It is 0 for one class. A
    row whose probabilities are not finite has NaN.
    """
    count, rows, classes = members.shape
    if classes == 1:
        return np.zeros(rows, members.dtype)
    # The same as Σ_m w_m Σ p_m·log(p_m/p), with p of the mixture.
    terms: Array = np.maximum(members, SMALLEST)
    terms /= np.maximum(mixture, SMALLEST)
    np.log(terms, out=terms)
    terms *= members
    sums = weights.astype(members.dtype, copy=False) @ terms.reshape(count, -1)
    information = np.add.reduce(sums.reshape(rows, classes), axis=1)
    information *= 1.0 / math.log(classes)
    np.maximum(information, 0.0, out=information)
    limited: Array = np.minimum(information, 1.0, out=information)
    return limited
