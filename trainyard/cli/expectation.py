"""What a job must reach, as in ``validation_accuracy>=0.9``."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["Expectation", "metrics_of"]

_FORM = re.compile(r"\s*([A-Za-z_][A-Za-z0-9_.]*)\s*(>=|<=|==|>|<)\s*(\S+)\s*")
_COMPARE: dict[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    "==": operator.eq,
    ">": operator.gt,
    "<": operator.lt,
}


@dataclass(frozen=True)
class Expectation:
    """A metric, a comparison and a number."""

    metric: str
    comparison: str
    number: float

    @classmethod
    def parse(cls, written: str) -> Expectation:
        """Raises ValueError if it has another form."""
        found = _FORM.fullmatch(written)
        if found is None:
            raise ValueError(
                f"must be a metric, a comparison and a number, as in validation_accuracy>=0.9. Received: {written!r}"
            )
        try:
            return cls(found[1], found[2], float(found[3]))
        except ValueError:
            raise ValueError(f"must end with a number, as in validation_accuracy>=0.9. Received: {written!r}") from None

    def missed(self, known: Mapping[str, float]) -> str | None:
        """A sentence about metrics that do not reach it, None if they do."""
        value = known.get(self.metric)
        if value is None:
            return f"--expect: the job has no {self.metric}; it has {', '.join(sorted(known)) or 'no metrics'}"
        if _COMPARE[self.comparison](value, self.number):
            return None
        return f"--expect missed: {self.metric} is {value:.6g}, not {self.comparison} {self.number:g}"


def metrics_of(job: Mapping[str, Any], version: Mapping[str, Any] | None = None) -> dict[str, float]:
    """All numbers that a job ends with, those of rows held out by members as ``held_out.accuracy`` and so on.

    If it has a version, the metrics are those of that, which may be an earlier epoch than the last one.
    """
    found = dict((version or job).get("metrics") or {})
    for group in ("held_out", "held_out.validation", "held_out.to_beat.majority", "held_out.to_beat.linear"):
        values: Any = job
        for part in group.split("."):
            values = (values or {}).get(part)
        found |= {f"{group}.{name}": value for name, value in (values or {}).items()}
    return {name: value for name, value in found.items() if isinstance(value, int | float)}
