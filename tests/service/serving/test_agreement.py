"""How far predictions agree, held against a loop over rows and classes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from service.serving.agreement import agreement
from service.serving.inference import Prediction


def prediction(classes: tuple[Any, ...], rows: int, seed: int) -> Prediction:
    found = np.random.default_rng(seed).dirichlet(np.ones(len(classes)), rows).astype(np.float32)
    return Prediction("m", seed, classes, found)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("a", "b", "c"), ("a", "b", "c")),
        (("a", "b", "c"), ("c", "a", "b")),
        (("a", "b"), ("c", "b", "d", "a")),
        (("a", "b", "c"), ("b", "x")),
        ((1, 2), ("1", "2")),
        ((1, "1"), (1, "1", 2)),
    ],
)
def test_as_a_loop_counts(one: tuple[Any, ...], other: tuple[Any, ...]) -> None:
    first, second = prediction(one, 50, 1), prediction(other, 50, 2)
    found = agreement(first, second)
    names = [{str(name) if one == (1, 2) else name: place for place, name in enumerate(each)} for each in (one, other)]
    every = list(names[0]) + [name for name in names[1] if name not in names[0]]
    agreeing, difference = 0, 0.0
    for row in range(50):
        p, q = (
            {name: float(each.probabilities[row, place]) for name, place in known.items()}
            for each, known in zip((first, second), names, strict=True)
        )
        agreeing += max(p, key=p.__getitem__) == max(q, key=q.__getitem__)
        difference += sum(abs(p.get(name, 0.0) - q.get(name, 0.0)) for name in every) / len(every)
    assert (found.rows, found.agreeing) == (50, agreeing)
    assert found.difference == pytest.approx(difference, rel=1e-6)


def test_the_same_agrees() -> None:
    same = prediction(("a", "b"), 9, 3)
    assert agreement(same, same) == (9, 9, 0.0)
