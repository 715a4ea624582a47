"""What a client asks of a training run, validated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import marshmallow as ma

from models.definitions import NAME_PATTERN, Metadata, optimizer_field
from models.matrices import LABELS, MATRIX, describe
from models.schemas import DescribedField, Flag, Number, StrictSchema, Text, Whole
from nncore.hyperparameters import Bounds
from nncore.optimizers import Optimizer

__all__ = ["DataSchema", "TrainSchema", "TrainingRequest"]

MAXIMUM_EPOCHS = 10_000_000
MAXIMUM_BATCH = 1_000_000
MAXIMUM_SEED = 2**53 - 1


@dataclass(frozen=True)
class TrainingRequest:
    """How to train: everything of ``POST /train`` but model and data."""

    epochs: int
    batch_size: int | Literal["full"]
    shuffle: bool
    seed: int
    optimizer: Optimizer | None
    validation_fraction: float | None
    every_epochs: int | None
    every_seconds: float | None
    keep: int
    publish: bool

    @classmethod
    def of(cls, loaded: dict[str, Any]) -> TrainingRequest:
        """The request within what ``TrainSchema`` has loaded, or a job's stored document."""
        checkpoint = loaded["checkpoint"]
        validation = loaded["validation"] or {}
        optimizer = loaded["optimizer"]
        return cls(
            epochs=loaded["epochs"],
            batch_size=loaded["batch_size"],
            shuffle=loaded["shuffle"],
            seed=loaded["seed"],
            optimizer=optimizer_field().deserialize(optimizer) if isinstance(optimizer, dict) else optimizer,
            validation_fraction=validation.get("fraction"),
            every_epochs=checkpoint["every_epochs"],
            every_seconds=checkpoint["every_seconds"],
            keep=checkpoint["keep"],
            publish=loaded["publish"],
        )


class BatchSize(Whole):
    """A number of rows, or "full" for all of them."""

    def json_schema(self) -> dict[str, Any]:
        return {"oneOf": [super().json_schema(), {"const": "full"}]}

    def _validated(self, value: Any) -> Any:
        if value == "full":
            return value
        if type(value) is not int:
            raise self.fault(value, 'must be a whole number or "full"')
        return super()._validated(value)


class Untouched(DescribedField):
    """Numbers or labels, left as parsed: arrays are checked as arrays, not by a schema."""

    def json_schema(self) -> dict[str, Any]:
        return MATRIX if self.name == "inputs" else LABELS

    def _validated(self, value: Any) -> Any:
        return value


class DataSchema(StrictSchema):
    """Rows and labels, inline or as a dataset's name or id."""

    inputs = Untouched()
    labels = Untouched()
    dataset = Text(maximum=63)

    @ma.post_load
    def _one_of(self, values: dict[str, Any], **_options: Any) -> dict[str, Any]:
        given = set(values) - {"fraction"}
        if given not in ({"dataset"}, {"inputs", "labels"}) and (given or "fraction" not in values):
            raise ma.ValidationError(f"{self.choices}. Received: {', '.join(sorted(values)) or 'nothing'}")
        if given and "fraction" in values:
            raise ma.ValidationError(f"{self.choices}. Received: {', '.join(sorted(values))}")
        return values

    choices = "must hold inputs and labels, or dataset"


class ValidationSchema(DataSchema):
    """Held-out data: a share of the training rows, or rows of their own."""

    fraction = Number(Bounds(above=0.0, below=1.0))

    choices = "must hold fraction, or inputs and labels, or dataset"


class CheckpointPolicySchema(StrictSchema):
    """When to checkpoint between the first and the last epoch, and how many of these to keep."""

    every_epochs = Whole(Bounds(minimum=1, maximum=MAXIMUM_EPOCHS), load_default=None, allow_none=True)
    every_seconds = Number(Bounds(minimum=1, maximum=1e9), load_default=None, allow_none=True)
    keep = Whole(Bounds(minimum=0, maximum=10_000), load_default=3)


class ModelReference(DescribedField):
    """The name of a model, or a definition, which is validated once the data is known."""

    def json_schema(self) -> dict[str, Any]:
        definition = {"description": "A definition as for POST /models; inputs and classes may be left to the data."}
        return {"oneOf": [{"type": "string", "pattern": f"^{NAME_PATTERN}$"}, {"type": "object", **definition}]}

    def _validated(self, value: Any) -> Any:
        if isinstance(value, dict):
            return value
        if not isinstance(value, str):
            raise ma.ValidationError(f"must be a model's name or a definition. Received: {describe(value)}")
        return Text(pattern=NAME_PATTERN, maximum=63).deserialize(value)


class TrainSchema(StrictSchema):
    """The body of ``POST /train``."""

    model = ModelReference(required=True)
    data = ma.fields.Nested(DataSchema, required=True)
    epochs = Whole(Bounds(minimum=1, maximum=MAXIMUM_EPOCHS), load_default=100)
    batch_size = BatchSize(Bounds(minimum=1, maximum=MAXIMUM_BATCH), load_default=32)
    shuffle = Flag(load_default=True)
    seed = Whole(Bounds(minimum=0, maximum=MAXIMUM_SEED), load_default=0)
    validation = ma.fields.Nested(ValidationSchema, load_default=None, allow_none=True)
    optimizer = optimizer_field(load_default=None, allow_none=True)
    checkpoint = ma.fields.Nested(
        CheckpointPolicySchema, load_default=lambda: {"every_epochs": None, "every_seconds": None, "keep": 3}
    )
    start_from = Text(load_default=None, allow_none=True, maximum=63)
    publish = Flag(load_default=True)
    metadata = Metadata(load_default=dict)
