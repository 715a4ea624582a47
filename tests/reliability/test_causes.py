"""The short form of the causes, in a real service."""

from __future__ import annotations

from reliability.causes import run


def test_causes_are_told_apart() -> None:
    figure = run(0.5)
    assert figure.holds(0.5), figure.broken
    assert figure.counts["causes told apart"] == 4
