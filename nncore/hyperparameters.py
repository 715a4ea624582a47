"""Hyperparameters: dataclass fields with bounds and a description.

Layers, optimizers, losses and schedules are frozen dataclasses, and their fields are their hyperparameters. Each field
declares its bounds in its metadata. The constructor checks the bounds, and the API's schemas are derived from them.
"""

from __future__ import annotations

import math
from dataclasses import MISSING, dataclass, field, fields
from functools import cache
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

__all__ = ["MAXIMUM_ITEMS", "Bounds", "FieldError", "bounds_of", "check_hyperparameters", "hyperparameter"]

_KEY = "trainyard"

#: Maximum length of a field that holds a tuple of numbers.
MAXIMUM_ITEMS = 1000


class FieldError(ValueError):
    """A field value that each bound allows but the rule as a whole does not; ``wanted`` describes a valid value."""

    def __init__(self, rule: Any, field: str, wanted: str, value: Any) -> None:
        self.field, self.wanted, self.value = field, wanted, value
        super().__init__(f"{type(rule).__name__}.{field} {wanted}. Received: {value!r}")


@dataclass(frozen=True)
class Bounds:
    """Limits of a number, or of each number in a tuple.

    ``minimum`` and ``maximum`` are inclusive, ``above`` and ``below`` are exclusive.
    """

    minimum: float | None = None
    maximum: float | None = None
    above: float | None = None
    below: float | None = None
    help: str = ""

    def violation(self, value: float) -> str | None:
        """Return what ``value`` must be, or None if it is within the limits."""
        if not math.isfinite(value):
            return "must be a finite number"
        if self.minimum is not None and value < self.minimum:
            return f"must be at least {self.minimum:g}"
        if self.maximum is not None and value > self.maximum:
            return f"must be at most {self.maximum:.12g}"
        if self.above is not None and value <= self.above:
            return f"must be greater than {self.above:g}"
        if self.below is not None and value >= self.below:
            return f"must be less than {self.below:g}"
        return None


def hyperparameter(
    default: Any = MISSING,
    *,
    minimum: float | None = None,
    maximum: float | None = None,
    above: float | None = None,
    below: float | None = None,
    help: str = "",
) -> Any:
    """Declare a dataclass field with its bounds and a one-line description."""
    metadata = {_KEY: Bounds(minimum, maximum, above, below, help)}
    return field(metadata=metadata) if default is MISSING else field(default=default, metadata=metadata)


def bounds_of(metadata: Any) -> Bounds:
    """Return the bounds from a dataclass field's metadata; empty bounds if it declares none."""
    bounds = metadata.get(_KEY, Bounds())
    assert isinstance(bounds, Bounds)
    return bounds


def check_hyperparameters(rule: Any) -> None:
    """Raise TypeError or ValueError for the first field of ``rule`` with a wrong type or a value out of bounds."""
    hints = _hints(rule.__class__)
    for item in fields(rule):
        value, hint = getattr(rule, item.name), hints[item.name]
        if get_origin(hint) in (Union, UnionType):
            if value is None:
                continue
            (hint,) = (choice for choice in get_args(hint) if choice is not NoneType)
        _check(f"{type(rule).__name__}.{item.name}", value, hint, bounds_of(item.metadata))


@cache
def _hints(rule: type) -> dict[str, Any]:
    """Return the types of a rule's fields. Cached because evaluating string annotations is slow."""
    return get_type_hints(rule)


def _check(place: str, value: Any, hint: Any, bounds: Bounds) -> None:
    if get_origin(hint) is Literal:
        if value not in get_args(hint):
            raise ValueError(f"{place} must be one of {', '.join(map(repr, get_args(hint)))}. Received: {value!r}")
    elif get_origin(hint) is tuple:
        _check_items(place, value, get_args(hint)[0], bounds)
    elif hint in (int, float):
        if isinstance(value, bool) or not isinstance(value, (int, float) if hint is float else int):
            kind = "a number" if hint is float else "a whole number"
            raise TypeError(f"{place} must be {kind}. Received: {value!r}")
        problem = bounds.violation(value)
        if problem:
            raise ValueError(f"{place} {problem}. Received: {value!r}")
    elif not isinstance(value, hint):
        kind = "true or false" if hint is bool else f"a {hint.__name__}"
        raise TypeError(f"{place} must be {kind}. Received: {value!r}")


def _check_items(place: str, value: Any, hint: Any, bounds: Bounds) -> None:
    if not isinstance(value, tuple):
        raise TypeError(f"{place} must be a tuple of numbers. Received: {value!r}")
    if len(value) > MAXIMUM_ITEMS:
        raise ValueError(f"{place} must hold at most {MAXIMUM_ITEMS} numbers. Received: {len(value)}")
    for index, item in enumerate(value):
        _check(f"{place}[{index}]", item, hint, bounds)
