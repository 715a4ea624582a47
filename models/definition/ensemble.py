"""Networks of a version with several members: their kinds, and the folds that they hold out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import marshmallow as ma

from models.definition.rules import (
    MAXIMUM_BATCH,
    MAXIMUM_EPOCHS,
    BatchSize,
    layer_field,
    loss_field,
    optimizer_field,
)
from models.errors import describe
from models.schemas import DescribedField, Flag, Items, StrictSchema, Text, Whole, schema_for, shared
from nncore.hyperparameters import Bounds
from nncore.layers import Layer
from nncore.losses import CategoricalCrossentropy, Loss
from nncore.optimizers import Optimizer
from nncore.stopping import EarlyStopping

__all__ = ["EFFORTS", "NEWEST_RECIPE", "Effort", "Ensemble", "NetworkField", "NetworkKind", "OpenEnsemble"]

Effort = Literal["quick", "default", "thorough"]
EFFORTS: tuple[Effort, ...] = get_args(Effort)
#: The recipe that "auto" means. A stored recipe keeps its number and its meaning.
NEWEST_RECIPE = 1
MAXIMUM_KINDS, MAXIMUM_FOLDS = 8, 50


@dataclass(frozen=True)
class NetworkKind:
    """A kind of network, and how each of its members is trained.

    With ``bins``, it reads the bins of numbers beside the numbers themselves. A ``baseline`` shows what a simple
    network reaches; it is no part of the mixture. ``inputs`` is 0 until the features are fitted.
    """

    name: str
    layers: tuple[Layer, ...]
    optimizer: Optimizer
    epochs: int
    batch_size: int | Literal["full"]
    loss: Loss = CategoricalCrossentropy()
    validate_every: int = 1
    early_stopping: EarlyStopping | None = None
    bins: bool = True
    baseline: bool = False
    inputs: int = 0

    def document(self) -> dict[str, Any]:
        """The kind as a definition shows it."""
        document = shared(KindSchema).dump(vars(self))
        if not self.inputs:
            del document["inputs"]
        return dict(document)


@dataclass(frozen=True)
class Ensemble:
    """Members of one or several kinds: of each kind, one for each of ``folds`` folds, which it holds out.

    With ``used_folds``, only the first so many folds have members. ``group`` is the column whose equal values stay in
    the same fold. ``recipe`` is the number of the recipe that chose all of it for the number of rows, with its
    ``effort``; both are None if the request did.
    """

    kinds: tuple[NetworkKind, ...]
    folds: int
    used_folds: int | None = None
    group: str | None = None
    recipe: int | None = None
    effort: Effort | None = None

    @property
    def members(self) -> int:
        """The number of members, baselines included."""
        return len(self.kinds) * self.members_of_kind

    @property
    def members_of_kind(self) -> int:
        """The number of members of each kind."""
        return self.folds if self.used_folds is None else self.used_folds

    def kind_of(self, member: int) -> NetworkKind:
        """The kind of a member; members count from 1, kind after kind."""
        return self.kinds[(member - 1) // self.members_of_kind]

    def fold_of(self, member: int) -> int:
        """The fold that a member holds out, from 0."""
        return (member - 1) % self.members_of_kind

    def with_inputs(self, inputs: int, bins: int) -> Ensemble:
        """The ensemble for features of ``inputs`` numbers, of which ``bins`` are bins."""
        kinds = (replace(kind, inputs=inputs if kind.bins else inputs - bins) for kind in self.kinds)
        return replace(self, kinds=tuple(kinds))

    def document(self) -> dict[str, Any]:
        """The ensemble as a definition shows it."""
        return {
            "recipe": self.recipe,
            "effort": self.effort,
            "folds": self.folds,
            "used_folds": self.used_folds,
            "group": self.group,
            "kinds": [kind.document() for kind in self.kinds],
        }


@dataclass(frozen=True)
class OpenEnsemble:
    """Members that the first data decides, by a recipe."""

    recipe: int = NEWEST_RECIPE
    effort: Effort = "default"

    def document(self) -> dict[str, Any]:
        """The open form, as a definition shows it."""
        return {"recipe": self.recipe, "effort": self.effort}


class KindSchema(StrictSchema):
    """A kind of network in a definition."""

    name = Text(required=True, pattern="[a-z][a-z0-9_]*", maximum=40)
    bins = Flag(load_default=True)
    baseline = Flag(load_default=False)
    layers = Items(layer_field(), minimum=1, maximum=256, required=True)
    optimizer = optimizer_field(required=True)
    loss = loss_field(load_default=CategoricalCrossentropy)
    batch_size = BatchSize(Bounds(minimum=1, maximum=MAXIMUM_BATCH), required=True)
    epochs = Whole(Bounds(minimum=0, maximum=MAXIMUM_EPOCHS), required=True)
    validate_every = Whole(Bounds(minimum=1, maximum=MAXIMUM_EPOCHS), load_default=1)
    early_stopping = ma.fields.Nested(schema_for(EarlyStopping), load_default=None, allow_none=True)
    inputs = Whole(Bounds(minimum=1, maximum=2**31 - 1), load_default=0)

    @ma.post_load
    def _build(self, values: dict[str, Any], **_options: Any) -> NetworkKind:
        stopping = values["early_stopping"]
        rules = {"layers": tuple(values["layers"]), "early_stopping": stopping and EarlyStopping(**stopping)}
        return NetworkKind(**{**values, **rules})


class EnsembleSchema(StrictSchema):
    """Members in a definition."""

    recipe = Whole(Bounds(minimum=1, maximum=NEWEST_RECIPE), load_default=None, allow_none=True)
    effort = Text(choices=EFFORTS, load_default=None, allow_none=True)
    folds = Whole(Bounds(minimum=2, maximum=MAXIMUM_FOLDS), required=True)
    used_folds = Whole(Bounds(minimum=1, maximum=MAXIMUM_FOLDS), load_default=None, allow_none=True)
    group = Text(load_default=None, allow_none=True)
    kinds = Items(ma.fields.Nested(KindSchema), minimum=1, maximum=MAXIMUM_KINDS, required=True)

    @ma.validates_schema
    def _check(self, values: dict[str, Any], **_options: Any) -> None:
        kinds = values.get("kinds", ())
        names = [kind.name for kind in kinds]
        repeated = {
            index: {"name": ["must not be repeated"]} for index, name in enumerate(names) if name in names[:index]
        }
        if repeated:
            raise ma.ValidationError({"kinds": repeated})
        if (values.get("used_folds") or 0) > values.get("folds", MAXIMUM_FOLDS):
            raise ma.ValidationError({"used_folds": [f"must be at most folds, {values['folds']}"]})
        if kinds and all(kind.baseline for kind in kinds):
            raise ma.ValidationError({"kinds": ["must hold at least one that is no baseline"]})

    @ma.post_load
    def _build(self, values: dict[str, Any], **_options: Any) -> Ensemble:
        return Ensemble(**{**values, "kinds": tuple(values["kinds"])})


class OpenSchema(StrictSchema):
    """The open form: a recipe and its effort."""

    recipe = Whole(Bounds(minimum=1, maximum=NEWEST_RECIPE), load_default=NEWEST_RECIPE)
    effort = Text(choices=EFFORTS, load_default="default")

    @ma.post_load
    def _build(self, values: dict[str, Any], **_options: Any) -> OpenEnsemble:
        return OpenEnsemble(**values)


class NetworkField(DescribedField):
    """The members of a model: "auto", a recipe with its effort, or all kinds in full."""

    wanted = '"auto", or an object with recipe and effort, or with folds and kinds'

    def json_schema(self) -> dict[str, Any]:
        effort = {"enum": list(EFFORTS)}
        return {
            "oneOf": [
                {"const": "auto"},
                {
                    "type": "object",
                    "properties": {"recipe": {"type": "integer"}, "effort": effort},
                    "additionalProperties": False,
                },
                {
                    "type": "object",
                    "properties": {
                        "folds": {"type": "integer"},
                        "kinds": {"type": "array", "items": {"type": "object"}},
                    },
                    "required": ["folds", "kinds"],
                },
            ]
        }

    def _validated(self, value: Any) -> Ensemble | OpenEnsemble:
        if value == "auto":
            return OpenEnsemble()
        if not isinstance(value, dict):
            raise ma.ValidationError(f"must be {self.wanted}. Received: {describe(value)}")
        schema = shared(EnsembleSchema if value.keys() & {"kinds", "folds"} else OpenSchema)
        loaded: Ensemble | OpenEnsemble = schema.load(value)
        return loaded

    def _serialize(self, value: Any, attr: str | None, obj: Any, **kwargs: Any) -> Any:
        return None if value is None else value.document()
