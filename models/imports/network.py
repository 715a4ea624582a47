"""The network that a file from elsewhere holds, passed from the process that reads the file to the web worker."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from models.data.labels import Label, same_labels
from models.definition.definition import METADATA_BYTES, ModelDefinition
from models.definition.rules import layer_field
from models.errors import QUOTED, InvalidError, shortened
from models.formats.foreign_arrays import Places, arrays_in, in_order
from models.formats.imported_state import network_places, state_of
from models.imports.chain import Chain, refused
from models.training.checkpoint import Checkpoint
from nncore.arrays import Array
from nncore.layers import Dropout, GaussianNoise, Layer
from nncore.network import Dtype, group_names

__all__ = ["ForeignNetwork", "Found", "network_of", "sent", "version_of"]

#: Hyperparameters that only training reads; a file from elsewhere does not have them.
_TRAINED_BY = frozenset({"initializer", "initializer_value", "l1", "l2", "max_norm", "rate", "momentum"})
#: Layers that change nothing when a model predicts; a file from elsewhere lacks them.
_NOISE = (Dropout, GaussianNoise)
#: What a new model is named until its version has the name that the request gives.
_NAME = "imported"


@dataclass(frozen=True, eq=False)
class Found:
    """What a file holds: a network that ends in a softmax, its classes and the names of its inputs if it has them."""

    chain: Chain
    classes: Sequence[Label] | None = None
    names: Sequence[str] = ()


@dataclass(frozen=True, eq=False)
class ForeignNetwork:
    """A network with the definition that its file makes; ``arrays`` have the paths of a checkpoint's.

    If it is not ``labelled``, the file has no classes, and those of the definition are numbers.
    """

    definition: ModelDefinition
    arrays: Mapping[str, Array]
    labelled: bool


def sent(found: Found) -> tuple[dict[str, Any], Iterator[Array]]:
    """What is passed to the web worker: a document, and the arrays in order. Raises InvalidError."""
    steps, names = found.chain.steps, list(found.names)
    document = {
        "name": _NAME,
        "inputs": found.chain.inputs,
        "classes": found.chain.width if found.classes is None else list(found.classes),
        "layers": [layer_field().serialize("layer", {"layer": step.layer}) for step in steps],
        "dtype": _dtype(found.chain),
        "metadata": {"feature_names": names} if names and sum(map(len, names)) < METADATA_BYTES // 8 else {},
    }
    try:
        definition = ModelDefinition.load(document)
    except InvalidError as error:
        raise error.moved("", "/definition") from None
    groups = dict(zip(group_names(definition.layers), steps, strict=True))
    document = {"definition": definition.document(), "labelled": found.classes is not None}
    return document, _finite(_places(definition), groups, np.dtype(definition.dtype))


def _dtype(chain: Chain) -> Dtype:
    """float64 if the file has weights of this type, else float32."""
    wide = any("weights" in arrays and arrays["weights"].dtype.itemsize > 4 for _, arrays, _ in chain.steps)
    return "float64" if wide else "float32"


def _places(definition: ModelDefinition) -> Places:
    """The arrays in the order in which they are passed on."""
    return in_order(network_places(definition, ""))


def _finite(places: Places, groups: Mapping[str, Any], dtype: np.dtype[Any]) -> Iterator[Array]:
    """The arrays in order and as they are stored. Raises InvalidError for values that are not finite."""
    for path, place in places.items():
        _, _, group, name = path.split("/")
        step = groups[group]
        with np.errstate(over="ignore"):  # What does not fit becomes infinite.
            array = np.ascontiguousarray(step.arrays[name], dtype).reshape(place.shape)
        if not np.isfinite(array).all():
            raise refused(step.place, f"the {name} must be finite as {dtype}", "NaN or infinite numbers")
        yield array


def network_of(document: Mapping[str, Any], content: memoryview) -> ForeignNetwork:
    """The network from what ``sent`` returns: its document, and the concatenated bytes of its arrays.

    Raises InvalidError for an invalid definition, and KeyError, TypeError and ValueError for what ``sent`` cannot make.
    """
    definition, labelled = ModelDefinition.load(document["definition"]), document["labelled"]
    if not isinstance(labelled, bool) or definition.features is not None or not definition.layers:
        raise ValueError("the definition must be that of a network that reads numbers")
    return ForeignNetwork(definition, arrays_in(content, _places(definition)), labelled)


def version_of(
    network: ForeignNetwork, name: str, model: ModelDefinition | None, classes: Sequence[Label] | None
) -> Checkpoint:
    """The network as a checkpoint of the model ``name``, whose definition is ``model``, None if there is none.

    ``classes`` replace those of the file. The checkpoint has the model's definition if that computes the same, else its
    own. Raises InvalidError if the model reads other rows or has other classes.
    """
    own = _labelled(network, name, model, classes)
    groups = None
    if model is not None:
        _require_alike(own, model)
        groups = _groups_in(model.layers, own.layers)
    if model is None or groups is None:
        model, groups = own, group_names(own.layers)
    renamed = dict(zip(group_names(own.layers), groups, strict=True))
    arrays = {}
    for path, array in network.arrays.items():
        _, kind, group, member = path.split("/")
        arrays[f"{kind}/{renamed[group]}/{member}"] = np.asarray(array, model.dtype)
    values = {"optimizer": None, "iterations": 0, "epoch": 0, "step": 0, "epochs": 0, "best_epoch": 0}
    return state_of(model, values, arrays)


def _labelled(
    network: ForeignNetwork, name: str, model: ModelDefinition | None, classes: Sequence[Label] | None
) -> ModelDefinition:
    """The file's definition with its classes: those given, the file's, the model's, or else numbers."""
    found, count = network.definition, len(network.definition.classes)
    if classes is not None and len(classes) != count:
        detail = f"must be {count} labels, one for each output of the network. Received: {len(classes)}"
        raise InvalidError.at("/classes", detail)
    if classes is None and not network.labelled and model is not None and len(model.classes) == count:
        classes = model.classes
    document = {**found.document(), "name": name}
    return ModelDefinition.load(document if classes is None else {**document, "classes": list(classes)})


