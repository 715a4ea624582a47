"""What is measured against a floor or a ceiling: whether it is met, and the line that says so."""

from __future__ import annotations

import pytest

from benchmarks.floors import Floor, report


@pytest.mark.parametrize(
    ("measured", "goal", "most", "met"),
    [(2.6, 2.6, False, True), (2.59, 2.6, False, False), (1.3, 1.3, True, True), (1.31, 1.3, True, False)],
)
def test_a_figure_meets_its_goal(measured: float, goal: float, most: bool, met: bool) -> None:
    assert Floor("x", measured, goal, most).met is met


def test_a_figure_that_is_no_number_meets_no_goal() -> None:
    assert not Floor("x", float("nan"), 1.0).met
    assert not Floor("x", float("nan"), 1.0, most=True).met


def test_the_report_says_what_is_not_met(capsys: pytest.CaptureFixture[str]) -> None:
    found = report([Floor("speed", 2.0, 2.6), Floor("p99", 1.7, 2.0, most=True)])
    first, second = capsys.readouterr().out.splitlines()
    assert first == "NOT MET  speed: 2.00 (at least 2.6; -23.1%)"
    assert second == "met      p99: 1.70 (at most 2; -15.0%)"
    assert [each["met"] for each in found] == [False, True]
