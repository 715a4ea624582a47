"""The short form: some hundred slow and silent connections; each is cut, and others are served meanwhile."""

from __future__ import annotations

import pytest

from security.slow import GOALS, run

SCALE = 0.024


@pytest.mark.processes
@pytest.mark.slow
def test_slow_clients_are_cut_and_others_are_served() -> None:
    figure = run(SCALE)
    assert figure.holds(SCALE), figure.broken
    assert figure.counts["cut"] == int(GOALS["cut"] * SCALE)
    assert figure.counts["answers to others"] > 50
