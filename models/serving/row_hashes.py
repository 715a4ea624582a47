"""Rows compared by what a network reads of them."""

from __future__ import annotations

import numpy as np

from nncore.arrays import Array

__all__ = ["row_hashes"]

_STEP, _FIRST, _SECOND = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


def row_hashes(inputs: Array, codes: Array, dtype: np.dtype[np.generic]) -> Array:
    """A 64-bit hash of each row's numbers (n_rows, n_inputs) as ``dtype`` and of its class: equal for equal rows."""
    # A zero has no sign.
    plain = np.ascontiguousarray(inputs.astype(dtype)) + np.zeros((), dtype)
    words = plain.view(np.uint32 if plain.dtype.itemsize == 4 else np.uint64).astype(np.uint64)
    with np.errstate(over="ignore"):
        seeds = np.arange(1, words.shape[1] + 1, dtype=np.uint64) * _STEP
        hashes: Array = _mixed(words + seeds).sum(axis=1, dtype=np.uint64)
        return _mixed(hashes + _mixed(codes.astype(np.uint64) + _STEP))


def _mixed(words: Array) -> Array:
    """Each word with every bit depending on all of its bits (the finalizer of SplitMix64)."""
    words = (words ^ (words >> np.uint64(30))) * _FIRST
    words = (words ^ (words >> np.uint64(27))) * _SECOND
    mixed: Array = words ^ (words >> np.uint64(31))
    return mixed
