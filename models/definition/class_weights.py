"""Class weights in definitions and requests: how much the rows of each class count."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import marshmallow as ma

from models.data.labels import Label, match
from models.data.limits import MAXIMUM_CLASSES
from models.errors import InvalidError, describe
from models.schemas import DescribedField, ItemMessages, Number
from nncore.hyperparameters import Bounds

__all__ = ["ClassWeights", "ClassWeightsValue", "weights_of_classes"]

ClassWeightsValue = Literal["balanced"] | dict[str, float] | list[float]


class ClassWeights(DescribedField):
    """Weights of classes: "balanced", one number per class in order, or an object by label (default 1)."""

    wanted = '"balanced", a list of numbers or an object of numbers by label'
    _weight = Number(Bounds(minimum=0.0, maximum=1e12))

    def json_schema(self) -> dict[str, Any]:
        weight = self._weight.json_schema()
        return {
            "oneOf": [
                {"const": "balanced"},
                {"type": "array", "items": weight},
                {"type": "object", "additionalProperties": weight},
            ]
        }

    def _validated(self, value: Any) -> Any:
        if value == "balanced":
            return value
        if isinstance(value, list):
            places: list[tuple[Any, Any]] = list(enumerate(value))
        elif isinstance(value, dict):
            places = list(value.items())
        else:
            raise self.refusal(value)
        if len(places) > MAXIMUM_CLASSES:
            raise ma.ValidationError(f"must hold at most {MAXIMUM_CLASSES} weights. Received: {len(places)}")
        messages = ItemMessages()
        for place, weight in places:
            try:
                self._weight.deserialize(weight)
            except ma.ValidationError as error:
                messages.add(place, error.messages)
        messages.check()
        return value


def weights_of_classes(
    wanted: Literal["balanced"] | Mapping[str, float] | Sequence[float] | None, classes: Sequence[Label]
) -> Literal["balanced"] | list[float] | None:
    """The classes' weights in the order of ``classes``. Raises InvalidError if count or labels do not fit them."""
    if wanted is None or wanted == "balanced":
        return wanted
    if not isinstance(wanted, Mapping):
        if len(wanted) != len(classes):
            raise InvalidError.at("/class_weights", f"must hold {len(classes)} weights. Received: {len(wanted)}")
        if not any(wanted):
            raise InvalidError.at("/class_weights", "must not all be 0")
        return [float(weight) for weight in wanted]
    if not any(wanted.values()) and len(wanted) == len(classes):
        raise InvalidError.at("/class_weights", "must not all be 0")
    weights = dict.fromkeys(range(len(classes)), 1.0)
    seen: dict[int, str] = {}
    for name, place in zip(wanted, match(wanted, classes).tolist(), strict=True):
        if place < 0:
            raise InvalidError.at("/class_weights", f"must name only classes of the model. Received: {describe(name)}")
        if place in seen:
            both = f"{describe(seen[place])} and {describe(name)}"
            raise InvalidError.at("/class_weights", f"must name each class once. Received: {both}, which are the same")
        weights[place], seen[place] = float(wanted[name]), name
    return list(weights.values())
