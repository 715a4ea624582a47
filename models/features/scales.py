"""The table of scales: how a number feature brings its values to a common size.

To add a scale, write one class, one name in ``ScaleName`` and one line in ``SCALES``, a case in
``testing/features.py``, and its operators in ``models/export/scale_nodes.py``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from models.data.summary import NumberSummary, sorted_unique
from models.features.feature import ArrayForm, Learned, one
from models.features.normal import normal_quantiles
from nncore.arrays import Array

__all__ = [
    "BINS",
    "EDGE_SHARE",
    "SCALES",
    "SOFT_LIMIT",
    "SQUARED_LIMIT",
    "Log",
    "PiecewiseLinear",
    "Quantile",
    "Robust",
    "RobustBins",
    "RobustClip",
    "Scale",
    "ScaleName",
    "Standardize",
    "Unscaled",
    "soft_clip",
]

ScaleName = Literal[
    "standardize", "robust", "robust_clip", "robust_bins", "quantile", "piecewise_linear", "log", "none"
]

#: Number of quantiles that the scale ``quantile`` learns, as in scikit-learn, and of intervals of ``piecewise_linear``.
QUANTILES, INTERVALS = 1000, 16
#: Values beyond the learned quantiles are taken as this share and its complement, as in scikit-learn.
EDGE_SHARE = 1e-7
#: Default number of bins of ``robust_bins``, and the magnitude that ``robust_clip`` comes close to.
BINS, SOFT_LIMIT = 16, 3.0
#: The square of a larger number is infinite.
SQUARED_LIMIT = 1e100
_LARGEST = float(np.finfo(np.float64).max)


@dataclass(frozen=True)
class Scale:
    """A scale learns from a summary of the values, and makes one or more numbers of each value."""

    #: Whether a value becomes several numbers, which are made when a batch is gathered.
    expands: ClassVar[bool] = False
    #: Whether values are scaled as ``(value - center) / scale``.
    affine: ClassVar[bool] = True
    #: Whether a column becomes no number if it has the same value in all training rows.
    drops_constant: ClassVar[bool] = False

    @property
    def listed(self) -> int:
        """How many different values ``learn`` wants to know exactly, however many values there are."""
        return 0

    def before(self, values: Array) -> Array:
        """The values that are summed up and then scaled."""
        return values

    def learn(self, summary: NumberSummary) -> dict[str, Array]:
        """The arrays that scaling needs, from a summary of at least one value."""
        raise NotImplementedError

    def forms(self) -> dict[str, ArrayForm]:
        """The form of each array that ``learn`` returns."""
        return {"center": ArrayForm("float64", 1), "scale": ArrayForm("float64", 1)}

    def check(self, learned: Learned) -> None:
        """Raise ValueError if the arrays cannot come from ``learn``."""
        if not learned["scale"][0] > 0:
            raise ValueError(f"scale must be greater than 0. Received: {learned['scale'][0]}")

    def width(self, learned: Learned) -> int:
        """How many numbers a value becomes."""
        return 1

    def bins(self, learned: Learned) -> int:
        """How many of the numbers are bins; ``apply`` makes one position of all of them, its second number."""
        return 0

    def apply(self, values: Array, learned: Learned) -> Array:
        """The numbers (n_values, width) of values (n_values,) for which ``before`` was called."""
        return ((values - learned["center"]) / learned["scale"])[:, None]


def _affine(center: float, scale: float) -> dict[str, Array]:
    """Center and scale; a scale of 0 means that all values are equal, and they become 0."""
    return {"center": one(center), "scale": one(scale if scale > 0 and np.isfinite(scale) else 1.0)}


@dataclass(frozen=True)
class Standardize(Scale):
    """Mean 0 and standard deviation 1."""

    def learn(self, summary: NumberSummary) -> dict[str, Array]:
        # A deviation that is only the rounding of sums counts as 0.
        small = abs(summary.mean) * 1e-13 * np.sqrt(summary.count)
        return _affine(summary.mean, summary.deviation if summary.deviation > small else 0.0)


@dataclass(frozen=True)
class Robust(Scale):
    """Median 0 and an interquartile range of 1; if the two quartiles are equal, a standard deviation of 1."""

    def learn(self, summary: NumberSummary) -> dict[str, Array]:
        low, median, high = summary.quantiles(np.array([0.25, 0.5, 0.75])).tolist()
        return _affine(median, high - low if high > low else summary.deviation)


@dataclass(frozen=True)
class RobustClip(Scale):
    """Median 0 and an interquartile range of 1, then bent towards ±3, which no value passes.

    If the two quartiles are equal, the median distance of the values that differ from the median takes the place of
    their range. The bend is z / √(1 + (z / 3)²) (Holzmüller, Grinsztajn, Steinwart 2024, "Better by Default: Strong
    Pre-Tuned MLPs and Boosted Trees on Tabular Data").
    """

    affine: ClassVar[bool] = False
    drops_constant: ClassVar[bool] = True

    def learn(self, summary: NumberSummary) -> dict[str, Array]:
        low, median, high = summary.quantiles(np.array([0.25, 0.5, 0.75])).tolist()
        values, weights = summary.weighted()
        other = values != median
        with np.errstate(over="ignore"):  # The next candidate takes the place of an infinite one.
            spreads: list[float] = [high - low, _median(np.abs(values[other] - median), weights[other])]
        spreads.append(summary.maximum / 2 - summary.minimum / 2)
        return _affine(median, next((each for each in spreads if 0 < each < np.inf), 1.0))

    def apply(self, values: Array, learned: Learned) -> Array:
        return soft_clip(super().apply(values, learned))


@dataclass(frozen=True)
class RobustBins(RobustClip):
    """As ``robust_clip``, and beside it ``bins`` numbers that say where in the distribution a value lies.

    Each stands for an interval between two edges: 0 below it, 1 above it, and the share of it in between (Gorishniy,
    Rubachev, Babenko 2022, "On Embeddings for Numerical Features in Tabular Deep Learning", section 3.1). The edges are
    all different values if there are at most ``bins`` + 1. Otherwise, each value that holds 1 / ``bins`` of the rows or
    more is one, and quantiles cut the others into intervals of as many rows each. Two different values or fewer
    have no bins.
    """

    count: int = BINS

    @property
    def listed(self) -> int:
        return self.count + 1

    def learn(self, summary: NumberSummary) -> dict[str, Array]:
        return {**super().learn(summary), "edges": self._edges(summary)}

    def _edges(self, summary: NumberSummary) -> Array:
        if summary.few is not None:
            return summary.few if len(summary.few) > 2 else np.empty(0)
        values, weights = summary.weighted()
        starts = np.flatnonzero(np.append(True, values[1:] != values[:-1]))
        values, weights = values[starts], np.add.reduceat(weights, starts)
        heavy = weights * self.count >= weights.sum()
        cuts = np.linspace(0, 1, max(2, self.count - int(np.count_nonzero(heavy))) + 1)
        # The last of the ranks that each of the other values holds.
        last = np.cumsum(weights[~heavy]) - 1
        nearest = values[~heavy][np.searchsorted(last, np.rint(cuts * last[-1]), "left")]
        return sorted_unique(np.concatenate([[summary.minimum, summary.maximum], values[heavy], nearest]))

    def forms(self) -> dict[str, ArrayForm]:
        return {**super().forms(), "edges": ArrayForm("float64")}

    def check(self, learned: Learned) -> None:
        super().check(learned)
        edges = learned["edges"]
        if len(edges):
            _require_ascending("edges", edges, self.count + 2, shortest=3)
            _require_different("edges", edges)

    def width(self, learned: Learned) -> int:
        return 1 + self.bins(learned)

    def bins(self, learned: Learned) -> int:
        return max(len(learned["edges"]) - 1, 0)

    def apply(self, values: Array, learned: Learned) -> Array:
        scaled, edges = super().apply(values, learned), learned["edges"]
        if not len(edges):
            return scaled
        # The bin of a value; one below all edges is in the first, one above them in the last.
        place = edges[1:-1].searchsorted(values, "right")
        share = (values - edges[place]) / _widths(edges[place], edges[place + 1])
        position = place + _bounded(share, 0.0, 1.0)
        return np.concatenate([scaled, position[:, None]], axis=1)

    def parts(self, learned: Learned) -> tuple[Array, Array]:
        """Of each bin, the value at which it begins, and its width."""
        edges = learned["edges"]
        return edges[:-1], _widths(edges[:-1], edges[1:])


def _widths(low: Array, high: Array) -> Array:
    """The widths of bins; one that is infinite is taken as the largest number."""
    with np.errstate(over="ignore"):
        widths: Array = np.minimum(high - low, _LARGEST)
    return widths


def soft_clip(scaled: Array) -> Array:
    """z / √(1 + (z / 3)²): nearly z for small numbers, and never beyond ±3."""
    scaled = _bounded(scaled, -SQUARED_LIMIT, SQUARED_LIMIT)
    bent: Array = scaled / np.sqrt(1.0 + np.square(scaled / SOFT_LIMIT))
    return bent


def _bounded(values: Array, low: float, high: float) -> Array:
    """What ``np.clip`` returns, without its checks, which take longer than one row."""
    found: Array = np.minimum(np.maximum(values, low), high)
    return found


def _median(values: Array, weights: Array) -> float:
    """The median of values that stand for several each; 0 if there are none."""
    if not len(values):
        return 0.0
    order = np.argsort(values, kind="stable")
    # A value that stands for w others takes the w ranks behind those of the values before it.
    last = np.cumsum(weights[order]) - 1
    middle = last[-1] / 2
    low, high = values[order][np.searchsorted(last, [np.floor(middle), np.ceil(middle)], "left")]
    return float(low / 2 + high / 2 if low < high else low)


@dataclass(frozen=True)
class Log(Standardize):
    """The sign of a value times log(1 + its magnitude), standardized."""

    affine: ClassVar[bool] = False

    def before(self, values: Array) -> Array:
        return np.copysign(np.log1p(np.abs(values)), values)


@dataclass(frozen=True)
class Quantile(Scale):
    """The normal distribution: a value becomes the normal quantile of its rank among the training rows.

    Equal to scikit-learn's ``QuantileTransformer(output_distribution="normal")``: ranks are interpolated between the
    learned quantiles, from both sides where several are equal.
    """

    affine: ClassVar[bool] = False

    def learn(self, summary: NumberSummary) -> dict[str, Array]:
        return {"quantiles": summary.quantiles(np.linspace(0, 1, min(QUANTILES, max(summary.count, 2))))}

    def forms(self) -> dict[str, ArrayForm]:
        return {"quantiles": ArrayForm("float64")}

    def check(self, learned: Learned) -> None:
        _require_ascending("quantiles", learned["quantiles"], QUANTILES)

    def apply(self, values: Array, learned: Learned) -> Array:
        quantiles = learned["quantiles"]
        shares = np.linspace(0, 1, len(quantiles))
        ranks = 0.5 * (np.interp(values, quantiles, shares) - np.interp(-values, -quantiles[::-1], -shares[::-1]))
        ranks = np.where(values <= quantiles[0], 0.0, np.where(values >= quantiles[-1], 1.0, ranks))
        if quantiles[0] == quantiles[-1]:
            ranks = np.where(values == quantiles[0], 0.5, ranks)
        return normal_quantiles(np.clip(ranks, EDGE_SHARE, 1.0 - EDGE_SHARE))[:, None]


@dataclass(frozen=True)
class PiecewiseLinear(Scale):
    """A number for each interval between quantiles: 0 below it, 1 above it, and the share of it in between.

    Below the first interval and above the last one the numbers go on linearly (Gorishniy, Rubachev, Babenko 2022, "On
    Embeddings for Numerical Features in Tabular Deep Learning", section 3.1).
    """

    expands: ClassVar[bool] = True
    affine: ClassVar[bool] = False

    def learn(self, summary: NumberSummary) -> dict[str, Array]:
        edges = np.unique(summary.quantiles(np.linspace(0, 1, INTERVALS + 1)))
        return {"edges": edges if len(edges) > 1 else np.array([edges[0], edges[0] + 1.0])}

    def forms(self) -> dict[str, ArrayForm]:
        return {"edges": ArrayForm("float64")}

    def check(self, learned: Learned) -> None:
        _require_ascending("edges", learned["edges"], INTERVALS + 1)
        _require_different("edges", learned["edges"])

    def width(self, learned: Learned) -> int:
        return len(learned["edges"]) - 1

    def apply(self, values: Array, learned: Learned) -> Array:
        edges = learned["edges"]
        shares = (values[:, None] - edges[:-1]) / np.diff(edges)
        return np.clip(shares, *self.bounds(learned))

    def bounds(self, learned: Learned) -> tuple[Array, Array]:
        """The smallest and the largest number that each interval becomes."""
        width = self.width(learned)
        lowest, highest = np.zeros(width), np.ones(width)
        lowest[0], highest[-1] = -np.inf, np.inf
        return lowest, highest


@dataclass(frozen=True)
class Unscaled(Scale):
    """Values as they are."""

    def learn(self, summary: NumberSummary) -> dict[str, Array]:
        return {}

    def forms(self) -> dict[str, ArrayForm]:
        return {}

    def check(self, learned: Learned) -> None:
        """Nothing is learned."""

    def apply(self, values: Array, learned: Learned) -> Array:
        return values[:, None]


def _require_ascending(name: str, values: Array, longest: int, *, shortest: int = 2) -> None:
    ascending = bool((values[1:] >= values[:-1]).all())
    if not shortest <= len(values) <= longest or not ascending:
        received = f"{len(values)} in {'ascending' if ascending else 'another'} order"
        raise ValueError(f"{name} must be {shortest} to {longest} numbers in ascending order. Received: {received}")


def _require_different(name: str, values: Array) -> None:
    if not (values[1:] > values[:-1]).all():
        raise ValueError(f"{name} must be different. Received: the same more than once")


SCALES: dict[ScaleName, Scale] = {
    "standardize": Standardize(),
    "robust": Robust(),
    "robust_clip": RobustClip(),
    "robust_bins": RobustBins(),
    "quantile": Quantile(),
    "piecewise_linear": PiecewiseLinear(),
    "log": Log(),
    "none": Unscaled(),
}
