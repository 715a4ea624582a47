"""Dates and times: parts that return, as sine and cosine, and the time that has passed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from models.data.columns import MISSING_TIME, Column, ColumnKind
from models.data.summary import NumberSummary
from models.features.feature import ArrayForm, Encoded, Feature, Learned, Numbers, Report, one
from nncore.arrays import Array
from nncore.hyperparameters import hyperparameter

__all__ = ["DAY", "HOUR", "PARTS", "PERIODS", "Datetime", "Part", "as_text"]

Part = Literal["elapsed", "year", "month", "weekday", "hour"]
PARTS: tuple[Part, ...] = ("elapsed", "year", "month", "weekday", "hour")
#: Parts that return after so many units; they become a sine and a cosine.
PERIODS: dict[Part, float] = {"month": 12.0, "weekday": 7.0, "hour": 24.0}
#: Microseconds.
_SECOND, HOUR, DAY = 1_000_000, 3_600_000_000, 86_400_000_000


@dataclass(frozen=True)
class Datetime(Feature):
    """A date or time, as some of its parts.

    ``elapsed`` (days) and ``year`` are standardized. ``month``, ``weekday`` (Monday is 0) and ``hour`` (with its
    fraction) are a sine and a cosine each. A part that is the same in all training rows is left out. A missing value is
    0 in all parts; if values are missing in the training rows, one more number says whether the value is missing.
    """

    parts: tuple[Part, ...] = hyperparameter(PARTS, help="The parts of the time to use.")

    reads: ClassVar[ColumnKind] = "datetime"

    def learn(self, pieces: Iterable[Column]) -> dict[str, Array]:
        summaries = [NumberSummary() for _ in self.parts]
        whole = NumberSummary()
        for piece in pieces:
            whole.add(piece)
            values = piece.values[piece.values != MISSING_TIME]
            for part, summary in zip(self.parts, summaries, strict=True):
                summary.add(Column("number", _part(part, values)))
        for summary in (whole, *summaries):
            summary.close()
        deviations = np.array(
            [summary.deviation if summary.maximum > summary.minimum else 0.0 for summary in summaries]
        )
        return {
            "range": np.array([whole.minimum, whole.maximum]).astype(np.int64)
            if whole.count
            else np.zeros(2, np.int64),
            "center": np.array([summary.mean for summary in summaries]),
            "scale": deviations,
            "gaps": one(whole.missing > 0, "uint8"),
        }

    def forms(self) -> dict[str, ArrayForm]:
        return {
            "range": ArrayForm("int64", 2),
            "center": ArrayForm("float64", len(self.parts)),
            "scale": ArrayForm("float64", len(self.parts)),
            "gaps": ArrayForm("uint8", 1),
        }

    def check(self, learned: Learned) -> None:
        if (learned["scale"] < 0).any():
            raise ValueError(f"scale must be at least 0. Received: {learned['scale'].min()}")
        first, last = learned["range"].tolist()
        if not MISSING_TIME < first <= last:
            raise ValueError(f"range must be the first and the last time. Received: {first} and {last}")

    def used(self, learned: Learned) -> list[tuple[Part, float, float]]:
        """The parts that differ among the training rows, with center and scale."""
        values = zip(self.parts, learned["center"].tolist(), learned["scale"].tolist(), strict=True)
        return [(part, center, scale) for part, center, scale in values if scale > 0]

    def width(self, learned: Learned) -> int:
        return len(self.names(learned))

    def names(self, learned: Learned) -> list[str]:
        names = []
        for part, _, _ in self.used(learned):
            name = f"{self.column} {part}"
            names += [f"{name} sine", f"{name} cosine"] if part in PERIODS else [name]
        return [*names, f"{self.column} is missing"] if learned["gaps"][0] else names

    def encode(self, column: Column, learned: Learned) -> Encoded:
        gaps = column.missing()
        values = np.where(gaps, 0, column.values)
        numbers: list[Array] = []
        for part, center, scale in self.used(learned):
            found = _part(part, values)
            if part in PERIODS:
                angle = found * (2.0 * np.pi / PERIODS[part])
                numbers += [np.sin(angle), np.cos(angle)]
            else:
                numbers.append((found - center) / scale)
        block = np.stack(numbers, axis=1) if numbers else np.zeros((len(values), 0))
        block[gaps] = 0.0
        return Numbers(np.concatenate([block, gaps[:, None]], axis=1) if learned["gaps"][0] else block)

    def report(self, column: Column, learned: Learned) -> Report:
        low, high = learned["range"].tolist()
        gaps = column.missing()
        return Report(gaps, np.zeros(len(gaps), bool), ~gaps & ((column.values < low) | (column.values > high)))

    def typical(self, learned: Learned) -> Column:
        """The middle of the range, to the second."""
        first, last = learned["range"].tolist()
        return Column("datetime", np.array([(first + last) // 2 // _SECOND * _SECOND]))

    def describe(self, learned: Learned) -> dict[str, Any]:
        low, high = (as_text(moment) for moment in learned["range"].tolist())
        return {"min": low, "max": high}


def as_text(microseconds: int) -> str:
    """A time as ISO 8601 text: a date if it is midnight."""
    text = str(np.datetime64(microseconds, "us"))
    day, _, time = text.partition("T")
    return day if not time.strip("0:.") else f"{day}T{time.removesuffix('.000000')}"


def _part(part: Part, values: Array) -> Array:
    """One part of times in microseconds, as numbers."""
    if part == "elapsed":
        elapsed: Array = np.true_divide(values, DAY)
        return elapsed
    if part == "hour":
        hours: Array = np.true_divide(np.mod(values, DAY), HOUR)
        return hours
    days = np.floor_divide(values, DAY)
    if part == "weekday":
        weekdays: Array = np.mod(days + 3, 7)  # 1970-01-01 was a Thursday.
        return weekdays.astype(np.float64)
    months = days.astype("datetime64[D]").astype("datetime64[M]").astype(np.int64)
    found: Array = np.mod(months, 12) if part == "month" else np.floor_divide(months, 12) + 1970
    return found.astype(np.float64)
