"""Import of untrusted checkpoint files.

A sandboxed process reads the file and passes on plain numbers and raw arrays, in an order that the model's definition
determines (``read_import``). The web process makes a new checkpoint from them (``checkpoint_of``).
docs/checkpoint-format.md describes the layout of the file.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any, NamedTuple

import marshmallow as ma
import numpy as np

from models.definition.definition import ModelDefinition
from models.definition.ensemble import Ensemble, OpenEnsemble
from models.definition.features import OpenFeatures
from models.errors import InvalidError, Problem, describe, shortened
from models.features.feature import ArrayForm
from models.features.fitted import FittedFeatures, group_name
from models.formats.checkpoint_file import FORMAT, FORMAT_VERSION, MEMBERS_VERSION
from models.formats.foreign_arrays import Place, Places, arrays_in, group_of, in_order, names_below, read_arrays
from models.formats.imported_members import (
    MembersSchema,
    check_members,
    ensemble_of,
    find_members,
    members_places,
    require_member_names,
)
from models.formats.imported_state import StateSchema, find_state, require_names, state_of, state_places
from models.formats.untrusted_hdf5 import ForeignFile, read
from models.schemas import Whole, load
from models.training.checkpoint import Checkpoint
from models.training.ensemble_checkpoint import EnsembleCheckpoint
from nncore.arrays import Array
from nncore.hyperparameters import Bounds

__all__ = ["checkpoint_of", "read_import"]

#: Maximum length of a file's strings, in addition to twice the length of the model's definition.
TEXT_BYTES = 2**20
#: Members of a definition that must equal the model's; name, optimizer, loss and metadata may differ. The inputs of a
#: model with features follow from what these have learned.
DECISIVE = ("inputs", "features", "classes", "dtype", "layers", "network")
#: Maximum number of bytes of each array that a feature has learned.
LEARNED_BYTES = 2**24


def _lengths() -> ma.fields.List[int]:
    """The lengths of the arrays that features have learned, in their order."""
    return ma.fields.List(Whole(Bounds(minimum=0, maximum=LEARNED_BYTES)), load_default=list)


class ImportSchema(StateSchema):
    """The content of a file of one network except its arrays."""

    learned = _lengths()


class MembersImportSchema(MembersSchema):
    """The content of a file of members except its arrays."""

    learned = _lengths()


def read_import(descriptor: int, definition: ModelDefinition) -> tuple[dict[str, Any], Iterator[Array]]:
    """Read a file: a document for ``ImportSchema`` or, of members, ``MembersImportSchema``; and the arrays in order.

    Everything but values is checked before the first array is read. Raises InvalidError and UnreadableError, and any
    exception of h5py if the file is damaged.
    """
    file = ForeignFile(descriptor, TEXT_BYTES + 2 * len(definition.canonical().encode()))
    if isinstance(definition.ensemble, OpenEnsemble):
        detail = "the model's network is open until data train it; define the model as the file's definition has it"
        raise InvalidError.at("/definition/network", detail)
    _check_format(file, definition)
    _check_definition(file, definition)
    learned = _learned(file, definition)
    fitted = _fitted(definition, list(learned.values()))
    many = definition.ensemble is not None
    document = find_members(file, fitted.definition) if many else find_state(file)
    document["learned"] = [len(array) for array in learned.values()]
    values, wanted = _values(fitted, document)
    if many:
        require_member_names(file, fitted.definition, values, wanted)
    else:
        require_names(file, wanted)
    # What features have learned comes last, because its bytes would leave other arrays unaligned.
    return document, chain(_checked(fitted, values, read_arrays(file, wanted)), learned.values())


def _values(fitted: Fitted, document: Any) -> tuple[dict[str, Any], Places]:
    """The loaded document, and the arrays in the order in which they are passed on. Raises InvalidError."""
    definition = fitted.definition
    if definition.ensemble is not None:
        values = load(MembersImportSchema(), document)
        return values, in_order(members_places(definition, values, fitted.plain))
    values = load(ImportSchema(), document)
    return values, in_order(state_places(definition, values["optimizer"], values["epochs"]))


def _checked(fitted: Fitted, values: dict[str, Any], arrays: Iterable[tuple[str, Array]]) -> Iterator[Array]:
    """The arrays. Raises InvalidError after the last one if what is said of held-out rows cannot be of the model."""
    said = {}
    for path, array in arrays:
        if path.startswith(("/held_out/", "/trust/")):
            said[path] = array
        yield array
    if fitted.definition.ensemble is not None:
        check_members(fitted.definition, values, said, fitted.plain)


class Fitted(NamedTuple):
    """Features with what they have learned, None if there are none, and the definition with all inputs known.

    ``plain`` is the number of inputs that are no bins.
    """

    definition: ModelDefinition
    features: FittedFeatures | None
    plain: int


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
    members = names_below({place: Place((0,), form.dtype) for place, form in forms.items()})
    for group, names in ({"/features": set[str]()} | members).items():
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
    if not isinstance(definition.features, tuple):
        return _with_inputs(definition, None, definition.inputs, 0)
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
    return _with_inputs(definition, features, features.width, int(features.bin_columns.sum()))


def _with_inputs(definition: ModelDefinition, features: FittedFeatures | None, inputs: int, bins: int) -> Fitted:
    ensemble = definition.ensemble
    if isinstance(ensemble, Ensemble):
        ensemble = ensemble.with_inputs(inputs, bins)
    return Fitted(replace(definition, inputs=inputs, ensemble=ensemble), features, inputs - bins)


def _check_format(file: ForeignFile, definition: ModelDefinition) -> None:
    version, networks = (FORMAT_VERSION, "one network") if definition.ensemble is None else (MEMBERS_VERSION, "members")
    found: dict[str, Any] = {
        "format": file.text("/", "format"),
        "format_version": file.whole_number("/", "format_version"),
    }
    for name, expected, why in (("format", FORMAT, ""), ("format_version", version, f", as the model has {networks}")):
        if found[name] != expected:
            received = "nothing" if found[name] is None else repr(found[name])
            raise InvalidError.at(
                "/",
                f"the attribute {describe(name)} must be {describe(expected)}{why}. Received: {shortened(received)}",
            )


def _check_definition(file: ForeignFile, definition: ModelDefinition) -> None:
    """Raise InvalidError with each difference between the model's definition and the file's, if it has one."""
    own = _decisive(json.loads(definition.canonical()))
    theirs = file.json("/", "definition")
    if theirs is not None and theirs != own:
        try:
            theirs = _decisive(json.loads(ModelDefinition.stored(theirs).canonical()))
        except InvalidError as error:
            raise error.moved("", "/definition") from None
    classes = file.json("/", "classes")
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
        raise InvalidError.of(problems)


def _decisive(document: dict[str, Any]) -> dict[str, Any]:
    """What an import must agree with; how weights are drawn first, and how they are trained, does not matter to it."""
    found = {name: document.get(name) for name in DECISIVE}
    network = document.get("network")
    if network is None:
        return {**found, "layers": _drawn_anyhow(document["layers"])}
    if "kinds" not in network:
        return found
    kinds = [
        {**{name: kind[name] for name in ("name", "bins", "baseline")}, "layers": _drawn_anyhow(kind["layers"])}
        for kind in network["kinds"]
    ]
    return {**found, "network": {"folds": network["folds"], "kinds": kinds}}


def _drawn_anyhow(layers: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Layers without what says how their first weights are drawn."""
    drawn = ("initializer", "initializer_value")
    return [{name: value for name, value in layer.items() if name not in drawn} for layer in layers]


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


def checkpoint_of(definition: ModelDefinition, document: Any, content: memoryview) -> Checkpoint | EnsembleCheckpoint:
    """A checkpoint from the results of ``read_import``: its document, and the concatenated bytes of its arrays.

    Raises InvalidError for an invalid document, and ValueError for content of the wrong size.
    """
    content, learned = _split_learned(definition, load(_lengths(), document["learned"]), content)
    fitted = _fitted(definition, learned)
    values, wanted = _values(fitted, document)
    arrays = arrays_in(content, wanted)
    if fitted.definition.ensemble is not None:
        return ensemble_of(fitted.definition, values, arrays, fitted.features, fitted.plain)
    return state_of(fitted.definition, values, group_of(arrays, ""), features=fitted.features)


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
