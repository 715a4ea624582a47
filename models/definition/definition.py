"""A model's definition as an immutable value: name, inputs or features, classes, layers, optimizer, loss."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from typing import Any, ClassVar, get_args

import marshmallow as ma

from models.data.columns import ColumnSpec
from models.data.labels import CLASS_LIST, Label, same_labels
from models.data.limits import MAXIMUM_CLASSES, NAME_BYTES, class_fault
from models.definition.class_weights import ClassWeights, ClassWeightsValue, weights_of_classes
from models.definition.ensemble import Effort, Ensemble, NetworkField, NetworkKind, OpenEnsemble
from models.definition.features import Features, FeaturesField, OpenFeatures
from models.definition.recipe import RECIPES
from models.definition.rules import layer_field, loss_field, optimizer_field
from models.definition.stacks import (
    DEFAULT_L2,
    DEFAULT_OPTIMIZER,
    LAST_INITIALIZER,
    default_stack,
    penalty_for,
    stack_of,
    stack_problem,
)
from models.errors import InvalidError, Problem, describe, listed
from models.features.features import Feature, Ignored, feature_of
from models.identifiers import NAME_PATTERN
from models.schemas import DescribedField, Flag, ItemMessages, Items, StrictSchema, Text, Whole, load, shared
from nncore.hyperparameters import Bounds
from nncore.layers import LAYERS, Layer
from nncore.losses import CategoricalCrossentropy, Loss
from nncore.network import Dtype, Network, group_names, parameter_shapes
from nncore.optimizers import Adam, Optimizer

__all__ = [
    "NETWORK",
    "RULES",
    "DefinitionSchema",
    "Metadata",
    "ModelDefinition",
    "NewDefinitionSchema",
    "complete",
]

ACTIVATIONS = tuple(name for name, layer in LAYERS.items() if layer.elementwise)
MAXIMUM_LAYERS = 256
METADATA_BYTES = 16_384
#: Members of a definition that say how its network is trained; without these too, the network is "auto".
RULES = frozenset({"optimizer", "loss"})
#: The members of a definition that say which network it has.
NETWORK = frozenset({"layers", "hidden", "activation", "network"})
METADATA_DEPTH = 32


@dataclass(frozen=True, eq=False)
class ModelDefinition:
    """A model's definition; equal definitions have equal documents, in which true is not 1.

    A model reads ``inputs`` numbers a row. They come as they are, or ``features`` make them of a table's columns;
    ``inputs`` is then 0 until the features are fitted. ``label`` is the column of the classes in the table that fitted
    them. A model with members has an ``ensemble`` in place of ``layers``, optimizer and loss.
    """

    name: str
    inputs: int
    classes: tuple[Label, ...]
    layers: tuple[Layer, ...]
    optimizer: Optimizer = field(default_factory=Adam)
    loss: Loss = field(default_factory=CategoricalCrossentropy)
    class_weights: ClassWeightsValue | None = None
    dtype: Dtype = "float32"
    metadata: dict[str, Any] = field(default_factory=dict)
    features: Features | None = None
    label: str | None = None
    ensemble: Ensemble | OpenEnsemble | None = None

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ModelDefinition):
            return NotImplemented
        return self.document() == other.document() and same_labels(self.classes, other.classes)

    __hash__ = None  # type: ignore[assignment]

    @cached_property
    def parameter_count(self) -> int:
        """Number of trainable parameters, of all members together; 0 if these are open."""
        if self.ensemble is None:
            return sum(math.prod(shape) for shape in parameter_shapes(self.layers, self.inputs).values())
        if isinstance(self.ensemble, OpenEnsemble):
            return 0
        return self.ensemble.members_of_kind * sum(self.of_kind(kind).parameter_count for kind in self.ensemble.kinds)

    def of_kind(self, kind: NetworkKind) -> ModelDefinition:
        """The definition of one member of a kind: a single network that reads numbers."""
        return ModelDefinition(
            name=self.name,
            inputs=kind.inputs,
            classes=self.classes,
            layers=kind.layers,
            optimizer=kind.optimizer,
            loss=kind.loss,
            class_weights=self.class_weights,
            dtype=self.dtype,
        )

    @property
    def groups(self) -> list[str]:
        """The layers' names in parameters and checkpoints, in the form ``index_type``."""
        return group_names(self.layers)

    def document(self) -> dict[str, Any]:
        """The canonical document, with every default filled in."""
        return {
            "name": self.name,
            **self._columns(),
            "classes": list(self.classes),
            **self._network(),
            "class_weights": self.class_weights,
            "dtype": self.dtype,
            "metadata": self.metadata,
        }

    def _network(self) -> dict[str, Any]:
        """The network or the members, as the document shows them."""
        if self.ensemble is not None:
            return {"network": self.ensemble.document()}
        return {
            "layers": [layer_field().serialize("layer", {"layer": layer}) for layer in self.layers],
            "optimizer": optimizer_field().serialize("optimizer", {"optimizer": self.optimizer}),
            "loss": loss_field().serialize("loss", {"loss": self.loss}),
        }

    def _columns(self) -> dict[str, Any]:
        """What the model reads, as the document shows it."""
        if self.features is None:
            return {"inputs": self.inputs}
        document = {"features": FeaturesField().serialize("features", {"features": self.features})}
        document |= {"label": self.label} if self.label is not None else {}
        return document | ({"inputs": self.inputs} if self.inputs else {})

    def for_table(self, columns: Sequence[ColumnSpec], label: str, weight: str | None, rows: int) -> ModelDefinition:
        """This definition with the features that it gets by a table's columns, if it leaves them open.

        ``rows`` is the number of training rows, by which a recipe chooses. A model of plain ``inputs`` takes the
        columns' names: its features are these numbers as they are. Raises InvalidError if the columns do not fit.
        """
        group = self.ensemble.group if isinstance(self.ensemble, Ensemble) else None
        others = {name for name in (label, weight, group) if name is not None}
        if self.features is None:
            return replace(self, features=self._named(columns, others), label=label, inputs=0)
        if isinstance(self.features, OpenFeatures):
            recipe = None if self.ensemble is None or self.ensemble.recipe is None else RECIPES[self.ensemble.recipe]
            numbers = sum(column.kind == "number" and column.name not in others for column in columns)
            default = feature_of if recipe is None else recipe.feature_for(numbers, rows)
            return replace(self, features=self.features.of(columns, others, default), label=label)
        for feature in self.features:
            if feature.column in others and not isinstance(feature, Ignored):
                raise InvalidError.at(
                    "/features", f"must not use {describe(feature.column)}, the column of labels, weights or groups"
                )
        return replace(self, label=label)

    def for_rows(self, rows: int) -> ModelDefinition:
        """This definition with the default single network for so many rows."""
        layers = tuple(default_stack(len(self.classes), penalty_for(rows)))
        optimizer = self.optimizer if self.ensemble is None else DEFAULT_OPTIMIZER
        return replace(self, layers=layers, optimizer=optimizer, ensemble=None)

    def by_recipe(self, rows: int, effort: Effort | None = None) -> ModelDefinition:
        """This definition with the members that its recipe has for so many rows, if it has one.

        ``effort`` replaces that of the definition.
        """
        if self.ensemble is None or self.ensemble.recipe is None:
            return self
        recipe = RECIPES[self.ensemble.recipe]
        chosen = recipe.ensemble(rows, len(self.classes), effort or self.ensemble.effort or "default")
        return replace(self, ensemble=chosen)

    def _named(self, columns: Sequence[ColumnSpec], others: Collection[str]) -> tuple[Feature, ...]:
        """Plain inputs by the names of all columns or, if these are too many, of those that are not set aside."""
        given = [column for column in columns if column.name not in others]
        if len(given) != self.inputs:
            given = [column for column in given if column.reason is None]
        features = OpenFeatures("raw").of(given, others)
        if len(features) != self.inputs:
            names = listed(feature.column for feature in features)
            detail = f"must be as many as the table's columns of numbers, {len(features)}: {names}"
            raise InvalidError.at("/inputs", f"{detail}. Received: {self.inputs}")
        return features

    def canonical(self) -> str:
        """The canonical document as JSON text: equal for equal definitions."""
        return json.dumps(self.document(), sort_keys=True, ensure_ascii=False)

    @classmethod
    def load(cls, document: Any, maximum_parameters: int | None = None) -> ModelDefinition:
        """Validate a document. Raises InvalidError with a JSON pointer for each problem."""
        definition: ModelDefinition = load(shared(DefinitionSchema), document)
        if maximum_parameters is not None and definition.parameter_count > maximum_parameters:
            raise InvalidError.at(
                "/layers",
                f"must have at most {maximum_parameters} parameters in all. Received: {definition.parameter_count}",
            )
        return definition

    @classmethod
    def parse(cls, text: str) -> ModelDefinition:
        """Parse a canonical text. Results are cached, because all checkpoints of a model hold the same text.

        Raises InvalidError, or ValueError if the text is not JSON.
        """
        return _parse(text)

    @classmethod
    def stored(cls, document: Any) -> ModelDefinition:
        """Validate the document of a definition that was stored before; raises as ``load`` does."""
        definition: ModelDefinition = load(shared(StoredDefinitionSchema), document)
        return definition

    def network(self, seed: int) -> Network:
        """A new network with weights initialized from ``seed``."""
        return Network(self.layers, self.inputs, seed=seed, dtype=self.dtype)


