"""The table of scales: how a number feature brings its values to a common size.

To add a scale, write one class, one name in ``ScaleName`` and one line in ``SCALES``, and a case in
``testing/features.py``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from models.data.summary import NumberSummary
from models.features.feature import ArrayForm, Learned, one
from models.features.normal import normal_quantiles
from nncore.arrays import Array

__all__ = ["SCALES", "Scale", "ScaleName"]

ScaleName = Literal["standardize", "robust", "quantile", "piecewise_linear", "log", "none"]

#: Number of quantiles that the scale ``quantile`` learns, as in scikit-learn, and of intervals of ``piecewise_linear``.
QUANTILES, INTERVALS = 1000, 16
#: Values beyond the learned quantiles are taken as this share and its complement, as in scikit-learn.
EDGE_SHARE = 1e-7


@dataclass(frozen=True)
class Scale:
    """A scale learns from a summary of the values, and makes one or more numbers of each value."""

    #: Whether a value becomes several numbers, which are made when a batch is gathered.
    expands: ClassVar[bool] = False
    #: Whether values are scaled as ``(value - center) / scale``.
    affine: ClassVar[bool] = True

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
        edges = learned["edges"]
        if not (edges[1:] > edges[:-1]).all():
            raise ValueError("edges must be different. Received: the same more than once")

    def width(self, learned: Learned) -> int:
        return len(learned["edges"]) - 1

    def apply(self, values: Array, learned: Learned) -> Array:
        edges = learned["edges"]
        shares = (values[:, None] - edges[:-1]) / np.diff(edges)
        lowest, highest = np.zeros(len(edges) - 1), np.ones(len(edges) - 1)
        lowest[0], highest[-1] = -np.inf, np.inf
        return np.clip(shares, lowest, highest)


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


def _require_ascending(name: str, values: Array, longest: int) -> None:
    ascending = bool((values[1:] >= values[:-1]).all())
    if not 2 <= len(values) <= longest or not ascending:
        received = f"{len(values)} in {'ascending' if ascending else 'another'} order"
        raise ValueError(f"{name} must be 2 to {longest} numbers in ascending order. Received: {received}")


SCALES: dict[ScaleName, Scale] = {
    "standardize": Standardize(),
    "robust": Robust(),
    "quantile": Quantile(),
    "piecewise_linear": PiecewiseLinear(),
    "log": Log(),
    "none": Unscaled(),
}
