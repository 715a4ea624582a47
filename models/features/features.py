"""The table of all features, with the name of each in definitions.

To add a feature, write one class, one line in ``FEATURES`` in this file, a case in ``testing/features.py``, and its
operators in ``models/export/feature_nodes.py``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from models.data.columns import Column, ColumnKind, ColumnSpec
from models.features.category import Boolean, Category
from models.features.feature import ArrayForm, Encoded, Feature, Learned, Numbers, Report
from models.features.moment import Datetime
from models.features.number import Number
from models.features.text import Text
from nncore.arrays import Array
from nncore.hyperparameters import hyperparameter

__all__ = ["FEATURES", "Feature", "Ignored", "feature_of", "feature_type", "raw"]


@dataclass(frozen=True)
class Ignored(Feature):
    """A column that is set aside: it becomes no number, and rows may have it or not."""

    reason: str | None = hyperparameter(None, help="Why the column is set aside.")

    reads: ClassVar[ColumnKind] = "text"

    def learn(self, pieces: Iterable[Column]) -> dict[str, Array]:
        return {}

    def forms(self) -> dict[str, ArrayForm]:
        return {}

    def check(self, learned: Learned) -> None:
        """Nothing is learned."""

    def width(self, learned: Learned) -> int:
        return 0

    def names(self, learned: Learned) -> list[str]:
        return []

    def encode(self, column: Column, learned: Learned) -> Encoded:
        return Numbers(np.zeros((len(column.values), 0)))

    def report(self, column: Column, learned: Learned) -> Report:
        never = np.zeros(len(column.values), bool)
        return Report(never, never, never)

    def typical(self, learned: Learned) -> Column:
        return Column("text", np.array([""], object))

    def describe(self, learned: Learned) -> dict[str, Any]:
        return {}


FEATURES: dict[str, type[Feature]] = {
    "number": Number,
    "category": Category,
    "boolean": Boolean,
    "datetime": Datetime,
    "text": Text,
    "ignore": Ignored,
}


def feature_type(feature: Feature) -> str:
    """The name of a feature's class in ``FEATURES``."""
    return next(name for name, member in FEATURES.items() if member is type(feature))


def feature_of(column: ColumnSpec) -> Feature:
    """The feature of a column if a definition says nothing about it."""
    if column.reason is not None:
        return Ignored(column.name, column.reason)
    return FEATURES[column.kind](column.name)


def raw(column: str) -> Number:
    """The feature of a number that the network gets as it is."""
    return Number(column, scale="none", missing="refuse")
