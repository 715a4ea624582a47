"""Import of untrusted checkpoint files.

A sandboxed process reads the file and passes on plain numbers and raw arrays, in an order that the model's definition
determines (``read_import``). The web process makes a new checkpoint from them (``checkpoint_of``).
docs/checkpoint-format.md describes the layout of the file.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, replace
from itertools import chain
from typing import Any, NamedTuple

import marshmallow as ma
import numpy as np

from models.clock import utc_now
from models.definition.definition import ModelDefinition, optimizer_field
from models.definition.features import OpenFeatures
from models.errors import InvalidError, Problem
from models.features.feature import ArrayForm
from models.features.fitted import FittedFeatures, group_name
from models.formats.checkpoint_file import ADDED_COLUMNS, FORMAT, FORMAT_VERSION, OPTIONAL_COLUMNS
from models.formats.untrusted_hdf5 import ForeignFile, read
from models.schemas import StrictSchema, Whole, load
from models.training.checkpoint import Checkpoint
from nncore.arrays import Array
from nncore.hyperparameters import Bounds
from nncore.network import parameter_shapes, statistics_shapes
from nncore.optimizers import Optimizer
from nncore.training import Epoch, TrainingState

__all__ = ["checkpoint_of", "read_import"]

#: Maximum length of a file's strings, in addition to twice the length of the model's definition.
TEXT_BYTES = 2**20
MAXIMUM_COUNT = 2**53
MAXIMUM_EPOCHS = 1_000_000
#: Members of a definition that must equal the model's; name, optimizer, loss and metadata may differ. The inputs of a
#: model with features follow from what these have learned.
DECISIVE = ("inputs", "features", "classes", "dtype", "layers")
#: Maximum number of bytes of each array that a feature has learned.
LEARNED_BYTES = 2**24
#: Columns of /history, by field of ``Epoch``.
_COLUMNS = {item.name: "epoch" if item.name == "number" else item.name for item in fields(Epoch)}

#: Shape and type of each array by its place in the file, in the order in which the arrays are passed on.
Places = dict[str, tuple[tuple[int, ...], str]]


class ImportSchema(StrictSchema):
    """The content of a file except its arrays; ``optimizer`` is null if the file has no optimizer state."""

    optimizer = optimizer_field(required=True, allow_none=True)
    iterations = Whole(Bounds(minimum=0, maximum=MAXIMUM_COUNT), required=True)
    epoch = Whole(Bounds(minimum=0, maximum=MAXIMUM_COUNT), required=True)
    step = Whole(Bounds(minimum=0, maximum=MAXIMUM_COUNT), required=True)
    epochs = Whole(Bounds(minimum=0, maximum=MAXIMUM_EPOCHS), required=True)
    #: Lengths of the arrays that features have learned, in their order.
    learned = ma.fields.List(Whole(Bounds(minimum=0, maximum=LEARNED_BYTES)), load_default=list)


def places(definition: ModelDefinition, optimizer: Optimizer | None, epochs: int) -> Places:
    """The arrays to read from a file with this optimizer's state, if any, and this number of epochs."""
    shapes = parameter_shapes(definition.layers, definition.inputs)
    statistics = statistics_shapes(definition.layers, definition.inputs)
    groups = {"/parameters": shapes, "/statistics": statistics}
    if optimizer is not None:
        groups |= {f"/optimizer/{vector}": shapes for vector in optimizer.vectors}
        if optimizer.average is not None:
            groups["/averaged_statistics"] = statistics
    # The columns come first: their items have eight bytes, so the arrays that follow are aligned.
    history = {
        f"/history/{column}": ((epochs,), "int64" if name == "number" else "float64")
        for name, column in _COLUMNS.items()
    }
    return (history if epochs else {}) | {
        f"{group}/{name}": (shape, definition.dtype)
        for group, members in groups.items()
        for name, shape in members.items()
    }


