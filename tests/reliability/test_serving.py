"""The short form of ``python -m reliability serving``."""

from __future__ import annotations

import pytest

from reliability import serving

pytestmark = pytest.mark.processes

SCALE = 0.02


def test_serving_survives_training() -> None:
    figure = serving.run(SCALE)
    assert figure.broken == []
    assert figure.holds(SCALE)
    assert figure.counts["predictions"] >= 2000
    # Each of these events happened while clients of every kind sent requests.
    for what in serving.GOALS:
        assert figure.counts[what] >= 1, what
    for habit in serving.CLIENTS:
        assert figure.counts[f"of them {habit.name}"] >= 1, habit.name
    assert figure.counts["different answers compared"] >= 10
