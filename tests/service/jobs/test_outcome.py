"""The line in which a runner says how it ended."""

from __future__ import annotations

import pytest

from service.jobs.engines.engine import Order
from service.jobs.outcome import Died, Failed, Finished, Outcome, Stale, Stopped, decode, encode
from service.jobs.record import JobError

ALL: list[tuple[Outcome, str]] = [
    (Finished(), '{"outcome": "finished"}'),
    (Stopped(), '{"outcome": "stopped"}'),
    (
        Failed("diverged", 'a "quoted"\nµ'),
        r'{"outcome": "failed", "code": "diverged", "detail": "a \"quoted\"\n\u00b5"}',
    ),
    (Died(JobError("crashed", "")), '{"outcome": "died", "code": "crashed", "detail": ""}'),
    (Stale(), '{"outcome": "lost"}'),
]


@pytest.mark.parametrize(("outcome", "line"), ALL)
def test_an_outcome_is_a_line_of_its_own(outcome: Outcome, line: str) -> None:
    assert encode(outcome) == line
    assert "\n" not in line
    assert decode(line) == decode(line.encode() + b"\n") == outcome


def test_every_outcome_is_tried() -> None:
    assert {type(outcome) for outcome, _ in ALL} == set(Outcome.__args__)


@pytest.mark.parametrize(
    "line", ["", "{}", "[]", '{"outcome": "failed"}', '{"outcome": "died", "code": 1, "detail": ""}']
)
def test_other_lines_are_no_outcome(line: str) -> None:
    with pytest.raises(ValueError):
        decode(line)


def test_an_order_is_a_line_too() -> None:
    order = Order("job_1", 7)
    assert Order.decode(order.encode()) == order
    assert order.encode() == '{"job": "job_1", "fence": 7}'
