"""Rows of an evaluation with their predictions: those of a cell of the confusion matrix, of a line, or of all of it."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from models.data.rows import Array
from models.serving.evaluated_rows import EvaluatedRows
from models.serving.served_model import ServedModel
from service.serving.inference import Prediction, class_code
from service.web.memory import Held

__all__ = ["Cell"]

#: What a value of a returned row takes, as a Python object and as JSON.
BYTES_PER_VALUE = 100


class Cell(NamedTuple):
    """Rows by class numbers of label and prediction, None for any, and how many of them to show."""

    label: int | None
    predicted: int | None
    limit: int

    @classmethod
    def of(cls, given: dict[str, Any], network: ServedModel) -> Cell:
        """The cell that a request names; raises InvalidError for a class that there is not."""
        label, predicted = (
            None if given[name] is None else class_code(given[name], network.classes, f"/rows/{name}")
            for name in ("label", "predicted")
        )
        return cls(label, predicted, given["limit"])

    def document(self, prediction: Prediction, rows: EvaluatedRows, held: Held) -> dict[str, Any]:
        """How many rows there are, and some of them with their values, spread evenly over all unless the cell is one.

        The memory that they take is held.
        """
        classes, guesses = prediction.classes, prediction.probabilities.argmax(axis=1)
        wanted = np.ones(len(guesses), bool)
        for codes, code in ((rows.codes, self.label), (guesses, self.predicted)):
            if code is not None:
                wanted &= codes == code
        found = np.flatnonzero(wanted)
        shown = self._shown(found)
        held.add(len(shown) * (len(rows.columns) + 4) * BYTES_PER_VALUE)
        return {
            "label": None if self.label is None else classes[self.label],
            "predicted": None if self.predicted is None else classes[self.predicted],
            "count": len(found),
            "rows": [
                {
                    **row,
                    "label": classes[rows.codes[index]],
                    "predicted": classes[guesses[index]],
                    "probability": prediction.probabilities[index, guesses[index]],
                }
                for row, index in zip(rows.shown(shown), shown, strict=True)
            ],
        }

    def _shown(self, found: Array) -> list[int]:
        """The first rows of a cell; of a line or of all, rows at equal distances, the first and the last among them."""
        if len(found) <= self.limit or None not in (self.label, self.predicted):
            return found[: self.limit].tolist()  # type: ignore[no-any-return]
        places = np.linspace(0, len(found) - 1, self.limit).round().astype(np.intp)
        return found[places].tolist()  # type: ignore[no-any-return]
