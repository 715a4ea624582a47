"""The request for a training run, validated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import marshmallow as ma

from models.data.schemas import DataSchema, Rows, ValidationSchema
from models.definition.class_weights import ClassWeights, ClassWeightsValue
from models.definition.definition import Metadata
from models.definition.ensemble import EFFORTS, MAXIMUM_FOLDS, Effort
from models.definition.rules import MAXIMUM_BATCH, MAXIMUM_EPOCHS, BatchSize, loss_field, optimizer_field
from models.errors import describe
from models.identifiers import NAME_PATTERN
from models.schemas import DescribedField, Flag, Items, Number, StrictSchema, Text, Whole, schema_for, shared
from models.training.defaults import schedule_for
from nncore.hyperparameters import MAXIMUM_ITEMS, Bounds
from nncore.losses import Loss
from nncore.optimizers import Optimizer
from nncore.stopping import EarlyStopping

__all__ = ["OF_ONE_NETWORK", "Folds", "TrainSchema", "TrainingRequest", "filled", "wants_one_network"]


#: Of requests that say which network to train.
DEFAULT_EPOCHS, DEFAULT_BATCH = 100, 32
MAXIMUM_SEED = 2**53 - 1


@dataclass(frozen=True)
class Folds:
    """How many folds there are, and the column whose equal values stay in the same fold."""

    count: int
    group: str | None = None


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
    effort: Effort | None = None
    folds: Folds | None = None
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
            # A run of several members has the epochs and batch sizes of their kinds.
            epochs=loaded["epochs"] or 0,
            batch_size=loaded["batch_size"] or "full",
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
            effort=loaded.get("effort"),
            folds=Folds(**loaded["folds"]) if loaded.get("folds") else None,
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


class FoldsSchema(StrictSchema):
    """Cross-validation: one network for each fold, which it holds out."""

    count = Whole(Bounds(minimum=2, maximum=MAXIMUM_FOLDS), required=True, metadata={"description": "How many folds."})
    group = Text(
        load_default=None,
        allow_none=True,
        metadata={"description": "A column: rows with the same value in it stay in the same fold."},
    )


class FoldsField(DescribedField):
    """The number of folds, or an object with count and group."""

    wanted = "a whole number, or an object with count and group"

    def json_schema(self) -> dict[str, Any]:
        count = {"type": "integer", "minimum": 2, "maximum": MAXIMUM_FOLDS}
        members = {"count": count, "group": {"type": ["string", "null"]}}
        whole = {"type": "object", "properties": members, "required": ["count"], "additionalProperties": False}
        return {"oneOf": [count, whole]}

    def _validated(self, value: Any) -> dict[str, Any]:
        if isinstance(value, dict):
            loaded: dict[str, Any] = shared(FoldsSchema).load(value)
            return loaded
        if type(value) is not int:
            raise self.refusal(value)
        if not 2 <= value <= MAXIMUM_FOLDS:
            raise self.refusal(value, f"must be from 2 to {MAXIMUM_FOLDS}")
        return {"count": value, "group": None}


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

    examples: ClassVar[Sequence[Any]] = (
        {"data": "sample", "effort": "quick"},
        {"data": "sample", "model": {"name": "sample-network", "hidden": [16]}, "validation": 0.25, "epochs": 50},
        {"data": "sample", "dry_run": True},
    )

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
    reinitialize = Items(
        Text(maximum=80),
        maximum=MAXIMUM_ITEMS,
        load_default=list,
        metadata=_described("Layers (`index_type`) to initialize anew instead of from `start_from`."),
    )
    effort = Text(
        choices=EFFORTS,
        load_default=None,
        allow_none=True,
        metadata=_described(
            'Of a network that is "auto": how many members there are and how long they may train. "default" if neither '
            "the request nor the definition says it."
        ),
    )
    folds = FoldsField(
        load_default=None,
        allow_none=True,
        metadata=_described(
            "Train one network for each of so many folds, which it holds out. The version answers with the mean of "
            "all; the job shows how good they are on the rows that they held out."
        ),
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
        values.setdefault("model", None)
        for name in ("epochs", "batch_size"):
            values.setdefault(name, None)
        return values


#: The members of a request that say how a single network is trained. A request with one of them, whose model has no
#: network yet, gets a single one; without them, the network is "auto".
OF_ONE_NETWORK = ("epochs", "batch_size", "optimizer", "loss", "early_stopping", "start_from")


def wants_one_network(body: dict[str, Any]) -> bool:
    """Whether a body that ``TrainSchema`` has loaded says how a single network is trained."""
    return any(body[name] is not None for name in OF_ONE_NETWORK) or not body["shuffle"] or body["publish"] == "best"


def filled(body: dict[str, Any], rows: int, *, open_network: bool) -> dict[str, Any]:
    """A body that ``TrainSchema`` has loaded, with epochs and batch size if it has none.

    With ``open_network``, the service chooses the network, and these are what ``rows`` rows need.
    """
    given = {name: body[name] for name in ("epochs", "batch_size") if body[name] is not None}
    if not open_network:
        return {**body, "epochs": DEFAULT_EPOCHS, "batch_size": DEFAULT_BATCH, **given}
    return {**body, **schedule_for(rows, body["batch_size"])._asdict(), **given}
