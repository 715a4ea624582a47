"""Held-out rows: probabilities and class numbers, checked before anything is fitted on them."""

from __future__ import annotations

import numpy as np

from nncore.arrays import Array
from nncore.losses import FLOOR

__all__ = ["of_true_class", "require_held_out"]


def require_held_out(probabilities: Array, codes: Array) -> None:
    """Raise ValueError unless these are probabilities (n_rows, n_classes) and class numbers (n_rows,)."""
    if probabilities.ndim != 2 or not probabilities.shape[1]:
        raise ValueError(f"probabilities must have shape (n_rows, n_classes). Received: {probabilities.shape}")
    rows, classes = probabilities.shape
    if codes.shape != (rows,) or codes.dtype.kind not in "iu":
        raise ValueError(f"codes must be {rows} class numbers. Received: {codes.dtype} of {codes.shape}")
    if rows and not 0 <= codes.min() <= codes.max() < classes:
        raise ValueError(f"codes must be from 0 to {classes - 1}. Received: {codes.min()} to {codes.max()}")
    good = ((probabilities >= 0) & (probabilities <= 1)).all(axis=1)
    if not good.all():
        row = int(np.argmin(good))
        raise ValueError(f"row {row} must hold probabilities from 0 to 1. Received: {probabilities[row].tolist()}")


def of_true_class(probabilities: Array, codes: Array) -> Array:
    """The probability (n_rows,) of each row's true class, in float64 and at least 1e-7, as the log loss counts it.

    Raises ValueError if a shape, a probability or a class number is wrong.
    """
    require_held_out(probabilities, codes)
    true = probabilities[np.arange(len(codes)), codes].astype(np.float64)
    return np.maximum(true, FLOOR)
