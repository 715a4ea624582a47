"""The request for a training run, validated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import marshmallow as ma

from models.data.schemas import DataSchema, Rows, ValidationSchema
from models.definition.class_weights import ClassWeights, ClassWeightsValue
from models.definition.definition import NETWORK, Metadata, loss_field, optimizer_field
from models.errors import describe
from models.identifiers import NAME_PATTERN
from models.schemas import DescribedField, Flag, Number, StrictSchema, Text, Whole, schema_for
from models.training.defaults import schedule_for
from nncore.hyperparameters import Bounds
from nncore.losses import Loss
from nncore.optimizers import Optimizer
from nncore.stopping import EarlyStopping

__all__ = ["TrainSchema", "TrainingRequest", "filled"]


#: Of requests that say which network to train.
DEFAULT_EPOCHS, DEFAULT_BATCH = 100, 32
MAXIMUM_EPOCHS = 10_000_000
MAXIMUM_BATCH = 1_000_000
MAXIMUM_SEED = 2**53 - 1


@dataclass(frozen=True)
class TrainingRequest:
    """How to train: the members of ``POST /train`` except model and data."""

    epochs: int
    batch_size: int | Literal["full"]
    shuffle: bool
    seed: int
    optimizer: Optimizer | None
    validation_fraction: float | None
    every_epochs: int | None
    every_seconds: float | None
    keep: int
    publish: Literal["last", "best"] | None
    loss: Loss | None = None
    class_weights: ClassWeightsValue | None = None
    early_stopping: EarlyStopping | None = None
    max_seconds: float | None = None
    reinitialize: tuple[str, ...] = ()
    validate_every: int = 1

    @property
    def tracks_best(self) -> bool:
        """Whether the run must keep its best epoch."""
        return self.publish == "best" or self.early_stopping is not None

    @property
    def ends_with_best(self) -> bool:
        """Whether the run ends with the state of its best epoch."""
        return self.publish == "best" or (self.early_stopping is not None and self.early_stopping.restore_best)

    def batch_rows(self, rows: int) -> int:
        """Rows of one batch if there are ``rows`` training rows."""
        return rows if self.batch_size == "full" else min(self.batch_size, rows)

    @classmethod
    def of(cls, loaded: dict[str, Any]) -> TrainingRequest:
        """The request in a document that ``TrainSchema`` loaded, or in a job's stored document."""
        checkpoint = loaded["checkpoint"]
        validation = loaded["validation"] or {}
        # Jobs stored by an earlier version do not have every member.
        optimizer, loss, stopping = loaded["optimizer"], loaded.get("loss"), loaded.get("early_stopping")
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
            publish=_PUBLISH[loaded["publish"]],
            loss=loss_field().deserialize(loss) if isinstance(loss, dict) else loss,
            class_weights=loaded.get("class_weights"),
            early_stopping=EarlyStopping(**stopping) if stopping is not None else None,
            max_seconds=loaded.get("max_seconds"),
            reinitialize=tuple(loaded.get("reinitialize", ())),
            validate_every=loaded.get("validate_every", 1),
        )


#: The meaning of each value of ``publish``.
_PUBLISH: dict[bool | str, Literal["last", "best"] | None] = {True: "last", False: None, "last": "last", "best": "best"}


class Publish(DescribedField):
    """Which state becomes the model's next version: the last one, that of the best epoch, or none."""

    wanted = 'true, false, "last" or "best"'

    def json_schema(self) -> dict[str, Any]:
        return {"oneOf": [{"type": "boolean"}, {"enum": ["last", "best"]}]}

    def _validated(self, value: Any) -> bool | str:
        if not isinstance(value, (bool, str)) or value not in _PUBLISH:
            raise self.refusal(value)
        return value


class BatchSize(Whole):
    """A number of rows, or "full" for all rows."""

    def json_schema(self) -> dict[str, Any]:
        return {"oneOf": [super().json_schema(), {"const": "full"}]}

    def _validated(self, value: Any) -> Any:
        if value == "full":
            return value
        if type(value) is not int:
            raise self.refusal(value, 'must be a whole number or "full"')
        return super()._validated(value)


class CheckpointPolicySchema(StrictSchema):
    """When to save checkpoints between the first and the last epoch, and how many of them to keep."""

    every_epochs = Whole(
        Bounds(minimum=1, maximum=MAXIMUM_EPOCHS),
        load_default=None,
        allow_none=True,
        metadata={"description": "Epochs between two checkpoints."},
    )
    every_seconds = Number(
        Bounds(minimum=1, maximum=1e9),
        load_default=None,
        allow_none=True,
        metadata={"description": "Seconds between two checkpoints."},
    )
    keep = Whole(
        Bounds(minimum=0, maximum=10_000),
        load_default=3,
        metadata={"description": "How many of these checkpoints to keep; older ones are deleted."},
    )


