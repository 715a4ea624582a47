"""Numbers: scaled, with missing values filled in."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any, ClassVar, Literal

import numpy as np

from models.data.columns import Column, ColumnKind
from models.data.summary import NumberSummary
from models.features.feature import (
    ArrayForm,
    Binned,
    Deferred,
    Encoded,
    Feature,
    GapError,
    Learned,
    Numbers,
    Report,
    one,
)
from models.features.scales import BINS, SCALES, RobustBins, Scale, ScaleName
from nncore.arrays import Array
from nncore.hyperparameters import FieldError, hyperparameter

__all__ = ["Number"]


@cache
def _rule(scale: ScaleName, bins: int) -> Scale:
    """A scale with so many bins, if it has bins."""
    rule = SCALES[scale]
    return replace(rule, count=bins) if isinstance(rule, RobustBins) else rule


@dataclass(frozen=True)
class Number(Feature):
    """A number, scaled.

    A missing value is filled in. If values are missing in the training rows, one more number says whether the value is
    missing. If the scale is ``robust_bins``, all bins of a missing value are 0 then.
    """

    scale: ScaleName = hyperparameter("standardize", help="How values are brought to a common size.")
    missing: Literal["median", "mean", "zero", "refuse"] = hyperparameter(
        "median", help="What stands for a missing value; `refuse`: rows without a value are refused."
    )
    bins: int = hyperparameter(BINS, minimum=2, maximum=128, help="How many bins the scale `robust_bins` makes.")

    reads: ClassVar[ColumnKind] = "number"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.bins != BINS and self.scale != "robust_bins":
            raise FieldError(self, "bins", f"must be {BINS} or left out unless the scale is 'robust_bins'", self.bins)

    @property
    def rule(self) -> Scale:
        """The scale."""
        return _rule(self.scale, self.bins)

    def learn(self, pieces: Iterable[Column]) -> dict[str, Array]:
        rule, begin = self.rule, 0
        raw = NumberSummary(listed=rule.listed)
        # A scale that changes no value before it is learned needs no summary of its own.
        scaled = raw if type(rule).before is Scale.before else NumberSummary(listed=rule.listed)
        for piece in pieces:
            if self.missing == "refuse" and (gaps := piece.missing()).any():
                raise GapError(begin + int(np.argmax(gaps)))
            begin += len(piece.values)
            raw.add(piece)
            if scaled is not raw:
                scaled.add(piece._replace(values=rule.before(piece.values.astype(np.float64))))
        raw.close()
        scaled.close()
        if not raw.count:  # Every value is missing, so every value is filled in.
            scaled = NumberSummary(listed=rule.listed)
            scaled.add(Column("number", np.zeros(1)))
            scaled.close()
        return {
            "range": np.array([raw.minimum, raw.maximum]) if raw.count else np.zeros(2),
            "fill": one(self._fill(raw)),
            # A column without any value is constant to a scale that drops constant ones.
            "gaps": one(raw.missing > 0 and (raw.count > 0 or not rule.drops_constant), "uint8"),
            **rule.learn(scaled),
        }

    def _fill(self, summary: NumberSummary) -> float:
        if not summary.count or self.missing in ("zero", "refuse"):
            return 0.0
        return summary.mean if self.missing == "mean" else float(summary.quantiles(np.array([0.5]))[0])

    def forms(self) -> dict[str, ArrayForm]:
        return {
            "range": ArrayForm("float64", 2),
            "fill": ArrayForm("float64", 1),
            "gaps": ArrayForm("uint8", 1),
            **self.rule.forms(),
        }

    def check(self, learned: Learned) -> None:
        low, high = learned["range"].tolist()
        if not low <= high:
            raise ValueError(f"range must be the smallest and the largest value. Received: {low} and {high}")
        self.rule.check(learned)

    def width(self, learned: Learned) -> int:
        gaps, (low, high) = bool(learned["gaps"][0]), learned["range"].tolist()
        rule = self.rule
        return 0 if rule.drops_constant and low == high and not gaps else rule.width(learned) + gaps

    def names(self, learned: Learned) -> list[str]:
        if not self.width(learned):
            return []
        count, bins = self.rule.width(learned), self.rule.bins(learned)
        values = [f"{self.column}[{place}]" for place in range(bins or count)]
        if count - bins == 1:
            values = [self.column, *(values if bins else [])]
        return [*values, f"{self.column} is missing"] if learned["gaps"][0] else values

    def bin_columns(self, learned: Learned) -> Array:
        columns = super().bin_columns(learned)
        columns[1 : 1 + self.rule.bins(learned)] = True
        return columns

    def transform(self, values: Array, learned: Learned) -> Array:
        """The numbers (n_rows, width) of values (n_rows,), of which those that are missing are NaN.

        One position stands for all bins, if there are any.
        """
        gaps = np.isnan(values)
        if gaps.any():
            if self.missing == "refuse":
                raise GapError(int(np.argmax(gaps)))
            values = np.where(gaps, learned["fill"], values)
        rule = self.rule
        numbers = rule.apply(rule.before(values), learned)
        if not learned["gaps"][0]:
            return numbers
        if rule.bins(learned):
            numbers[gaps, 1] = 0.0
        return np.concatenate([numbers, gaps[:, None]], axis=1)

    def encode(self, column: Column, learned: Learned) -> Encoded:
        values, rule = column.values.astype(np.float64), self.rule
        if not rule.expands:
            numbers, bins = self.transform(values, learned), rule.bins(learned)
            return Binned(numbers, bins) if bins else Numbers(numbers)
        if self.missing == "refuse" and (gaps := np.isnan(values)).any():
            raise GapError(int(np.argmax(gaps)))
        return Deferred(values, partial(self.transform, learned=dict(learned)))

    def report(self, column: Column, learned: Learned) -> Report:
        low, high = learned["range"].tolist()
        gaps = column.missing()
        outside = ~gaps & ((column.values < low) | (column.values > high))
        return Report(gaps, np.zeros(len(gaps), bool), outside)

    def typical(self, learned: Learned) -> Column:
        """The median or the mean, whichever is known; else the middle of the range."""
        low, high = learned["range"].tolist()
        if self.missing in ("median", "mean"):
            found = learned["fill"][0]
        elif "center" in learned and type(self.rule).before is Scale.before:
            found = learned["center"][0]
        elif "quantiles" in learned:
            found = learned["quantiles"][len(learned["quantiles"]) // 2]
        else:
            found = low / 2 + high / 2
        return Column("number", np.array([min(max(found, low), high)]))

    def describe(self, learned: Learned) -> dict[str, Any]:
        low, high = learned["range"].tolist()
        return {"min": low, "max": high, "fill": None if self.missing == "refuse" else learned["fill"].tolist()[0]}
