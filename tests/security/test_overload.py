"""The short form: floods of predictions, dry runs and large predictions are answered or refused, and so are others."""

from __future__ import annotations

import pytest

from security.overload import run
from tests.reliability import programs

SCALE = 0.1


@pytest.mark.processes
@pytest.mark.slow
def test_floods_are_answered_or_refused() -> None:
    programs.require("wrk")
    figure = run(SCALE)
    assert not figure.broken
    assert figure.counts["requests of the flood"] > 500
    assert figure.counts["answers to others"] > 50
