"""Rows compared by what a network reads of them."""

from __future__ import annotations

import numpy as np

from nncore.arrays import Array

__all__ = ["row_hashes"]


def row_hashes(inputs: Array, codes: Array, dtype: np.dtype[np.generic]) -> Array:
    """A 64-bit hash of each row's numbers (n_rows, n_inputs) as ``dtype`` and of its class: equal for equal rows.

    Hashes of different processes differ, because Python's do.
    """
    # A zero has no sign.
    plain = np.ascontiguousarray(inputs, dtype) + np.zeros((), dtype)
    size, content = plain.shape[1] * plain.dtype.itemsize, plain.data.cast("B")
    rows = ((bytes(content[place * size : place * size + size]), code) for place, code in enumerate(codes.tolist()))
    return np.fromiter(map(hash, rows), np.int64, len(plain))