@lru_cache(maxsize=64)
def _parse(text: str) -> ModelDefinition:
    return ModelDefinition.stored(json.loads(text))


class Classes(DescribedField):
    """The number of classes, or a list of their labels in order; if they are ``stored`` already, of any length."""

    def __init__(self, *, stored: bool = False, **options: Any) -> None:
        super().__init__(**options)
        self._stored = stored

    def json_schema(self) -> dict[str, Any]:
        count = {"type": "integer", "minimum": 2, "maximum": MAXIMUM_CLASSES, "description": "The labels are 0…n-1."}
        limits = {"minItems": 2, "maxItems": MAXIMUM_CLASSES, "uniqueItems": True}
        return {
            "oneOf": [
                count,
                {**CLASS_LIST, **limits, "description": f"The labels in order, each of at most {NAME_BYTES} bytes."},
            ]
        }

    def _validated(self, value: Any) -> tuple[Label, ...]:
        if type(value) is int:
            if not 2 <= value <= MAXIMUM_CLASSES:
                raise ma.ValidationError(f"must be from 2 to {MAXIMUM_CLASSES}. Received: {value}")
            return tuple(range(value))
        if not isinstance(value, list):
            raise ma.ValidationError(f"must be a number or a list of labels. Received: {describe(value)}")
        if not 2 <= len(value) <= MAXIMUM_CLASSES:
            raise ma.ValidationError(f"must hold 2 to {MAXIMUM_CLASSES} labels. Received: {len(value)}")
        value = [int(label) if type(label) is float and label.is_integer() else label for label in value]
        self._check(value)
        fault = None if self._stored else class_fault(value)
        if fault is not None:
            place, detail = fault
            raise ma.ValidationError(detail if place is None else {place: [detail]})
        return tuple(value)

    @staticmethod
    def _check(value: list[Any]) -> None:
        """Raise ValidationError unless all are different labels of one type."""
        kind = type(value[0])
        for index, label in enumerate(value):
            if type(label) not in (bool, int, str):
                wanted = "must be a string, a whole number or a boolean"
                raise ma.ValidationError({index: [f"{wanted}. Received: {describe(label)}"]})
            if type(label) is not kind:
                raise ma.ValidationError({index: [f"must have the type of the first. Received: {describe(label)}"]})
        seen: set[Label] = set()
        for index, label in enumerate(value):
            if label in seen:
                raise ma.ValidationError({index: [f"must not be repeated. Received: {describe(label)}"]})
            seen.add(label)


