"""The short form: more clients wait and read events than workers have threads, and each has the end."""

from __future__ import annotations

import pytest

from security.waiters import GOALS, THREADS, run

SCALE = 0.03


@pytest.mark.processes
@pytest.mark.slow
def test_who_waits_holds_no_thread_and_has_the_end() -> None:
    figure = run(SCALE)
    assert figure.holds(SCALE), figure.broken
    assert figure.counts["streams of events"] == int(GOALS["streams of events"] * SCALE) > 4 * THREADS