def read_import(descriptor: int, definition: ModelDefinition) -> tuple[dict[str, Any], Iterator[Array]]:
    """Read a file: a document for ``ImportSchema``, and the arrays in the order of ``places``.

    Everything is checked before the first array is read. Raises InvalidError and UnreadableError, and any exception
    of h5py if the file is damaged.
    """
    file = ForeignFile(descriptor, TEXT_BYTES + 2 * len(definition.canonical().encode()))
    _check_format(file)
    _check_definition(file, definition)
    learned = _learned(file, definition)
    if learned:
        definition = _fitted(definition, list(learned.values())).definition
    optimizer, iterations = _optimizer(file)
    epochs = file.length("/history/epoch") if file.has("/history") else 0
    if epochs > MAXIMUM_EPOCHS:
        raise InvalidError.at("/history/epoch", f"must have at most {MAXIMUM_EPOCHS} rows. Received: {epochs}")
    document = {
        "optimizer": None if optimizer is None else optimizer_field().serialize("rule", {"rule": optimizer}),
        "iterations": iterations,
        "epoch": _count(file, "/training", "epoch") or 0,
        "step": _count(file, "/training", "step") or 0,
        "epochs": epochs,
        "learned": [len(array) for array in learned.values()],
    }
    wanted = places(definition, optimizer, epochs)
    for group, members in _members(wanted).items():
        file.require_names(group, members)
    absent = {f"/history/{name}" for name in ADDED_COLUMNS if not file.has(f"/history/{name}")}
    there = {place: form for place, form in wanted.items() if place not in absent}
    found = {place: file.dataset(place, shape, dtype) for place, (shape, dtype) in there.items()}
    size = _bytes(there)
    if size > file.size:
        raise InvalidError.at("/", f"must hold {size} bytes of numbers. Received: a file of {file.size} bytes")
    may_be_nan = {f"/history/{name}" for name in OPTIONAL_COLUMNS}
    arrays = (
        read(place, found[place], dtype, nan=place in may_be_nan) if place in found else np.full(shape, np.nan, dtype)
        for place, (shape, dtype) in wanted.items()
    )
    # What features have learned comes last, because its bytes would leave other arrays unaligned.
    return document, chain(arrays, learned.values())


class Fitted(NamedTuple):
    """Features with what they have learned, and the definition with their width as its inputs."""

    definition: ModelDefinition
    features: FittedFeatures


def learned_places(definition: ModelDefinition) -> dict[str, ArrayForm]:
    """The form of each array that the features of a definition learn, by its place in the file, in order."""
    if not isinstance(definition.features, tuple):
        return {}
    return {
        f"/features/{group_name(index, feature.column)}/{name}": form
        for index, feature in enumerate(definition.features)
        for name, form in feature.forms().items()
    }


def _learned(file: ForeignFile, definition: ModelDefinition) -> dict[str, Array]:
    """What the features have learned according to the file, by its place."""
    if isinstance(definition.features, OpenFeatures):
        detail = "the model's features are open until data train it; define the model as the file's definition has it"
        raise InvalidError.at("/features", detail)
    forms = learned_places(definition)
    members = _members({place: ((0,), form.dtype) for place, form in forms.items()})
    for group, names in ({"/features": set[str]()} | members).items():
        if group != "/statistics":
            file.require_names(group, names)
    found, size = {}, 0
    for place, form in forms.items():
        length = file.length(place) if form.length is None else form.length
        if length > LEARNED_BYTES:
            raise InvalidError.at(place, f"must have at most {LEARNED_BYTES} items. Received: {length}")
        found[place] = file.dataset(place, (length,), form.dtype)
        size += length * np.dtype(form.dtype).itemsize
    if size > file.size:  # Several names may stand for the same bytes.
        raise InvalidError.at("/features", f"must hold {size} bytes. Received: a file of {file.size} bytes")
    return {place: read(place, found[place], form.dtype) for place, form in forms.items()}


def _fitted(definition: ModelDefinition, arrays: Sequence[Array]) -> Fitted:
    """The features of a definition with arrays in the order of ``learned_places``. Raises InvalidError."""
    assert isinstance(definition.features, tuple)
    prefix = "/features/"
    named = {place.removeprefix(prefix): each for place, each in zip(learned_places(definition), arrays, strict=True)}
    try:
        features = FittedFeatures.of(definition.features, named)
    except ValueError as error:
        place, _, detail = str(error).partition(": ")
        raise InvalidError.at(place, detail) from None
    if definition.inputs not in (0, features.width):
        detail = f"must become {definition.inputs} numbers, the inputs of the model. Received: {features.width}"
        raise InvalidError.at("/features", detail)
    if not features.width:
        raise InvalidError.at("/features", "must become at least one number. Received: none")
    return Fitted(replace(definition, inputs=features.width), features)