class Metadata(DescribedField):
    """An object of limited size that the client attaches to a model; the service does not read it."""

    def json_schema(self) -> dict[str, Any]:
        return {"type": "object", "description": f"Any object, of at most {METADATA_BYTES} bytes as JSON."}

    def _validated(self, value: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise ma.ValidationError(f"must be an object. Received: {describe(value)}")
        if _depth(value) > METADATA_DEPTH:
            raise ma.ValidationError(f"must be nested at most {METADATA_DEPTH} levels deep")
        size = len(json.dumps(value).encode())
        if size > METADATA_BYTES:
            raise ma.ValidationError(f"must take at most {METADATA_BYTES} bytes as JSON. Received: {size}")
        return value


def _depth(value: Any) -> int:
    """Depth of nested objects and lists, counted without recursion."""
    depth, level = 0, [value]
    while level := [item for item in level if isinstance(item, (dict, list))]:
        depth += 1
        level = [inner for item in level for inner in (item.values() if isinstance(item, dict) else item)]
    return depth


class Hidden(DescribedField):
    """The units of each hidden layer, or of the only one."""

    maximum = MAXIMUM_LAYERS // 2 - 1
    wanted = f"a whole number, or a list of at most {maximum} whole numbers"
    _units = Whole(Bounds(minimum=1, maximum=65_536))

    def json_schema(self) -> dict[str, Any]:
        units = self._units.json_schema()
        return {"oneOf": [units, {"type": "array", "items": units, "maxItems": self.maximum}]}

    def _validated(self, value: Any) -> list[int]:
        if type(value) is int:
            return [self._units.deserialize(value)]
        if not isinstance(value, list) or len(value) > self.maximum:
            raise self.refusal(value)
        problems = ItemMessages()
        for index, units in enumerate(value):
            try:
                self._units.deserialize(units)
            except ma.ValidationError as error:
                problems.add(index, error.messages)
        problems.check()
        return value


class DefinitionSchema(StrictSchema):
    """A model's definition; ``hidden`` and ``activation`` are a short form of ``layers``."""

    rules: ClassVar[Mapping[str, Any]] = {
        "not": {"required": ["layers", "hidden"]},
        "dependentRequired": {"activation": ["hidden"]},
    }

    name = Text(
        required=True, pattern=NAME_PATTERN, maximum=63, metadata={"description": "The model's name; must be unique."}
    )
    inputs = Whole(
        Bounds(minimum=1, maximum=1_000_000),
        metadata={"description": "Number of inputs per row, if rows are plain numbers that are used as they are."},
    )
    features = FeaturesField(
        metadata={
            "description": "How the columns of a table become numbers. If features and inputs are left out, "
            "the first data that trains the model decides."
        }
    )
    label = Text(metadata={"description": "The column of the classes; rows may hold it at prediction."})
    classes = Classes(required=True, metadata={"description": "The number of classes, or their labels in order."})
    layers = Items(
        layer_field(),
        minimum=1,
        maximum=MAXIMUM_LAYERS,
        metadata={
            "description": "The layers in order; if `hidden` is left out too, one hidden layer of 128 units. The last "
            "two are `dense`, one unit per class, and `softmax`. This dense layer's `initializer` is `glorot_uniform` "
            "if left out."
        },
    )
    hidden = Hidden(metadata={"description": "Short form of `layers`: the units of each hidden dense layer."})
    activation = Text(
        choices=ACTIVATIONS, metadata={"description": "Activation after each layer of `hidden`; `relu` if left out."}
    )
    network = NetworkField(
        metadata={
            "description": 'The members of a model of several networks. "auto": the recipe for the number of rows, '
            "which is also what a model gets that leaves out `inputs`, `layers`, `hidden`, `optimizer` and `loss`; an "
            "object with `recipe` and `effort`; or `folds` and `kinds` in full. It takes the place of `layers`, "
            "`optimizer` and `loss`."
        }
    )
    optimizer = optimizer_field(
        load_default=Adam,
        metadata={
            "description": "The optimizer; `adam` if left out. If `layers` and `hidden` are left out too, `adam` with "
            "a learning rate of 0.003 and the schedule `cosine`."
        },
    )
    loss = loss_field(
        load_default=CategoricalCrossentropy,
        metadata={"description": "The loss; `categorical_crossentropy` if left out."},
    )
    class_weights = ClassWeights(
        load_default=None, allow_none=True, metadata={"description": "How much the rows of each class count."}
    )
    dtype = Text(
        choices=get_args(Dtype), load_default="float32", metadata={"description": "Type of parameters and activations."}
    )
    metadata = Metadata(load_default=dict)

    @ma.pre_load
    def _fill(self, document: Any, **_options: Any) -> Any:
        """Fill in the initializer of the dense layer before the softmax, whose default differs from the others'."""
        layers = document.get("layers") if isinstance(document, dict) else None
        if not isinstance(layers, list) or len(layers) < 2 or not isinstance(layers[-2], dict):
            return document
        if layers[-2].get("type") != "dense" or layers[-1] not in ("softmax", {"type": "softmax"}):
            return document
        return {**document, "layers": [*layers[:-2], {"initializer": LAST_INITIALIZER, **layers[-2]}, layers[-1]]}

    @ma.post_load(pass_original=True)
    def _build(self, values: dict[str, Any], original: Any, **_options: Any) -> Any:
        return self._definition(values, original)

    def _definition(self, values: dict[str, Any], original: dict[str, Any]) -> ModelDefinition:
        if "inputs" not in values:
            values = {"features": OpenFeatures({}), **values, "inputs": 0}
        elif isinstance(values.get("features"), OpenFeatures):
            raise ma.ValidationError({"inputs": ["follows from features; leave it out"]})
        weights_of_classes(values["class_weights"], values["classes"])
        if "network" not in values and not values["inputs"] and not original.keys() & (NETWORK | RULES):
            values["network"] = OpenEnsemble()
        return (self._with_members if "network" in values else self._with_layers)(values, original)

    @staticmethod
    def _with_layers(values: dict[str, Any], original: dict[str, Any]) -> ModelDefinition:
        """A definition of one network."""
        hidden, activation = values.pop("hidden", None), values.pop("activation", None)
        if hidden is not None and "layers" in values:
            raise ma.ValidationError({"layers": ["give either layers or hidden"]})
        if activation is not None and hidden is None:
            raise ma.ValidationError({"activation": ["is only valid with hidden"]})
        if hidden is not None:
            values["layers"] = stack_of(hidden, activation or "relu", len(values["classes"]))
        if "layers" not in values:
            values["layers"] = default_stack(len(values["classes"]), DEFAULT_L2)
            if "optimizer" not in original:
                values["optimizer"] = DEFAULT_OPTIMIZER
        problem = stack_problem(values["layers"], len(values["classes"]))
        if problem:
            index, member, text = problem
            written = original["layers"][index]  # A name alone has no members.
            raise ma.ValidationError({"layers": {index: {member: [text]} if isinstance(written, dict) else [text]}})
        return ModelDefinition(**{**values, "layers": tuple(values["layers"])})

    @staticmethod
    def _with_members(values: dict[str, Any], original: dict[str, Any]) -> ModelDefinition:
        """A definition of several networks; these have layers, optimizer and loss of their own."""
        both = sorted(original.keys() & {"layers", "hidden", "activation", "optimizer", "loss"})
        if both:
            raise ma.ValidationError({name: ["is part of network; leave it out"] for name in both})
        ensemble = values.pop("network")
        for index, kind in enumerate(ensemble.kinds if isinstance(ensemble, Ensemble) else ()):
            problem = stack_problem(kind.layers, len(values["classes"]))
            if problem:
                place, member, text = problem
                raise ma.ValidationError({"network": {"kinds": {index: {"layers": {place: {member: [text]}}}}}})
        return ModelDefinition(**{**values, "layers": (), "ensemble": ensemble})


class StoredDefinitionSchema(DefinitionSchema):
    """A definition that is stored already, whose classes may have longer names than those of a new one."""

    classes = Classes(stored=True, required=True)


class NewDefinitionSchema(DefinitionSchema):
    """The body of ``POST /models``: loaded as the definition, and whether it must be the model's only one."""

    examples: ClassVar[Sequence[Any]] = (
        {"name": "points", "inputs": 2, "classes": ["red", "blue"], "hidden": [16]},
        {
            "name": "points",
            "inputs": 2,
            "classes": ["red", "blue"],
            "layers": [
                {"type": "dense", "units": 8},
                {"type": "relu"},
                {"type": "dense", "units": 2},
                {"type": "softmax"},
            ],
            "optimizer": {"type": "adamw", "learning_rate": 0.01},
        },
    )

    exact = Flag(
        load_default=False,
        metadata={"description": "Refuse the definition (409 `name_taken`) if the model exists with another one."},
    )

    @ma.post_load(pass_original=True)
    def _build(self, values: dict[str, Any], original: Any, **_options: Any) -> tuple[ModelDefinition, bool]:
        exact = values.pop("exact")
        return self._definition(values, original), exact


def complete(document: Any, inputs: int | None, classes: Sequence[Label], rows: int | None = None) -> Any:
    """Fill in what the data decides if a definition leaves it out: inputs, classes, units of the last dense layer.

    ``inputs`` is None if the data is a table, whose columns become features. With ``rows``, a definition without a
    network gets the default one for so many rows.
    """
    if not isinstance(document, dict):
        raise InvalidError.of([Problem("", f"must be an object. Received: {describe(document)}")])
    filled = {"classes": list(classes), **document}
    if inputs is not None and "features" not in document:
        filled = {"inputs": inputs, **filled}
    layers = document.get("layers")
    if isinstance(layers, list) and len(layers) >= 2 and (isinstance(layers[-2], dict) or layers[-2] == "dense"):
        last = {"type": "dense"} if layers[-2] == "dense" else layers[-2]
        if last.get("type") == "dense" and "units" not in last:
            known = filled["classes"]
            units = len(known) if isinstance(known, list) else known
            filled["layers"] = [*layers[:-2], {**last, "units": units}, layers[-1]]
    return filled
