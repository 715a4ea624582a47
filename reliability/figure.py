"""The result of testing a promise."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["Figure"]


@dataclass
class Figure:
    """The counts of a test, and each case in which the promise did not hold.

    ``goals`` are the counts that a full test must reach. ``skipped`` is the reason if this machine cannot run the test.
    """

    counts: dict[str, int] = field(default_factory=dict)
    goals: dict[str, int] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)
    skipped: str | None = None

    def count(self, what: str, number: int = 1) -> None:
        """Add to a count."""
        self.counts[what] = self.counts.get(what, 0) + number

    def holds(self, scale: float = 1.0) -> bool:
        """Whether nothing broke and every count reached its share of the goal."""
        return not self.broken and (
            self.skipped is not None
            or all(self.counts.get(what, 0) >= int(goal * scale) for what, goal in self.goals.items())
        )

    def __str__(self) -> str:
        if self.skipped is not None:
            return f"skipped: {self.skipped}"
        done = ", ".join(
            f"{number:,} {what}" + (f" (goal {self.goals[what]:,})" if what in self.goals else "")
            for what, number in self.counts.items()
        )
        return f"{done}; {len(self.broken)} broken"
