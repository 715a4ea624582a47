"""Draws: a number from 0 to 1 for each row that looks random and is always the same for the same row.

Randomized prediction sets need one draw a row. Were it random, the same row would get another set each time it is
asked for. So it is a checksum of the row's numbers. A function of the row leaves the coverage valid, because rows that
were held out get their draws by the same function.
"""

from __future__ import annotations

from zlib import crc32

import numpy as np

from nncore.arrays import Array

__all__ = ["draws_of"]


def draws_of(inputs: Array) -> Array:
    """The draws (n_rows,) of rows (n_rows, n_inputs), from 0 to less than 1.

    Each is the CRC-32 of the row's numbers as little-endian bytes, over 2^32. It depends on the type of the numbers,
    not on the other rows.
    """
    # Adding 0.0 turns -0.0 into 0.0, which is the same number with other bytes.
    rows = np.add(inputs, 0.0, order="C")
    draws = np.fromiter(map(crc32, rows), np.float64, len(rows))
    draws *= 2.0**-32
    return draws
