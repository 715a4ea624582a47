"""The short form of ``python -m reliability database``."""

from __future__ import annotations

import pytest

from reliability import database

pytestmark = pytest.mark.processes

SCALE = 0.02


def test_what_is_acknowledged_outlives_the_server() -> None:
    figure = database.run(SCALE)
    assert figure.broken == []
    assert figure.holds(SCALE)
    for what in ("kills of all its processes", "kills of its first process", "restarts", "cuts of all connections"):
        assert figure.counts[what] == 1, what
    # Each of two clients has a job at least, and between two failures the others got on.
    assert figure.counts["attempts"] >= figure.counts["jobs"] >= 2
    assert figure.counts["moves of an alias"] >= 4
    assert figure.counts["models defined"] >= 2
    assert figure.counts["requests that were to be repeated"] > 0
    assert figure.counts["predictions"] > 100
