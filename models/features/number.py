"""Numbers: scaled, with missing values filled in."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from models.data.columns import Column, ColumnKind
from models.data.summary import NumberSummary
from models.features.feature import (
    ArrayForm,
    Deferred,
    Encoded,
    Feature,
    GapError,
    Learned,
    Numbers,
    Report,
    one,
)
from models.features.scales import SCALES, Scale, ScaleName
from nncore.arrays import Array
from nncore.hyperparameters import hyperparameter

__all__ = ["Number"]


@dataclass(frozen=True)
class Number(Feature):
    """A number, scaled.

    A missing value is filled in. If values are missing in the training rows, one more number says whether the value is
    missing.
    """

    scale: ScaleName = hyperparameter("standardize", help="How values are brought to a common size.")
    missing: Literal["median", "mean", "zero", "refuse"] = hyperparameter(
        "median", help="What stands for a missing value; `refuse`: rows without a value are refused."
    )

    reads: ClassVar[ColumnKind] = "number"

    @property
    def rule(self) -> Scale:
        """The scale."""
        return SCALES[self.scale]

    def learn(self, pieces: Iterable[Column]) -> dict[str, Array]:
        raw, scaled, begin = NumberSummary(), NumberSummary(), 0
        for piece in pieces:
            if self.missing == "refuse" and (gaps := piece.missing()).any():
                raise GapError(begin + int(np.argmax(gaps)))
            begin += len(piece.values)
            raw.add(piece)
            scaled.add(piece._replace(values=self.rule.before(piece.values.astype(np.float64))))
        raw.close()
        scaled.close()
        if not raw.count:  # Every value is missing, so every value is filled in.
            scaled.add(Column("number", np.zeros(1)))
            scaled.close()
        return {
            "range": np.array([raw.minimum, raw.maximum]) if raw.count else np.zeros(2),
            "fill": one(self._fill(raw)),
            "gaps": one(raw.missing > 0, "uint8"),
            **self.rule.learn(scaled),
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
        return self.rule.width(learned) + bool(learned["gaps"][0])

    def names(self, learned: Learned) -> list[str]:
        count = self.rule.width(learned)
        values = [self.column] if count == 1 else [f"{self.column}[{place}]" for place in range(count)]
        return [*values, f"{self.column} is missing"] if learned["gaps"][0] else values

    def transform(self, values: Array, learned: Learned) -> Array:
        """The numbers (n_rows, width) of values (n_rows,), of which those that are missing are NaN."""
        gaps = np.isnan(values)
        if gaps.any():
            if self.missing == "refuse":
                raise GapError(int(np.argmax(gaps)))
            values = np.where(gaps, learned["fill"], values)
        numbers = self.rule.apply(self.rule.before(values), learned)
        return np.concatenate([numbers, gaps[:, None]], axis=1) if learned["gaps"][0] else numbers

    def encode(self, column: Column, learned: Learned) -> Encoded:
        values = column.values.astype(np.float64)
        if not self.rule.expands:
            return Numbers(self.transform(values, learned))
        if self.missing == "refuse" and (gaps := np.isnan(values)).any():
            raise GapError(int(np.argmax(gaps)))
        return Deferred(values, lambda chosen: self.transform(chosen, learned))

    def report(self, column: Column, learned: Learned) -> Report:
        low, high = learned["range"].tolist()
        gaps = column.missing()
        outside = ~gaps & ((column.values < low) | (column.values > high))
        return Report(gaps, np.zeros(len(gaps), bool), outside)

    def describe(self, learned: Learned) -> dict[str, Any]:
        low, high = learned["range"].tolist()
        return {"min": low, "max": high, "fill": None if self.missing == "refuse" else learned["fill"].tolist()[0]}
