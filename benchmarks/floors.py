"""Floors and ceilings of what is measured, and the lines that say whether they are met."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

__all__ = ["Floor", "report"]


class Floor(NamedTuple):
    """What is measured, its figure, and the least that it must be, or with ``most`` the most that it may be."""

    what: str
    measured: float
    goal: float
    most: bool = False

    @property
    def met(self) -> bool:
        """Whether the figure is as good as it must be."""
        return self.measured <= self.goal if self.most else self.measured >= self.goal

    @property
    def margin(self) -> float:
        """How far the figure is above its goal, or below it if negative, as a share of the goal."""
        return self.measured / self.goal - 1


def report(floors: Iterable[Floor]) -> list[dict[str, Any]]:
    """Print a line for each floor; return them as JSON can hold them."""
    found = []
    for floor in floors:
        limit = f"at {'most' if floor.most else 'least'} {floor.goal:g}; {floor.margin:+.1%}"
        print(f"{'met    ' if floor.met else 'NOT MET'}  {floor.what}: {floor.measured:.2f} ({limit})")
        found.append({**floor._asdict(), "met": floor.met})
    return found
