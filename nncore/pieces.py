"""Pieces of an update: how many numbers of the vectors pass through all calls of an update before the next ones do.

An update by NumPy's calls passes over its vectors some ten times. Which pieces take the least time depends on the
processor: one with two megabytes of second-level cache takes 1.7 times as long for vectors of 700,000 numbers as a
whole as in pieces of 65,536; another one is fastest with the whole. So they are tried.
"""

from __future__ import annotations

import time
from functools import lru_cache
from typing import Any

import numpy as np

from nncore.arrays import aligned
from nncore.layer import Calls
from nncore.optimizer import UpdateMemory
from nncore.optimizers import Optimizer

__all__ = ["best_piece"]

#: Sizes of pieces that are tried, in numbers. Smaller vectors are one piece, and larger ones than the last are never.
TRIED = (65_536, 131_072, 262_144, 1_048_576)
#: Numbers of the vectors on which sizes are tried, and rounds, of which the fastest counts.
TRIAL, ROUNDS = 786_432, 3


def best_piece(optimizer: Optimizer, dtype: np.dtype[Any], size: int) -> int:
    """Return the numbers of a piece with which an update of so many numbers takes the least time.

    The first call for an optimizer and a size measures that for some ten milliseconds. No result depends on it.
    """
    if size <= TRIED[0]:
        return size
    tried = tuple(min(piece, size) for piece in TRIED if size <= TRIED[-1] or piece < TRIED[-1])
    return _measured(optimizer, dtype.name, min(size, TRIAL), tuple(dict.fromkeys(tried)))


@lru_cache(maxsize=16)
def _measured(optimizer: Optimizer, dtype: str, size: int, tried: tuple[int, ...]) -> int:
    """Return the one of ``tried`` with the least processor time on vectors of ``size`` numbers."""
    names = ("parameters", "gradients", "scratch", *optimizer.moments)
    vectors = {name: aligned(size, dtype) for name in names}
    vectors["gradients"].fill(1.0)
    cells = [np.ones((), dtype) for _ in optimizer.factors(0, 0.0)]

    def calls(piece: int) -> Calls:
        found: Calls = []
        for start in range(0, size, piece):
            part = {name: vector[start : start + piece] for name, vector in vectors.items()}
            moments = {name: part[name] for name in optimizer.moments}
            scratch = vectors["scratch"][: len(part["scratch"])]
            found += optimizer.plan(UpdateMemory(part["parameters"], part["gradients"], moments, scratch), cells)
        return found

    plans = {piece: calls(piece) for piece in tried}
    times = dict.fromkeys(tried, float("inf"))
    with np.errstate(all="ignore"):
        for _ in range(ROUNDS):
            for piece, plan in plans.items():
                begin = time.thread_time()
                for call in plan:
                    call()
                times[piece] = min(times[piece], time.thread_time() - begin)
    return min(times, key=times.__getitem__)