def _require_alike(own: ModelDefinition, model: ModelDefinition) -> None:
    """Raise InvalidError unless a model's clients can send the same rows and read the same classes."""
    another = "define the model anew with POST /models, or import the file under another name"
    if model.features is not None:
        detail = f"the model reads a table's columns, the file's network {own.inputs} numbers; {another}"
        raise InvalidError.at("/features", detail)
    if own.inputs != model.inputs:
        detail = f"must be {model.inputs}, as in the model; {another}. Received: {own.inputs}"
        raise InvalidError.at("/inputs", detail)
    if not same_labels(own.classes, model.classes):
        wanted, received = (
            shortened(json.dumps(list(each.classes), ensure_ascii=False), 2 * QUOTED) for each in (model, own)
        )
        detail = f"must be {wanted} in this order, as in the model; {another}. Received: {received}"
        raise InvalidError.at("/classes", detail)


def _groups_in(layers: Sequence[Layer], own: Sequence[Layer]) -> list[str] | None:
    """The group in a model of each layer of a file; None if the model computes something else."""
    pairs = [
        (name, layer) for name, layer in zip(group_names(layers), layers, strict=True) if not isinstance(layer, _NOISE)
    ]
    if len(pairs) != len(own) or not all(_alike(layer, other) for (_, layer), other in zip(pairs, own, strict=True)):
        return None
    return [name for name, _ in pairs]


def _alike(layer: Layer, other: Layer) -> bool:
    """Whether two layers compute the same with the same parameters, up to the rounding of a hyperparameter."""
    if type(layer) is not type(other):
        return False
    for field in fields(layer):
        mine, theirs = getattr(layer, field.name), getattr(other, field.name)
        if field.name not in _TRAINED_BY and mine != theirs:
            if not isinstance(mine, float) or not isinstance(theirs, float):
                return False
            if not math.isclose(mine, theirs, rel_tol=1e-6):
                return False
    return True
