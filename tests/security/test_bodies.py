"""The short form: bodies of some megabytes that cost much more, and what a large answer is bounded by."""

from __future__ import annotations

import pytest

from reliability.figure import Figure
from security.bodies import BODIES, REFUSAL, judge, run, send
from security.watch import Watch
from testing.harness import Server

SCALE = 0.01


@pytest.mark.processes
@pytest.mark.slow
def test_costly_bodies_are_refused_or_answered_within_bounds() -> None:
    figure = run(SCALE)
    assert not figure.broken
    assert figure.counts["bodies"] >= sum(body.count for body in BODIES)


def test_only_a_short_answer_with_an_expected_status_is_good(server: Server) -> None:
    """The judgement can fail: by the status, by the size, and by a connection without an answer."""
    figure = Figure()
    watch = Watch(server, figure, timed=False)
    body = BODIES[-1]
    status, size = send(watch.port, body.path, b"{}")
    judge(watch, body, (status, size))
    assert not figure.broken
    for bad in ((500, 10), (200, 10), (422, REFUSAL + 1), ConnectionError("reset")):
        judge(watch, body, bad)
    assert len(figure.broken) == 4
    assert figure.counts["bodies"] == 5
