"""Probabilities of rows by one network, made in pieces so that few rows are expanded at a time."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from models.definition.definition import ModelDefinition
from nncore.arrays import Array
from nncore.batches import ChosenRows, RowSource
from nncore.network import PREDICTION_ROWS, Predictor

__all__ = ["predict_rows"]


def predict_rows(
    definition: ModelDefinition, arrays: Mapping[str, Array], inputs: Array | RowSource, rows: Array
) -> Array:
    """The probabilities (n_rows, classes) of the rows with these numbers in ``inputs``.

    ``arrays`` are parameters and statistics by name.
    """
    predictor = Predictor(definition.layers, definition.inputs, arrays)
    source = None if isinstance(inputs, np.ndarray) else ChosenRows(inputs, rows)
    found = [np.zeros((0, len(definition.classes)), predictor.dtype)]
    for start in range(0, len(rows), PREDICTION_ROWS):
        stop = start + PREDICTION_ROWS
        if source is not None:
            found.append(predictor.predict_proba(source.expanded(start, stop)))
        elif isinstance(inputs, np.ndarray):
            found.append(predictor.predict_proba(inputs[rows[start:stop]]))
    return np.concatenate(found)
