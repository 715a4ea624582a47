"""Categories and booleans: a number for each level."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from models.data.columns import Column, ColumnKind
from models.data.summary import LevelSummary
from models.errors import describe
from models.features.feature import (
    ArrayForm,
    Encoded,
    Feature,
    Learned,
    Numbers,
    Places,
    Report,
    from_json_bytes,
    json_bytes,
    one,
    require_words,
)
from nncore.arrays import Array
from nncore.hyperparameters import hyperparameter

__all__ = ["MAXIMUM_LEVELS", "Boolean", "Category"]

#: More levels than this share the number of rare ones, the rarest first.
MAXIMUM_LEVELS = 1000


@dataclass(frozen=True)
class Category(Feature):
    """One of several levels: a 1 at the level's place, 0 elsewhere.

    A missing value is a level if values are missing in the training rows. Levels that fewer than ``min_count`` training
    rows have share one number, as do those that are not among the ``max_levels`` most frequent ones, and levels that no
    training row has. Without rare levels, these are 0 everywhere, because no training row could say what their number
    means. If a category is ``signed`` and each training row has one of two levels, it is one number: -1 for the first
    level, 1 for the second one, 0 for all else.
    """

    levels: tuple[str, ...] | None = hyperparameter(
        None, help="The levels in their order; null: those of the training rows, sorted."
    )
    min_count: int = hyperparameter(
        1, minimum=1, maximum=2**53, help="Levels that fewer training rows have share one number."
    )
    max_levels: int | None = hyperparameter(
        None, minimum=1, maximum=MAXIMUM_LEVELS, help="How many levels have a number of their own, at most."
    )
    signed: bool = hyperparameter(False, help="Whether two levels become one number, -1 or 1.")

    reads: ClassVar[ColumnKind] = "category"

    @property
    def most(self) -> int:
        """How many levels have a number of their own, at most."""
        return MAXIMUM_LEVELS if self.max_levels is None else self.max_levels

    def learn(self, pieces: Iterable[Column]) -> dict[str, Array]:
        summary = LevelSummary()
        for piece in pieces:
            summary.add(piece)
        allowed = summary.counts.keys() if self.levels is None else self.levels
        frequent = [level for level in allowed if summary.counts[level] >= self.min_count or self.levels is not None]
        if len(frequent) > self.most:
            frequent = sorted(frequent, key=lambda level: (-summary.counts[level], level))[: self.most]
        levels = sorted(frequent) if self.levels is None else frequent
        counts = np.array([summary.counts[level] for level in levels], np.int64)
        return {
            "levels": json_bytes(levels),
            "counts": counts,
            "rare": one(summary.count > counts.sum(), "uint8"),
            "gaps": one(summary.missing > 0, "uint8"),
        }

    def forms(self) -> dict[str, ArrayForm]:
        return {
            "levels": ArrayForm("uint8"),
            "counts": ArrayForm("int64"),
            "rare": ArrayForm("uint8", 1),
            "gaps": ArrayForm("uint8", 1),
        }

    def check(self, learned: Learned) -> None:
        levels = require_words(learned["levels"])
        if len(levels) > self.most:
            raise ValueError(f"levels must be at most {self.most}. Received: {len(levels)}")
        if self.levels is not None and len(self.levels) <= self.most and tuple(levels) != self.levels:
            raise ValueError(f"levels must be those of the definition. Received: {describe(levels)}")
        _require_counts(learned["counts"], len(levels))

    def is_signed(self, learned: Learned) -> bool:
        """Whether the category is one number, -1 or 1."""
        return self.signed and len(learned["counts"]) == 2 and not learned["rare"][0] and not learned["gaps"][0]

    def width(self, learned: Learned) -> int:
        if self.is_signed(learned):
            return 1
        return len(learned["counts"]) + int(learned["rare"][0]) + int(learned["gaps"][0])

    def names(self, learned: Learned) -> list[str]:
        names = [f"{self.column} = {level}" for level in from_json_bytes(learned["levels"])]
        if self.is_signed(learned):
            return names[1:]
        names += [f"{self.column} is rare"] if learned["rare"][0] else []
        return [*names, f"{self.column} is missing"] if learned["gaps"][0] else names

    def places(self, learned: Learned) -> tuple[dict[str, int], int, int]:
        """The place of each level, of any other one and of a missing value; -1 if all numbers are 0 then.

        The places of the levels of a signed category, 0 and 1, stand for -1 and 1.
        """
        levels = from_json_bytes(learned["levels"])
        rare = len(levels) if learned["rare"][0] else -1
        gap = self.width(learned) - 1 if learned["gaps"][0] else rare
        return {level: place for place, level in enumerate(levels)}, rare, gap

    def encode(self, column: Column, learned: Learned) -> Encoded:
        known, rare, gap = self.places(learned)
        # The last entry is for the code -1 of missing values.
        table = np.array([*(known.get(level, rare) for level in column.levels), gap], np.int32)
        if self.is_signed(learned):
            return Numbers(np.array([-1.0, 1.0, 0.0])[table[column.values]][:, None])
        return Places(table[column.values])

    def report(self, column: Column, learned: Learned) -> Report:
        known = set(from_json_bytes(learned["levels"]))
        unseen = np.array([*(level not in known for level in column.levels), False], bool)
        return Report(column.missing(), unseen[column.values], np.zeros(len(column.values), bool))

    def typical(self, learned: Learned) -> Column:
        """The most frequent level, the first of equal ones; a missing value if no training row has a level."""
        levels, counts = from_json_bytes(learned["levels"]), learned["counts"]
        return Column("category", np.array([counts.argmax() if counts.any() else -1], np.int32), tuple(levels))

    def describe(self, learned: Learned) -> dict[str, Any]:
        return {"levels": from_json_bytes(learned["levels"]), "counts": learned["counts"].tolist()}


def _require_counts(counts: Array, levels: int) -> None:
    if len(counts) != levels or (counts < 0).any():
        received = f"{len(counts)}, the smallest of them {counts.min(initial=0)}"
        raise ValueError(f"counts must be {levels} numbers, at least 0. Received: {received}")


@dataclass(frozen=True)
class Boolean(Feature):
    """Yes or no: 1 or 0.

    A missing value is 0; if values are missing in the training rows, one more number says whether the value is missing.
    """

    reads: ClassVar[ColumnKind] = "boolean"

    def learn(self, pieces: Iterable[Column]) -> dict[str, Array]:
        words: tuple[str, ...] = ("false", "true")
        counts, missing = np.zeros(2, np.int64), 0
        for piece in pieces:
            words = piece.levels or words
            missing += int(np.count_nonzero(piece.values < 0))
            counts += np.bincount(piece.values[piece.values >= 0], minlength=2)
        return {"levels": json_bytes(list(words)), "counts": counts, "gaps": one(missing > 0, "uint8")}

    def forms(self) -> dict[str, ArrayForm]:
        return {"levels": ArrayForm("uint8"), "counts": ArrayForm("int64", 2), "gaps": ArrayForm("uint8", 1)}

    def check(self, learned: Learned) -> None:
        levels = require_words(learned["levels"])
        if len(levels) != 2:
            raise ValueError(f"levels must be two words. Received: {len(levels)}")
        _require_counts(learned["counts"], 2)

    def width(self, learned: Learned) -> int:
        return 1 + int(learned["gaps"][0])

    def names(self, learned: Learned) -> list[str]:
        return [self.column, f"{self.column} is missing"] if learned["gaps"][0] else [self.column]

    def encode(self, column: Column, learned: Learned) -> Encoded:
        numbers = (column.values == 1).astype(np.float64)[:, None]
        if learned["gaps"][0]:
            numbers = np.concatenate([numbers, column.missing()[:, None]], axis=1)
        return Numbers(numbers)

    def report(self, column: Column, learned: Learned) -> Report:
        gaps = column.missing()
        # The last entry is for the code -1 of missing values.
        seen = np.array([*(learned["counts"] > 0), True])
        return Report(gaps, ~seen[column.values], np.zeros(len(gaps), bool))

    def typical(self, learned: Learned) -> Column:
        """The more frequent one."""
        return Column(
            "boolean",
            np.array([learned["counts"].argmax()], np.int8),
            tuple(from_json_bytes(learned["levels"])),
        )

    def describe(self, learned: Learned) -> dict[str, Any]:
        return {"levels": from_json_bytes(learned["levels"]), "counts": learned["counts"].tolist()}