def _check_format(file: ForeignFile) -> None:
    found: dict[str, Any] = {
        "format": file.text("/", "format"),
        "format_version": file.whole_number("/", "format_version"),
    }
    for name, expected in (("format", FORMAT), ("format_version", FORMAT_VERSION)):
        if found[name] != expected:
            received = "nothing" if found[name] is None else repr(found[name])
            raise InvalidError.at("/", f"the attribute {name!r} must be {expected!r}. Received: {received[:200]}")


def _check_definition(file: ForeignFile, definition: ModelDefinition) -> None:
    """Raise InvalidError with each difference between the model's definition and the file's, if it has one."""
    own = _decisive(json.loads(definition.canonical()))
    theirs = _json(file, "/", "definition")
    if theirs is not None and theirs != own:
        try:
            theirs = _decisive(json.loads(ModelDefinition.load(theirs).canonical()))
        except InvalidError as error:
            raise error.moved("", "/definition") from None
    classes = _json(file, "/", "classes")
    problems = (
        []
        if theirs is None
        else [
            problem
            for name in DECISIVE
            if name != "inputs" or definition.features is None
            for problem in _differences(own[name], theirs[name], f"/definition/{name}")
        ]
    )
    if classes is not None:
        problems += _differences(own["classes"], classes, "/classes")
    if problems:
        raise InvalidError.of(problems[:20])


def _decisive(document: dict[str, Any]) -> dict[str, Any]:
    """What an import must agree with; how the first weights are drawn does not matter to it."""
    drawn = ("initializer", "initializer_value")
    layers = [{name: value for name, value in layer.items() if name not in drawn} for layer in document["layers"]]
    return {**{name: document.get(name) for name in DECISIVE}, "layers": layers}


def _differences(own: Any, theirs: Any, pointer: str) -> list[Problem]:
    """The differences between two JSON documents, compared as deep as both have the same members."""
    if isinstance(own, dict) and isinstance(theirs, dict) and own.keys() == theirs.keys():
        pairs = [(name, own[name], theirs[name]) for name in own]
    elif isinstance(own, list) and isinstance(theirs, list) and len(own) == len(theirs):
        pairs = [(str(index), mine, other) for index, (mine, other) in enumerate(zip(own, theirs, strict=True))]
    elif own == theirs and type(own) is type(theirs):
        return []
    else:
        wanted, received = (json.dumps(each, ensure_ascii=False)[:200] for each in (own, theirs))
        return [Problem(pointer, f"must be {wanted}, as in the model. Received: {received}")]
    return [problem for name, mine, other in pairs for problem in _differences(mine, other, f"{pointer}/{name}")]


def _optimizer(file: ForeignFile) -> tuple[Optimizer | None, int]:
    """The optimizer of the state in a file and its number of updates; None and 0 if there is no state."""
    if not file.has("/optimizer"):
        return None, 0
    kind, hyperparameters = file.text("/optimizer", "type"), _json(file, "/optimizer", "hyperparameters")
    iterations = _count(file, "/optimizer", "iterations")
    for name, value in (("type", kind), ("hyperparameters", hyperparameters), ("iterations", iterations)):
        if value is None:
            raise InvalidError.at("/optimizer", f"must have the attribute {name!r}. Received: nothing")
    if not isinstance(hyperparameters, dict):
        raise InvalidError.at(
            "/optimizer", "the attribute 'hyperparameters' must be a JSON object. Received: other JSON"
        )
    try:
        optimizer: Optimizer = load(optimizer_field(), {**hyperparameters, "type": kind})
    except InvalidError as error:
        raise error.moved("", "/optimizer") from None
    return optimizer, iterations or 0


def _count(file: ForeignFile, place: str, name: str) -> int | None:
    found = file.whole_number(place, name)
    if found is not None and not 0 <= found <= MAXIMUM_COUNT:
        wanted = f"the attribute {name!r} must be from 0 to {MAXIMUM_COUNT}"
        raise InvalidError.at(place, f"{wanted}. Received: {found}")
    return found


def _json(file: ForeignFile, place: str, name: str) -> Any:
    """The JSON in a string attribute; None if there is no such attribute."""
    text = file.text(place, name)
    if text is None:
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        wanted = f"the attribute {name!r} must be JSON"
        raise InvalidError.at(place, f"{wanted}. Received: {text[:50]!r}, {error}") from None


