"""The short form of the causes, in a real service."""

from __future__ import annotations

import pytest

from reliability.causes import run

pytestmark = pytest.mark.processes


def test_causes_are_distinguished() -> None:
    figure = run(0.5)
    assert figure.holds(0.5), figure.broken
    # Two signals, one that diverges, one that its address space and, if that can be tested, one that its control
    # group keeps from memory.
    assert figure.counts["causes distinguished"] - figure.counts.get("jobs that the kernel ended for memory", 0) == 4
    assert figure.counts["deaths"] == 6
    assert figure.counts["retries"] == figure.counts["deaths"] // 3 * 2 + 2 * (
        figure.counts["causes distinguished"] - 3
    )
