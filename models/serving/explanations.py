"""Explanations: what each column has added to the log-probability of a class, beside a baseline row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from models.data.columns import ColumnSpec
from models.data.table import MemoryTable
from models.features.fitted import FittedFeatures, used
from models.formats.table_export import plain_values
from models.trust.reasons import EnsembleLogProbability, Member, reasons, summed
from nncore.arrays import Array

__all__ = ["Baseline", "BaselineKind", "Explainer", "Explanation"]

#: ``typical``: medians, most frequent levels, middles of times; ``mean``: means of held-out rows; ``zeros``: all 0.
BaselineKind = Literal["typical", "mean", "zeros"]


class Baseline(NamedTuple):
    """The row that explanations begin at.

    ``values`` are its values by column, or its numbers if the model's inputs have no names. ``inputs`` (n_inputs,) are
    what the network reads of it.
    """

    kind: BaselineKind
    values: dict[str, Any] | list[float]
    inputs: Array

    @classmethod
    def of_features(cls, fitted: FittedFeatures, dtype: np.dtype[np.generic]) -> Baseline:
        """The row of typical values."""
        features = used(fitted.features)
        columns = {
            feature.column: feature.typical(learned) for feature, learned in fitted.pairs() if feature in features
        }
        specs = tuple(ColumnSpec(name, column.kind, column.levels) for name, column in columns.items())
        inputs = fitted.encode(MemoryTable(1, specs, columns), None, dtype).expanded()[0]
        return cls("typical", {name: plain_values(column)[0] for name, column in columns.items()}, inputs)

    @classmethod
    def of_inputs(cls, inputs: int, mean: Array | None, dtype: np.dtype[np.generic]) -> Baseline:
        """The mean (n_inputs,) of the rows that were held out, if it is known; else zeros."""
        row = np.zeros(inputs, dtype) if mean is None else mean.astype(dtype)
        return cls("zeros" if mean is None else "mean", row.tolist(), row)


class Explanation(NamedTuple):
    """The log-probability of the class ``code`` at the row and at the baseline, and what each column has added.

    The ``contributions`` (n_columns,) sum to the difference. ``corrected`` is how much was put right for that.
    """

    code: int
    log_probability: float
    at_baseline: float
    contributions: Array
    corrected: float


class Explainer:
    """Explains the predictions of networks together. ``columns`` are as many names, or None for unnamed inputs.

    A column is so many of the inputs as ``widths`` says. Any number of threads may use it at once.
    """

    def __init__(
        self,
        members: Sequence[Member],
        temperature: float,
        baseline: Baseline,
        columns: Sequence[str] | None,
        widths: Sequence[int],
    ) -> None:
        self._members, self._temperature, self._widths = members, temperature, widths
        self.baseline, self.columns = baseline, columns

    def explain(self, row: Array, code: int) -> Explanation:
        """Why a row (n_inputs,) has its probability of the class ``code``."""
        function = EnsembleLogProbability(self._members, self._temperature, code)
        found = reasons(function, row, self.baseline.inputs)
        return Explanation(code, found.value, found.baseline, summed(found.inputs, self._widths), found.corrected)
