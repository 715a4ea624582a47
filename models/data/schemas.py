"""Schemas of rows and labels in requests."""

from __future__ import annotations

from typing import Any

import marshmallow as ma

from models.data.labels import LABELS
from models.data.rows import MATRIX, WEIGHTS
from models.schemas import DescribedField, Number, StrictSchema, Text
from nncore.hyperparameters import Bounds

__all__ = ["DataSchema", "RowsSchema", "Untouched", "ValidationSchema"]


class Untouched(DescribedField):
    """Numbers or labels, passed through as parsed; they are checked later, as arrays."""

    def json_schema(self) -> dict[str, Any]:
        return {"inputs": MATRIX, "labels": LABELS, "weights": WEIGHTS}[str(self.name)]

    def _validated(self, value: Any) -> Any:
        return value


class RowsSchema(StrictSchema):
    """Rows and labels, inline or by a dataset's name or id."""

    inputs = Untouched()
    labels = Untouched()
    dataset = Text(maximum=63)

    choices = "must hold inputs and labels, or dataset"
    #: The valid sets of fields.
    allowed: tuple[set[str], ...] = ({"dataset"}, {"inputs", "labels"})

    @ma.post_load
    def _one_of(self, values: dict[str, Any], **_options: Any) -> dict[str, Any]:
        if set(values) not in self.allowed:
            raise ma.ValidationError(f"{self.choices}. Received: {', '.join(sorted(values)) or 'nothing'}")
        return values


class DataSchema(RowsSchema):
    """Rows to train on, with optional weights."""

    weights = Untouched(metadata={"description": "How much each row counts; 1 if left out."})

    choices = "must hold inputs and labels (with optional weights), or dataset"
    allowed = (*RowsSchema.allowed, {"inputs", "labels", "weights"})


class ValidationSchema(RowsSchema):
    """Held-out data: a fraction of the training rows, or separate rows."""

    fraction = Number(Bounds(above=0.0, below=1.0))

    choices = "must hold fraction, or inputs and labels, or dataset"
    allowed = (*RowsSchema.allowed, {"fraction"})
