"""Schemas of rows and labels in requests."""

from __future__ import annotations

from typing import Any, ClassVar

import marshmallow as ma

from models.data.labels import LABELS
from models.data.rows import MATRIX, WEIGHTS
from models.errors import InvalidError
from models.schemas import DescribedField, Number, StrictSchema, Text, shared
from nncore.hyperparameters import Bounds

__all__ = ["DataSchema", "Rows", "RowsSchema", "Short", "Untouched", "ValidationSchema", "as_written"]


RECORDS: dict[str, Any] = {
    "type": "array",
    "items": {"type": "object", "additionalProperties": {"type": ["number", "string", "boolean", "null"]}},
    "description": "One object a row: values by the names of their columns. A missing value is null or left out.",
}
NAMES: dict[str, Any] = {"type": "array", "items": {"type": "string"}, "description": "The names of the columns."}


class Untouched(DescribedField):
    """Rows, numbers or labels, passed through as parsed; they are checked later, as arrays."""

    def json_schema(self) -> dict[str, Any]:
        return {"inputs": MATRIX, "labels": LABELS, "weights": WEIGHTS, "rows": RECORDS, "features": NAMES}[
            str(self.name)
        ]

    def _validated(self, value: Any) -> Any:
        return value


class Short(dict[str, Any]):
    """An object that was written as the value of its only member, which its errors therefore do not name."""


def as_written(error: InvalidError, body: dict[str, Any], *parts: str) -> InvalidError:
    """An error whose pointers name the short forms that the ``parts`` of a loaded body had."""
    for part in parts:
        value = body[part]
        if isinstance(value, Short):
            (member,) = value
            error = error.moved(f"/{part}/{member}", f"/{part}")
    return error


class RowsSchema(StrictSchema):
    """Rows and labels, inline or by a dataset's name or id."""

    #: The member that a value of another type than an object stands for, by that type.
    short: ClassVar[dict[type, str]] = {str: "dataset"}
    wanted: ClassVar[str] = "an object, or the name of a dataset"

    inputs = Untouched()
    labels = Untouched()
    features = Untouched(metadata={"description": "The names of the columns of `inputs`."})
    rows = Untouched()
    dataset = Text(maximum=63)
    label = Text(metadata={"description": "The column that holds the classes, if the dataset does not name one."})
    weight = Text(metadata={"description": "The column that says how much each row counts."})

    choices = "must hold dataset (with an optional label), rows and label, or inputs and labels"
    #: The fields that go together, and those that may be added to them.
    allowed: tuple[tuple[set[str], set[str]], ...] = (
        ({"dataset"}, {"label"}),
        ({"rows", "label"}, set()),
        ({"inputs", "labels"}, {"features"}),
    )

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        forms = [
            {"required": sorted(needed), "propertyNames": {"enum": sorted(needed | optional)}}
            for needed, optional in cls.allowed
        ]
        cls.rules = {"anyOf": forms}

    @ma.post_load
    def _one_of(self, values: dict[str, Any], **_options: Any) -> dict[str, Any]:
        given = set(values)
        if not any(needed <= given <= needed | optional for needed, optional in self.allowed):
            raise ma.ValidationError(f"{self.choices}. Received: {', '.join(sorted(values)) or 'nothing'}")
        return values


class DataSchema(RowsSchema):
    """Rows to train on, with optional weights."""

    weights = Untouched(metadata={"description": "How much each row counts; 1 if left out."})

    choices = "must hold dataset (with an optional label), rows and label, or inputs and labels (with optional weights)"
    allowed = (
        *RowsSchema.allowed,
        ({"rows", "label", "weight"}, set()),
        ({"inputs", "labels", "weights"}, {"features"}),
    )


class ValidationSchema(RowsSchema):
    """Held-out data: a fraction of the training rows, or separate rows."""

    short: ClassVar[dict[type, str]] = {str: "dataset", int: "fraction", float: "fraction"}
    wanted: ClassVar[str] = "an object, a fraction, or the name of a dataset"

    fraction = Number(Bounds(above=0.0, below=1.0))

    choices = "must hold fraction, dataset (with an optional label), rows and label, or inputs and labels"
    allowed = (*RowsSchema.allowed, ({"fraction"}, set()))


class Rows(DescribedField):
    """The rows of a request as one of these schemas has them, or in a short form."""

    def __init__(self, schema: type[RowsSchema], **options: Any) -> None:
        super().__init__(**options)
        self.schema = schema
        self.wanted = schema.wanted

    @property
    def short_forms(self) -> list[dict[str, Any]]:
        """The JSON schemas of the short forms."""
        fields = shared(self.schema).fields
        described = [fields[name] for name in dict.fromkeys(self.schema.short.values())]
        return [field.json_schema() for field in described if isinstance(field, DescribedField)]

    def _validated(self, value: Any) -> Any:
        if isinstance(value, dict):
            return shared(self.schema).load(value)
        name = self.schema.short.get(type(value))
        if name is None:
            raise self.refusal(value)
        try:
            return Short(shared(self.schema).load({name: value}))
        except ma.ValidationError as error:
            messages = error.messages
            raise ma.ValidationError(messages[name] if isinstance(messages, dict) else messages) from None
