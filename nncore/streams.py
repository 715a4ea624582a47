"""Random streams: one seed, and an independent generator for each purpose."""

from __future__ import annotations

from typing import Any, Literal, cast

import numpy as np

__all__ = ["Purpose", "generator_from_state", "generator_state", "stream"]

Purpose = Literal["weights", "order", "split", "noise"]

#: A purpose keeps its number for ever: runs recorded under a seed must stay reproducible.
_NUMBERS: dict[Purpose, int] = {"weights": 0, "order": 1, "split": 2, "noise": 3}


def stream(seed: int, purpose: Purpose) -> np.random.Generator:
    """The generator that ``seed`` (0 or more) gives for one purpose."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, _NUMBERS[purpose]])))


def generator_state(generator: np.random.Generator) -> dict[str, Any]:
    """The generator's state as plain integers and strings; PCG64's are 128 bits wide, which JSON can hold."""
    return dict(generator.bit_generator.state)


def generator_from_state(state: dict[str, Any]) -> np.random.Generator:
    """The generator that continues exactly where ``state`` was taken."""
    bits = np.random.PCG64()
    bits.state = cast("Any", state)
    return np.random.Generator(bits)
