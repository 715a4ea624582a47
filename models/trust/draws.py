"""Draws: a number from 0 to 1 for each row that looks random and is always the same for the same row.

Randomized prediction sets need one draw a row. Were it random, the same row would get another set each time it is
asked for. So it is a hash of the row's numbers: their bits, multiplied by fixed odd numbers, added up modulo 2^64
(multilinear hashing; Dietzfelbinger, 1996) and mixed. A function of the row leaves the coverage valid, because rows
that were held out get their draws by the same function.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from nncore.arrays import Array

__all__ = ["draws_of"]

#: The seed of the factors must never change, so that fitted sets keep their meaning.
SEED = 20
#: Bits of a draw, as many as a float32 holds exactly.
BITS = 24
#: An odd number of 64 bits: 2^64 over the golden ratio.
MIXER = np.uint64(0x9E3779B97F4A7C15)


def draws_of(inputs: Array) -> Array:
    """The draws (n_rows,) of rows (n_rows, n_inputs), float32 from 0 to less than 1.

    They depend on the type of the numbers, not on the other rows.
    """
    # Adding 0.0 turns -0.0 into 0.0, which is the same number with other bits.
    words = np.add(inputs, np.array(0.0, inputs.dtype), order="C").view(np.uint32)
    sums = words @ _factors(words.shape[1])
    # Mixed, so that rows that differ by a step do not have draws that differ by a step.
    sums += MIXER
    sums ^= sums >> np.uint64(32)
    sums *= MIXER
    draws: Array = (sums >> np.uint64(64 - BITS)).astype(np.float32)
    draws *= np.float32(2.0**-BITS)
    return draws


@lru_cache(maxsize=64)
def _factors(count: int) -> Array:
    """So many odd numbers of 64 bits; ``random_raw`` is the same in every release of NumPy."""
    return np.asarray(np.random.PCG64(SEED).random_raw(count), np.uint64) | np.uint64(1)
