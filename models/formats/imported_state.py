"""The state of one network in an untrusted file: what to read below a group, and the checkpoint that it makes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import numpy as np

from models.clock import utc_now
from models.definition.definition import ModelDefinition
from models.definition.rules import optimizer_field
from models.errors import InvalidError, describe
from models.features.fitted import FittedFeatures
from models.formats.foreign_arrays import Place, Places, group_of, names_below
from models.formats.run_state import ADDED_COLUMNS, OPTIONAL_COLUMNS
from models.formats.untrusted_hdf5 import MAXIMUM_COUNT, ForeignFile
from models.schemas import StrictSchema, Whole, load
from models.training.checkpoint import Checkpoint, CheckpointKind
from nncore.arrays import Array
from nncore.best import Best
from nncore.hyperparameters import Bounds
from nncore.network import parameter_shapes, statistics_shapes
from nncore.optimizers import Optimizer
from nncore.training import Epoch, TrainingState

__all__ = ["COUNT", "StateSchema", "find_state", "network_places", "require_names", "state_of", "state_places"]

MAXIMUM_EPOCHS = 1_000_000
COUNT = Bounds(minimum=0, maximum=MAXIMUM_COUNT)
#: Columns of /history, by field of ``Epoch``.
_COLUMNS = {item.name: "epoch" if item.name == "number" else item.name for item in fields(Epoch)}


class StateSchema(StrictSchema):
    """The state of a network except its arrays; ``optimizer`` is null if the file has no optimizer state."""

    optimizer = optimizer_field(required=True, allow_none=True)
    iterations = Whole(COUNT, required=True)
    epoch = Whole(COUNT, required=True)
    step = Whole(COUNT, required=True)
    epochs = Whole(Bounds(minimum=0, maximum=MAXIMUM_EPOCHS), required=True)
    best_epoch = Whole(COUNT, load_default=0)


def find_state(file: ForeignFile, top: str = "") -> dict[str, Any]:
    """A document for ``StateSchema`` of what lies below the group ``top``. Raises InvalidError."""
    optimizer, iterations = _optimizer(file, f"{top}/optimizer")
    epochs = file.length(f"{top}/history/epoch") if file.has(f"{top}/history") else 0
    if epochs > MAXIMUM_EPOCHS:
        raise InvalidError.at(f"{top}/history/epoch", f"must have at most {MAXIMUM_EPOCHS} rows. Received: {epochs}")
    return {
        "optimizer": None if optimizer is None else optimizer_field().serialize("rule", {"rule": optimizer}),
        "iterations": iterations,
        "epoch": file.count(f"{top}/training", "epoch") or 0,
        "step": file.count(f"{top}/training", "step") or 0,
        "epochs": epochs,
        "best_epoch": 0 if top else _best_epoch(file),
    }


def _best_epoch(file: ForeignFile) -> int:
    """The epoch whose parameters a file of one network holds, if it was saved as the best one; else 0."""
    return (file.count("/best", "epoch") or 0) if file.text("/", "kind") == CheckpointKind.BEST else 0


def state_places(definition: ModelDefinition, optimizer: Optimizer | None, epochs: int, top: str = "") -> Places:
    """The arrays below ``top``, with this optimizer's state, if any, and this number of epochs."""
    shapes = parameter_shapes(definition.layers, definition.inputs)
    statistics = statistics_shapes(definition.layers, definition.inputs)
    groups = {"parameters": shapes, "statistics": statistics}
    if optimizer is not None:
        groups |= {f"optimizer/{vector}": shapes for vector in optimizer.vectors}
        if optimizer.average is not None:
            groups["averaged_statistics"] = statistics
    history = {
        f"{top}/history/{column}": Place(
            (epochs,),
            "int64" if name == "number" else "float64",
            nan=column in OPTIONAL_COLUMNS,
            added=column in ADDED_COLUMNS,
        )
        for name, column in _COLUMNS.items()
    }
    return (history if epochs else {}) | {
        f"{top}/{group}/{name}": Place(shape, definition.dtype)
        for group, members in groups.items()
        for name, shape in members.items()
    }


def network_places(definition: ModelDefinition, top: str) -> Places:
    """The parameters and statistics of a network below ``top``."""
    return state_places(definition, None, 0, top)


def require_names(file: ForeignFile, wanted: Places, top: str = "") -> None:
    """Raise InvalidError if a group of a state below ``top`` holds a name that is not expected."""
    empty: dict[str, set[str]] = {f"{top}/statistics": set()}
    for group, names in (empty | names_below(wanted, top, loose=frozenset({f"{top}/history"}))).items():
        file.require_names(group, names)


def _optimizer(file: ForeignFile, group: str) -> tuple[Optimizer | None, int]:
    """The optimizer of the state in a group and its number of updates; None and 0 if there is no state."""
    if not file.has(group):
        return None, 0
    kind, hyperparameters = file.text(group, "type"), file.json(group, "hyperparameters")
    iterations = file.count(group, "iterations")
    for name, value in (("type", kind), ("hyperparameters", hyperparameters), ("iterations", iterations)):
        if value is None:
            raise InvalidError.at(group, f"must have the attribute {describe(name)}. Received: nothing")
    if not isinstance(hyperparameters, dict):
        raise InvalidError.at(group, "the attribute 'hyperparameters' must be a JSON object. Received: other JSON")
    try:
        optimizer: Optimizer = load(optimizer_field(), {**hyperparameters, "type": kind})
    except InvalidError as error:
        raise error.moved("", group) from None
    return optimizer, iterations or 0


def state_of(
    definition: ModelDefinition,
    values: Mapping[str, Any],
    arrays: Mapping[str, Array],
    *,
    best: Best | None = None,
    features: FittedFeatures | None = None,
) -> Checkpoint:
    """A checkpoint from the values of a ``StateSchema`` and the arrays of ``state_places``, by their paths from there.

    If the file has no optimizer state, the state is that of the model's optimizer before its first update. Random
    streams and the order of rows are left out, because no run continues from an import.
    """
    parameters, statistics = group_of(arrays, "parameters"), group_of(arrays, "statistics")
    optimizer: Optimizer = values["optimizer"] or definition.optimizer
    averaged: dict[str, Array] = {}
    if values["optimizer"] is None:
        moments = {
            vector: {name: np.zeros_like(each) for name, each in parameters.items()} for vector in optimizer.vectors
        }
        if optimizer.average is not None:
            moments["average"], averaged = parameters, statistics
    else:
        moments = {vector: group_of(arrays, f"optimizer/{vector}") for vector in optimizer.vectors}
        averaged = group_of(arrays, "averaged_statistics")
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
        history=_history(group_of(arrays, "history")),
        rows=none,
        best=best,
        created_at=utc_now(),
        features=features,
        imported_epoch=values["best_epoch"],
    )


def _history(arrays: Mapping[str, Array]) -> list[Epoch]:
    columns = {name: arrays[column].tolist() for name, column in _COLUMNS.items() if column in arrays}
    for name in OPTIONAL_COLUMNS:
        columns[name] = [None if math.isnan(value) else value for value in columns.get(name, [])]
    return [Epoch(**dict(zip(columns, row, strict=True))) for row in zip(*columns.values(), strict=True)]
