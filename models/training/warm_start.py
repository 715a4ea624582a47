"""Warm starts: a run begins with the weights of another run, in all layers or in some of them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from itertools import zip_longest

from models.data.labels import same_labels
from models.definition.definition import ModelDefinition
from models.errors import InvalidError, describe
from models.training.checkpoint import Checkpoint
from nncore.arrays import Array
from nncore.layers import Dense, Layer
from nncore.network import group_names, parameter_shapes
from nncore.training import Training

__all__ = ["begin_at", "check_start"]


def check_start(start: ModelDefinition, definition: ModelDefinition, reinitialize: Collection[str]) -> None:
    """Raise InvalidError if a run of ``definition`` cannot start from weights of ``start``.

    ``reinitialize`` names layers, as ``index_type``, whose weights are drawn again; these layers may differ. If the
    last dense layer is one of them, the classes may differ too.
    """
    groups = group_names(definition.layers)
    # Each unit of the last dense layer stands for a class, in their order.
    reads = "inputs" if definition.features is None else "features"
    for name in (reads, "dtype") if groups[-2] in reinitialize else (reads, "classes", "dtype"):
        mine, theirs = getattr(definition, name), getattr(start, name)
        same = same_labels(mine, theirs) if name == "classes" else mine == theirs
        if not same:
            raise InvalidError.at(
                "/start_from", f"must be of a model with the same {name} as {describe(definition.name)}"
            )
    same_layers = all(
        group in reinitialize or _drawn_alike(mine) == _drawn_alike(theirs)
        for group, mine, theirs in zip_longest(groups, definition.layers, start.layers)
    )
    known = parameter_shapes(start.layers, start.inputs)
    # Features that are not fitted yet take over what those of the start have learned.
    wanted = parameter_shapes(definition.layers, definition.inputs or start.inputs)
    same_shapes = all(known.get(name) == shape for name, shape in wanted.items() if not _among(name, reinitialize))
    if not (same_layers and same_shapes):
        raise InvalidError.at(
            "/start_from",
            f"must be of a model with the same layers as {describe(definition.name)}; reinitialize names those that "
            "may differ",
        )


def _drawn_alike(layer: Layer | None) -> Layer | None:
    """A layer without what decides its first weights only, which a warm start does not draw, and how fast it learns."""
    return replace(layer, initializer="zeros", initializer_value=0.0, rate=1.0) if isinstance(layer, Dense) else layer


def begin_at(training: Training, start: Checkpoint, reinitialize: Collection[str]) -> None:
    """Copy the weights of ``start`` into a run, except in layers to reinitialize.

    If the optimizers are equal, and the rates of the layers, and all layers are copied, the optimizer's state is copied
    too. Otherwise the run begins
    with the moving average of the weights if ``start`` has one. The optimizer's state for some layers alone would be
    wrong: the correction of its moments for the first steps is the same for all layers.
    """
    network = training.network
    rates = [[layer.rate_factor for layer in layers] for layers in (start.definition.layers, network.layers)]
    same = start.optimizer == training.optimizer and rates[0] == rates[1] and not reinitialize

    def taken(given: Mapping[str, Array], own: Mapping[str, Array]) -> dict[str, Array]:
        return {name: array.copy() if _among(name, reinitialize) else given[name] for name, array in own.items()}

    network.parameters.fill_from(taken(start.parameters if same else start.evaluated, network.parameters))
    statistics = start.statistics if same else start.evaluated_statistics
    network.statistics.fill_from(taken(statistics, network.statistics))
    own = training.state().moments
    if same:
        # Accumulated gradients belong to the batches of the other run.
        waiting = {"accumulated": own["accumulated"]} if "accumulated" in own else {}
        training.restore_moments(replace(start.state, moments={**start.state.moments, **waiting}))
    elif "average" in own:
        training.evaluated.vector[:] = network.parameters.vector
        training.evaluated_statistics.vector[:] = network.statistics.vector


def _among(name: str, groups: Collection[str]) -> bool:
    return name.partition("/")[0] in groups
