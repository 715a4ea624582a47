"""Warm starts: a run that begins where another one was, with all layers or with some of them drawn anew."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from itertools import zip_longest

from models.checkpoints import Checkpoint
from models.definitions import ModelDefinition
from models.errors import InvalidError
from nncore.arrays import Array
from nncore.network import group_names, parameter_shapes
from nncore.training import Training

__all__ = ["begin_at", "check_start"]


def check_start(start: ModelDefinition, definition: ModelDefinition, anew: Collection[str]) -> None:
    """Raise InvalidError where a run of ``definition`` cannot start from weights of ``start``.

    ``anew`` names layers, as ``index_type``, that are drawn anew and may differ; classes may then differ too.
    """
    for name in ("inputs", "dtype") if anew else ("inputs", "classes", "dtype"):
        if getattr(start, name) != getattr(definition, name):
            raise InvalidError.at("/start_from", f"must be of a model with the same {name} as {definition.name!r}")
    groups = group_names(definition.layers)
    same_layers = all(
        mine == theirs or group in anew for group, mine, theirs in zip_longest(groups, definition.layers, start.layers)
    )
    known = parameter_shapes(start.layers, start.inputs)
    wanted = parameter_shapes(definition.layers, definition.inputs)
    same_shapes = all(known.get(name) == shape for name, shape in wanted.items() if not _among(name, anew))
    if not (same_layers and same_shapes):
        raise InvalidError.at(
            "/start_from",
            f"must be of a model with the same layers as {definition.name!r}; reinitialize names those that may differ",
        )


def begin_at(training: Training, start: Checkpoint, anew: Collection[str]) -> None:
    """Take over weights and, where the optimizer is the same, its state; but nothing of layers drawn anew.

    With another optimizer, a moving average of the weights that ``start`` has is what the run begins with.
    """
    network, same = training.network, start.optimizer == training.optimizer

    def taken(given: Mapping[str, Array], own: Mapping[str, Array]) -> dict[str, Array]:
        return {name: array.copy() if _among(name, anew) else given[name] for name, array in own.items()}

    network.parameters.fill_from(taken(start.parameters if same else start.evaluated, network.parameters))
    network.statistics.fill_from(taken(start.statistics, network.statistics))
    if same:
        own = training.state().moments
        moments = {name: taken(arrays, own[name]) for name, arrays in start.state.moments.items()}
        training.restore_moments(replace(start.state, moments=moments))
    elif "average" in training.state().moments:
        training.evaluated.vector[:] = network.parameters.vector


def _among(name: str, groups: Collection[str]) -> bool:
    return name.partition("/")[0] in groups
