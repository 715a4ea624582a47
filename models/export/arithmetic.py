"""Functions that ONNX lacks, or has only for some types, of operators that it has."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from models.export.graph import Graph
from models.features.normal import MIDDLE, SHOULDER, TAIL
from nncore.arrays import Array
from nncore.erf import CENTRE, erf_polynomial

__all__ = ["erf", "expm1", "floor_divide", "interpolated", "log1p", "normal_quantiles", "polynomial", "standardized"]

#: The smallest number that is not 0 as float32 in any rounding.
TINY = 1e-37


def standardized(graph: Graph, x: str, center: Array, scale: Array) -> str:
    """``(x - center)/scale``, all of float64.

    ONNX Runtime drops a subtrahend of one element that is 0 as float32, so that such a center is subtracted afterwards.
    """
    if center.size == 1 and 0.0 < abs(center.item()) < TINY:
        return graph.call("Sub", graph.call("Div", x, scale), center / scale)
    return graph.call("Div", graph.call("Sub", x, center), scale)


def expm1(graph: Graph, x: str) -> str:
    """``exp(x) - 1`` for x ≤ 0, also precise near 0: it is ``tanh(x/2)·(exp(x) + 1)``."""
    half = graph.call("Tanh", graph.call("Mul", x, graph.number(0.5)))
    return graph.call("Mul", half, graph.call("Add", graph.call("Exp", x), graph.number(1.0)))


def log1p(graph: Graph, x: str, one: Array) -> str:
    """``log(1 + x)`` for x ≥ 0, also precise near 0; ``one`` is 1 in the type of x.

    With the rounded ``u = 1 + x`` it is ``x/(u - 1)·log(u)`` (Goldberg 1991, "What Every Computer Scientist Should Know
    About Floating-Point Arithmetic", theorem 4).
    """
    above = graph.call("Add", x, one)
    ratio = graph.call("Div", x, graph.call("Sub", above, one))
    return graph.call("Where", graph.call("Equal", above, one), x, graph.call("Mul", ratio, graph.call("Log", above)))


def polynomial(graph: Graph, x: str, coefficients: Sequence[Array]) -> str:
    """The sum of ``coefficients[k]·x^k`` by Horner's rule; there are at least two."""
    *others, found = coefficients
    value: str | Array = found
    for coefficient in reversed(others):
        value = graph.call("Add", graph.call("Mul", x, value), coefficient)
    assert isinstance(value, str)
    return value


def erf(graph: Graph, x: str) -> str:
    """The error function in the networks' type.

    Runtimes have no operator for float64; the series of ``nncore.erf`` takes its place.
    """
    if graph.dtype == np.float32:
        return graph.call("Erf", x)
    magnitude = graph.call("Abs", x)
    centre, one = graph.number(CENTRE), graph.number(1.0)
    t = graph.call("Div", graph.call("Sub", magnitude, centre), graph.call("Add", magnitude, centre))
    series = polynomial(graph, t, list(erf_polynomial(graph.dtype)))
    twice = graph.call("Add", graph.call("Mul", magnitude, graph.number(2.0)), one)
    gaussian = graph.call("Exp", graph.call("Neg", graph.call("Mul", x, x)))
    tail = graph.call("Mul", graph.call("Div", series, twice), gaussian)
    return graph.call("Mul", graph.call("Sign", x), graph.call("Sub", one, tail))


def floor_divide(graph: Graph, x: str, by: int) -> str:
    """Whole numbers divided by a positive one, rounded down; ``Div`` rounds towards 0."""
    divisor = np.array(by, np.int64)
    return graph.call("Div", graph.call("Sub", x, graph.call("Mod", x, divisor)), divisor)


def interpolated(graph: Graph, x: str, places: Array, values: Array) -> str:
    """What ``numpy.interp(x, places, values)`` returns for x (rows, 1) between the first and the last place."""
    reached = graph.cast(graph.call("GreaterOrEqual", x, places[None, :]), np.dtype(np.int64))
    count = graph.call("ReduceSum", reached, np.array([1], np.int64), keepdims=1)
    # The interval of a number begins at the last place that it reaches; the last place ends the last interval.
    bounds = np.array(0, np.int64), np.array(len(places) - 2, np.int64)
    index = graph.call("Min", graph.call("Max", graph.call("Sub", count, np.array(1, np.int64)), bounds[0]), bounds[1])
    with np.errstate(over="ignore"):
        widths = np.diff(places)
    # No number lies within an interval of width 0.
    slopes = np.diff(values) / np.where(widths > 0, widths, 1.0)
    offset = graph.call("Sub", x, graph.call("Gather", places, index))
    return graph.call(
        "Add", graph.call("Mul", offset, graph.call("Gather", slopes, index)), graph.call("Gather", values, index)
    )


def normal_quantiles(graph: Graph, shares: str) -> str:
    """What ``models.features.normal.normal_quantiles`` returns, in float64."""
    q = graph.call("Sub", shares, np.array(0.5))
    smaller = graph.call("Min", shares, graph.call("Sub", np.array(1.0), shares))
    r = graph.call("Sqrt", graph.call("Neg", graph.call("Log", smaller)))
    shoulder = _ratio(graph, graph.call("Sub", r, np.array(1.6)), SHOULDER)
    tail = _ratio(graph, graph.call("Sub", r, np.array(5.0)), TAIL)
    outside = graph.call("Where", graph.call("LessOrEqual", r, np.array(5.0)), shoulder, tail)
    signed = graph.call("Where", graph.call("Less", q, np.array(0.0)), graph.call("Neg", outside), outside)
    middle = graph.call("Sub", np.array(0.180625), graph.call("Mul", q, q))
    inside = graph.call("Mul", q, _ratio(graph, middle, MIDDLE))
    near = graph.call("LessOrEqual", graph.call("Abs", q), np.array(0.425))
    return graph.call("Where", near, inside, signed)


def _ratio(graph: Graph, x: str, coefficients: tuple[tuple[float, ...], tuple[float, ...]]) -> str:
    numerator, denominator = (polynomial(graph, x, list(np.array(each))) for each in coefficients)
    return graph.call("Div", numerator, denominator)
