"""The table of scales as operators: each makes what a member of ``models.features.scales.SCALES`` makes.

To export a scale, write one function and one line in ``SCALE_NODES``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from models.export.arithmetic import interpolated, log1p, normal_quantiles, standardized
from models.export.graph import Graph
from models.features.feature import Learned
from models.features.scales import (
    EDGE_SHARE,
    SOFT_LIMIT,
    SQUARED_LIMIT,
    Log,
    PiecewiseLinear,
    Quantile,
    Robust,
    RobustBins,
    RobustClip,
    Scale,
    Standardize,
    Unscaled,
)

__all__ = ["SCALE_NODES", "Scaled"]


class Scaled(NamedTuple):
    """What becomes of values: ``numbers`` (rows, k) and, of a scale with ``bins``, their position (rows, 1)."""

    numbers: str
    position: str | None = None
    bins: int = 0


#: Makes numbers of values (rows, 1), both float64.
Nodes = Callable[[Graph, Any, Learned, str], Scaled]


def _affine(graph: Graph, rule: Scale, learned: Learned, values: str) -> Scaled:
    return Scaled(_standard(graph, learned, values))


def _standard(graph: Graph, learned: Learned, values: str) -> str:
    return standardized(graph, values, learned["center"], learned["scale"])


def _log(graph: Graph, rule: Log, learned: Learned, values: str) -> Scaled:
    grown = log1p(graph, graph.call("Abs", values), np.array(1.0))
    return Scaled(_standard(graph, learned, graph.call("Mul", graph.call("Sign", values), grown)))


def _clipped(graph: Graph, rule: RobustClip, learned: Learned, values: str) -> Scaled:
    scaled = _bounded(graph, _standard(graph, learned, values), -SQUARED_LIMIT, SQUARED_LIMIT)
    share = graph.call("Div", scaled, np.array(SOFT_LIMIT))
    square = graph.call("Add", graph.call("Mul", share, share), np.array(1.0))
    return Scaled(graph.call("Div", scaled, graph.call("Sqrt", square)))


def _binned(graph: Graph, rule: RobustBins, learned: Learned, values: str) -> Scaled:
    numbers, bins = _clipped(graph, rule, learned, values).numbers, rule.bins(learned)
    if not bins:
        return Scaled(numbers)
    starts, widths = rule.parts(learned)
    reached = graph.cast(graph.call("GreaterOrEqual", values, starts[None, 1:]), np.dtype(np.int64))
    place = graph.call("ReduceSum", reached, np.array([1], np.int64), keepdims=1)
    above = graph.call("Sub", values, graph.call("Gather", starts, place))
    share = _bounded(graph, graph.call("Div", above, graph.call("Gather", widths, place)), 0.0, 1.0)
    return Scaled(numbers, graph.call("Add", graph.cast(place, np.dtype(np.float64)), share), bins)


def _ranked(graph: Graph, rule: Quantile, learned: Learned, values: str) -> Scaled:
    quantiles = learned["quantiles"]
    shares = np.linspace(0, 1, len(quantiles))
    below = interpolated(graph, values, quantiles, shares)
    above = interpolated(graph, graph.call("Neg", values), -quantiles[::-1], -shares[::-1])
    ranks = graph.call("Mul", graph.call("Sub", below, above), np.array(0.5))
    ranks = graph.call("Where", graph.call("GreaterOrEqual", values, quantiles[-1:]), np.array(1.0), ranks)
    ranks = graph.call("Where", graph.call("LessOrEqual", values, quantiles[:1]), np.array(0.0), ranks)
    if quantiles[0] == quantiles[-1]:
        ranks = graph.call("Where", graph.call("Equal", values, quantiles[:1]), np.array(0.5), ranks)
    return Scaled(normal_quantiles(graph, _bounded(graph, ranks, EDGE_SHARE, 1.0 - EDGE_SHARE)))


def _piecewise(graph: Graph, rule: PiecewiseLinear, learned: Learned, values: str) -> Scaled:
    edges = learned["edges"]
    shares = standardized(graph, values, edges[None, :-1], np.diff(edges)[None, :])
    lowest, highest = rule.bounds(learned)
    return Scaled(graph.call("Min", graph.call("Max", shares, lowest[None, :]), highest[None, :]))


def _plain(graph: Graph, rule: Unscaled, learned: Learned, values: str) -> Scaled:
    return Scaled(values)


def _bounded(graph: Graph, values: str, low: float, high: float) -> str:
    return graph.call("Min", graph.call("Max", values, np.array(low)), np.array(high))


SCALE_NODES: dict[type[Scale], Nodes] = {
    Standardize: _affine,
    Robust: _affine,
    RobustClip: _clipped,
    RobustBins: _binned,
    Quantile: _ranked,
    PiecewiseLinear: _piecewise,
    Log: _log,
    Unscaled: _plain,
}
