"""The short form of ``python -m reliability retries``."""

from __future__ import annotations

import pytest

from reliability import retries

pytestmark = pytest.mark.processes

SCALE = 0.04


def test_a_retry_makes_one() -> None:
    figure = retries.run(SCALE)
    assert figure.broken == []
    assert figure.holds(SCALE)
    assert figure.counts["jobs of as many keys"] == 8
    assert figure.counts["models of as many keys"] == figure.counts["datasets of as many keys"] == 4
    # Each key was sent by 32 clients; at most one of them got the first response.
    assert figure.counts["replays"] >= 16 * 31
    assert figure.counts["keys refused to another payload"] == 16
    assert figure.counts["workers killed"] == 3
    for what in ("cut connections", "asked to wait", "lost answers"):
        assert figure.counts[what] > 0, what