class ModelReference(DescribedField):
    """The name of a model, or a definition, which is validated together with the data."""

    def json_schema(self) -> dict[str, Any]:
        definition = {"description": "As for POST /models. The data decides inputs and classes if left out."}
        return {"oneOf": [{"type": "string", "pattern": f"^{NAME_PATTERN}$"}, {"type": "object", **definition}]}

    def _validated(self, value: Any) -> Any:
        if isinstance(value, dict):
            return value
        if not isinstance(value, str):
            raise ma.ValidationError(f"must be a model's name or a definition. Received: {describe(value)}")
        return Text(pattern=NAME_PATTERN, maximum=63).deserialize(value)


def _described(text: str) -> dict[str, str]:
    return {"description": text}


class TrainSchema(StrictSchema):
    """The body of ``POST /train``."""

    model = ModelReference(
        metadata=_described(
            "The model's name, or a definition. If left out, the model is named after the dataset: it is trained again "
            "if it exists, and defined from the data otherwise."
        )
    )
    data = Rows(DataSchema, required=True, metadata=_described("The rows to train on."))
    epochs = Whole(
        Bounds(minimum=0, maximum=MAXIMUM_EPOCHS),
        metadata=_described(
            f"Passes over the data; {DEFAULT_EPOCHS} if left out. If `model` is left out too, or is a definition "
            "without `layers` and `hidden`, the number of rows decides epochs and batch size: 2,000 steps or more."
        ),
    )
    batch_size = BatchSize(
        Bounds(minimum=1, maximum=MAXIMUM_BATCH),
        metadata=_described(f'Rows per batch, or "full" for all rows; {DEFAULT_BATCH} if left out, but see `epochs`.'),
    )
    shuffle = Flag(load_default=True, metadata=_described("Shuffle the rows before each epoch."))
    seed = Whole(
        Bounds(minimum=0, maximum=MAXIMUM_SEED),
        load_default=0,
        metadata=_described("Seed of everything random. The same request with the same seed gives the same weights."),
    )
    validation = Rows(
        ValidationSchema,
        load_default=None,
        allow_none=True,
        metadata=_described("Held-out data to evaluate after each epoch, or as `validate_every` says."),
    )
    validate_every = Whole(
        Bounds(minimum=1, maximum=MAXIMUM_EPOCHS),
        load_default=1,
        metadata=_described(
            "Epochs from one validation to the next. Early stopping and the best epoch consider validated ones alone."
        ),
    )
    optimizer = optimizer_field(
        load_default=None, allow_none=True, metadata=_described("Replaces the model's optimizer for this job.")
    )
    checkpoint = ma.fields.Nested(
        CheckpointPolicySchema,
        load_default=lambda: {"every_epochs": None, "every_seconds": None, "keep": 3},
        metadata=_described("When to save checkpoints during the job."),
    )
    loss = loss_field(
        load_default=None, allow_none=True, metadata=_described("Replaces the model's loss for this job.")
    )
    class_weights = ClassWeights(
        load_default=None, allow_none=True, metadata=_described("Replaces the model's class weights for this job.")
    )
    early_stopping = ma.fields.Nested(
        schema_for(EarlyStopping),
        load_default=None,
        allow_none=True,
        metadata=_described("End the job if an epoch's metric no longer improves."),
    )
    max_seconds = Number(
        Bounds(above=0.0, maximum=1e9),
        load_default=None,
        allow_none=True,
        metadata=_described("End the job after this many seconds of training."),
    )
    start_from = Text(
        load_default=None, allow_none=True, maximum=63, metadata=_described("Id of a checkpoint to start from.")
    )
    reinitialize = ma.fields.List(
        Text(maximum=80),
        load_default=list,
        metadata=_described("Layers (`index_type`) to initialize anew instead of from `start_from`."),
    )
    publish = Publish(
        load_default=True,
        metadata=_described("Which state becomes the next version: the last (`true`), the best epoch's, or none."),
    )
    dry_run = Flag(load_default=False, metadata=_described("Check and estimate only; store nothing."))
    metadata = Metadata(load_default=dict)

    @ma.post_load
    def _fill(self, values: dict[str, Any], **_options: Any) -> dict[str, Any]:
        """Fill in what the data do not decide; the rest is None (``filled``)."""
        model = values.setdefault("model", None)
        network_is_open = model is None or (isinstance(model, dict) and not NETWORK & model.keys())
        values.setdefault("epochs", None if network_is_open else DEFAULT_EPOCHS)
        values.setdefault("batch_size", None if network_is_open else DEFAULT_BATCH)
        return values


def filled(body: dict[str, Any], rows: int) -> dict[str, Any]:
    """A body that ``TrainSchema`` has loaded, with the epochs and batch size that ``rows`` rows need if it has none."""
    schedule = schedule_for(rows, body["batch_size"])
    epochs = schedule.epochs if body["epochs"] is None else body["epochs"]
    return {**body, "epochs": epochs, "batch_size": schedule.batch_size}
