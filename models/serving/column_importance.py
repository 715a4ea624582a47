"""Importance of the columns of evaluated rows: on how many rows it is found, and the document that shows it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from models.errors import InvalidError
from models.trust.importance import REPEATS, permutation_importance
from nncore.arrays import Array

__all__ = ["MOST_COLUMNS", "importance_document", "sampled_rows"]

#: Rows whose columns are shuffled, at most.
SAMPLED = 2000
#: Predictions of all columns and shuffles together, at most, and numbers of the sampled rows.
PREDICTIONS, CELLS = 1_000_000, 16_000_000
#: With more columns, too few rows would be left for each.
MOST_COLUMNS = 1000


def sampled_rows(rows: int, columns: int, inputs: int) -> Array:
    """The places, ascending, of the rows to shuffle among so many rows; the same ones every time.

    Raises InvalidError if there are too many columns.
    """
    if columns > MOST_COLUMNS:
        detail = f"is for models of at most {MOST_COLUMNS} columns. Received: a model of {columns}"
        raise InvalidError.at("/importance", detail)
    count = max(1, min(rows, SAMPLED, PREDICTIONS // (columns * REPEATS), CELLS // inputs))
    places: Array = np.random.Generator(np.random.PCG64(0)).choice(rows, count, replace=False)
    places.sort()
    return places


def importance_document(
    predict_proba: Callable[[Array], Array], rows: Array, codes: Array, columns: Sequence[str], widths: Sequence[int]
) -> dict[str, Any]:
    """The importance of each column for rows (n_rows, n_inputs), as the API shows it."""
    found = permutation_importance(predict_proba, rows, codes, widths)
    # The deviations are those of the shuffles as a whole, so one less is what they are divided by.
    log_loss_errors, accuracy_errors = (
        (deviation / np.sqrt(REPEATS - 1)).tolist()
        for deviation in (found.log_loss_deviation, found.accuracy_deviation)
    )
    return {
        "rows": len(rows),
        "repeats": REPEATS,
        "columns": [
            {
                "column": column,
                "log_loss": {"mean": log_loss, "standard_error": log_loss_error},
                "accuracy": {"mean": accuracy, "standard_error": accuracy_error},
            }
            for column, log_loss, log_loss_error, accuracy, accuracy_error in zip(
                columns, found.log_loss.tolist(), log_loss_errors, found.accuracy.tolist(), accuracy_errors, strict=True
            )
        ],
    }
