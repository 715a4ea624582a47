"""Numbers in queries, which are text: written with the ten ASCII digits, without signs, spaces or underscores."""

from __future__ import annotations

import math
import re
from typing import Any

from models.schemas import DescribedField

__all__ = ["QueryNumber", "QueryWhole"]

#: Longer texts are beyond every limit, and Python refuses to parse integers with thousands of digits.
_WHOLE = re.compile(r"[0-9]{1,18}")
_NUMBER = re.compile(r"(?=.{1,30}\Z)([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")


class QueryWhole(DescribedField):
    """A whole number from ``minimum`` to ``maximum``, as queries have them."""

    def __init__(self, minimum: int, maximum: int, **options: Any) -> None:
        super().__init__(**options)
        self.minimum, self.maximum = minimum, maximum
        self.wanted = f"a whole number from {minimum} to {maximum}"

    def json_schema(self) -> dict[str, Any]:
        return {"type": "integer", "minimum": self.minimum, "maximum": self.maximum}

    def _validated(self, value: Any) -> int:
        if _WHOLE.fullmatch(value) is None or not self.minimum <= int(value) <= self.maximum:
            raise self.refusal(value)
        return int(value)


class QueryNumber(DescribedField):
    """A finite number that is not negative, as queries have them."""

    wanted = "a number, at least 0"

    def json_schema(self) -> dict[str, Any]:
        return {"type": "number", "minimum": 0}

    def _validated(self, value: Any) -> float:
        if _NUMBER.fullmatch(value) is None or not math.isfinite(float(value)):
            raise self.refusal(value)
        return float(value)
