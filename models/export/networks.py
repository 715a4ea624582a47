"""The networks of a version as operators: one, or the mixture of several members."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from models.definition.ensemble import Ensemble
from models.export.graph import Graph
from models.export.layer_nodes import LAYER_NODES
from models.formats.mapped_parameters import MappedVersion
from nncore.arrays import Array
from nncore.layers import Layer
from nncore.losses import FLOOR
from nncore.network import group_names

__all__ = ["probabilities"]


def probabilities(graph: Graph, version: MappedVersion, x: str) -> str:
    """The probabilities (rows, classes) of a version whose networks read ``x`` (rows, inputs)."""
    if version.mixture is None:
        return _stack(graph, version.definition.layers, version.parameters, x)
    mixture, ensemble = version.mixture, version.definition.ensemble
    assert isinstance(ensemble, Ensemble)
    kinds = [
        (kind, [network.parameters for network in version.networks if network.kind == kind.name])
        for kind in ensemble.kinds
    ]
    kinds = [(kind, members) for kind, members in kinds if members]
    total = sum(mixture.weights[kind.name] for kind, _ in kinds)
    found: str | None = None
    for kind, members in kinds:
        read = x if kind.bins else _without_bins(graph, version, x)
        each = _stack(graph, kind.layers, _stacked(members), read)
        weight = graph.number(mixture.weights[kind.name] / len(members) / total)
        share = graph.call("Mul", graph.call("ReduceSum", each, np.array([0], np.int64), keepdims=0), weight)
        found = share if found is None else graph.call("Add", found, share)
    assert found is not None
    return _sharpened(graph, found, mixture.temperature)


def _stack(graph: Graph, layers: Sequence[Layer], parameters: Mapping[str, Array], x: str) -> str:
    """The output of a stack of layers; ``parameters`` are by ``index_type/name``."""
    for group, layer in zip(group_names(layers), layers, strict=True):
        own = {name.partition("/")[2]: array for name, array in parameters.items() if name.startswith(f"{group}/")}
        x = LAYER_NODES[type(layer)](graph, layer, own, x)
    return x


def _stacked(members: Sequence[Mapping[str, Array]]) -> dict[str, Array]:
    """The members' arrays as one each: (members, inputs, units), or (members, 1, features)."""
    stacked = {name: np.stack([member[name] for member in members]) for name in members[0]}
    return {name: array if array.ndim == 3 else array[:, np.newaxis] for name, array in stacked.items()}


def _without_bins(graph: Graph, version: MappedVersion, x: str) -> str:
    """The numbers that a kind without bins reads."""
    bins = None if version.features is None else version.features.bin_columns
    return x if bins is None or not bins.any() else graph.call("Gather", x, np.flatnonzero(~bins), axis=1)


def _sharpened(graph: Graph, mixture: str, temperature: float) -> str:
    """Probabilities with a temperature, as in ``models.trust.temperature``."""
    powers = graph.call("Pow", graph.call("Max", mixture, graph.number(FLOOR)), graph.number(1.0 / temperature))
    return graph.call("Div", powers, graph.call("ReduceSum", powers, np.array([-1], np.int64), keepdims=1))