def _members(wanted: Places) -> dict[str, set[str]]:
    """The allowed names in each group."""
    members: dict[str, set[str]] = {"/statistics": set()}
    for place in wanted:
        parent, _, name = place.rpartition("/")
        while parent and parent != "/history":
            members.setdefault(parent, set()).add(name)
            parent, _, name = parent.rpartition("/")
    return members


def _bytes(wanted: Places) -> int:
    return sum(math.prod(shape) * np.dtype(dtype).itemsize for shape, dtype in wanted.values())


def checkpoint_of(definition: ModelDefinition, document: Any, content: memoryview) -> Checkpoint:
    """A checkpoint from the results of ``read_import``: its document, and the concatenated bytes of its arrays.

    If the file has no optimizer state, the state is that of the model's optimizer before its first update. Random
    streams, the order of rows and the best epoch are left out, because no run continues from an import. Raises
    InvalidError for an invalid document, and ValueError for content of the wrong size.
    """
    values = load(ImportSchema(), document)
    content, learned = _split_learned(definition, values["learned"], content)
    features = None
    if isinstance(definition.features, tuple):
        definition, features = _fitted(definition, learned)
    wanted = places(definition, values["optimizer"], values["epochs"])
    if content.nbytes != _bytes(wanted):
        raise ValueError(f"the arrays must have {_bytes(wanted)} bytes. Received: {content.nbytes}")
    arrays: dict[str, Array] = {}
    start = 0
    for place, (shape, dtype) in wanted.items():
        arrays[place] = np.frombuffer(content, dtype, math.prod(shape), start).reshape(shape)
        start += arrays[place].nbytes
    parameters, statistics = _group(arrays, "/parameters/"), _group(arrays, "/statistics/")
    optimizer: Optimizer = values["optimizer"] or definition.optimizer
    if values["optimizer"] is None:
        moments = {
            vector: {name: np.zeros_like(each) for name, each in parameters.items()} for vector in optimizer.vectors
        }
        averaged = {}
        if optimizer.average is not None:
            moments["average"], averaged = parameters, statistics
    else:
        moments = {vector: _group(arrays, f"/optimizer/{vector}/") for vector in optimizer.vectors}
        averaged = _group(arrays, "/averaged_statistics/")
    none = np.zeros(0, np.int64)
    state = TrainingState(
        epoch=values["epoch"],
        step=values["step"],
        updates=values["iterations"],
        position=0,
        order=none,
        streams={},
        loss_sum=0.0,
        hits=0,
        seconds=0.0,
        averaged_statistics=averaged,
        moments=moments,
    )
    return Checkpoint(
        definition=definition,
        parameters=parameters,
        statistics=statistics,
        optimizer=optimizer,
        state=state,
        history=_history(arrays),
        rows=none,
        best=None,
        created_at=utc_now(),
        features=features,
    )


def _split_learned(
    definition: ModelDefinition, lengths: Sequence[int], content: memoryview
) -> tuple[memoryview, list[Array]]:
    """The content without what features have learned, which is at its end, and that as arrays of these lengths."""
    forms = list(learned_places(definition).values())
    if len(lengths) != len(forms):
        raise ValueError(f"there must be {len(forms)} learned arrays. Received: {len(lengths)}")
    sizes = [length * np.dtype(form.dtype).itemsize for length, form in zip(lengths, forms, strict=True)]
    start = content.nbytes - sum(sizes)
    if start < 0:
        raise ValueError(f"the learned arrays must have {sum(sizes)} bytes. Received: {content.nbytes}")
    rest, arrays = content[start:], []
    for form, size in zip(forms, sizes, strict=True):
        arrays.append(np.frombuffer(bytes(rest[:size]), form.dtype))
        rest = rest[size:]
    return content[:start], arrays


def _group(arrays: Mapping[str, Array], prefix: str) -> dict[str, Array]:
    return {place.removeprefix(prefix): array for place, array in arrays.items() if place.startswith(prefix)}


def _history(arrays: Mapping[str, Array]) -> list[Epoch]:
    columns = {
        name: arrays[f"/history/{column}"].tolist()
        for name, column in _COLUMNS.items()
        if f"/history/{column}" in arrays
    }
    for name in OPTIONAL_COLUMNS:
        columns[name] = [None if math.isnan(value) else value for value in columns.get(name, [])]
    return [Epoch(**dict(zip(columns, row, strict=True))) for row in zip(*columns.values(), strict=True)]
