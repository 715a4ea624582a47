"""Hyperparameters: dataclass fields that carry their own bounds and help text.

A layer, an optimizer or any other rule is a frozen dataclass whose fields are its hyperparameters. The bounds
stand in each field's metadata, once: the constructor checks them here, and schemas are derived from them elsewhere.
"""

from __future__ import annotations

import math
from dataclasses import MISSING, dataclass, field, fields
from functools import cache
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

__all__ = ["MAXIMUM_ITEMS", "Bounds", "FieldError", "bounds_of", "check_hyperparameters", "hyperparameter"]

_KEY = "trainyard"

#: Numbers that one field may hold.
MAXIMUM_ITEMS = 1000


class FieldError(ValueError):
    """A field that does not go with the others of its rule: its name, what it must be, and what it is."""

    def __init__(self, rule: Any, field: str, wanted: str, value: Any) -> None:
        self.field, self.wanted, self.value = field, wanted, value
        super().__init__(f"{type(rule).__name__}.{field} {wanted}. Received: {value!r}")


@dataclass(frozen=True)
class Bounds:
    """Limits of each number: ``minimum``/``maximum`` are allowed values, ``above``/``below`` are not."""

    minimum: float | None = None
    maximum: float | None = None
    above: float | None = None
    below: float | None = None
    help: str = ""

    def violation(self, value: float) -> str | None:
        """Say what ``value`` would have to be, or None where it is within the limits."""
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
    """Declare a dataclass field with its bounds and one line of help."""
    metadata = {_KEY: Bounds(minimum, maximum, above, below, help)}
    return field(metadata=metadata) if default is MISSING else field(default=default, metadata=metadata)


def bounds_of(metadata: Any) -> Bounds:
    """The bounds in a dataclass field's metadata; no bounds where none were declared."""
    bounds = metadata.get(_KEY, Bounds())
    assert isinstance(bounds, Bounds)
    return bounds


def check_hyperparameters(rule: Any) -> None:
    """Raise ValueError or TypeError naming the first field of ``rule`` that is out of its type or bounds."""
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
    """The types of a rule's fields, which stand there as texts to be compiled."""
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
