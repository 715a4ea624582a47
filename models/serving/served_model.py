"""Loaded versions: parameters mapped from their checkpoint files, cached within a bound of bytes."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from models.data.labels import Label
from models.errors import InvalidError
from models.formats.mapped_parameters import map_parameters
from nncore.arrays import Array
from nncore.network import Predictor

__all__ = ["ServedModel"]


class ServedModel:
    """One version ready to predict; any number of threads may use it at once."""

    def __init__(self, path: Path) -> None:
        definition, parameters = map_parameters(path)
        self.definition = definition
        self.classes: tuple[Label, ...] = definition.classes
        self.inputs = definition.inputs
        self.nbytes = sum(array.nbytes for array in parameters.values())
        self._predictor = Predictor(definition.layers, definition.inputs, parameters)
        self.dtype = self._predictor.dtype

    def predict_proba(self, x: Array) -> Array:
        """Probabilities (n_samples, n_classes) for ``x`` (n_samples, inputs)."""
        return self._predictor.predict_proba(x)

    def overflow(self, probabilities: Array) -> tuple[int, str] | None:
        """The first row for which the network's numbers overflowed, and what is wrong with it; None for no row."""
        finite = np.isfinite(probabilities)
        if finite.all():
            return None
        return int(np.argmin(finite.all(axis=1))), f"is so large that the model's {self.dtype} numbers overflow"

    def require_top_k(self, top_k: int) -> None:
        """Raise InvalidError where more of the likeliest classes are asked for than there are classes."""
        if top_k > len(self.classes):
            raise InvalidError.at(
                "/top_k", f"must be at most {len(self.classes)}, the number of classes. Received: {top_k}"
            )
