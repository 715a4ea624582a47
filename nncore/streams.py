"""Random streams: independent generators for different purposes from one seed."""

from __future__ import annotations

from typing import Any, Literal, cast

import numpy as np

__all__ = ["Purpose", "generator_from_state", "generator_state", "stream"]

Purpose = Literal["weights", "order", "split", "noise", "folds", "search"]

#: These numbers must never change, so that recorded runs stay reproducible.
_NUMBERS: dict[Purpose, int] = {"weights": 0, "order": 1, "split": 2, "noise": 3, "folds": 4, "search": 5}


def stream(seed: int, purpose: Purpose) -> np.random.Generator:
    """Return the generator for one purpose; ``seed`` is 0 or more."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, _NUMBERS[purpose]])))


def generator_state(generator: np.random.Generator) -> dict[str, Any]:
    """Return the generator's state as integers and strings, which JSON can represent; PCG64 has 128-bit integers."""
    return dict(generator.bit_generator.state)


def generator_from_state(state: dict[str, Any]) -> np.random.Generator:
    """Return a generator that continues from ``state``."""
    bits = np.random.PCG64()
    bits.state = cast("Any", state)
    return np.random.Generator(bits)
