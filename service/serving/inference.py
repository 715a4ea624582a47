"""Predictions as values: arrays in, probabilities out. How they look on the wire is up to each protocol."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from models.data.labels import Label
from models.data.rows import Array
from models.errors import InvalidError, Problem
from service.serving.resolution import ServedVersion

__all__ = ["Prediction", "RowOverflowError", "infer", "require_top_k"]


class Prediction(NamedTuple):
    """Probabilities (n_rows, n_classes) for some rows, with the version that they are from.

    The columns are the ``classes`` in their order. ``version`` is None for a checkpoint that is no version.
    """

    model: str
    version: int | None
    classes: tuple[Label, ...]
    probabilities: Array
    checkpoint: str | None = None

    @property
    def source(self) -> dict[str, object]:
        """What answered, as protocols show it: the version, or the checkpoint that was named instead of one."""
        if self.version is not None:
            return {"model": self.model, "version": self.version}
        return {"model": self.model, "version": None, "checkpoint": self.checkpoint}

    def labels(self) -> list[Label]:
        """The most probable class of each row, the first of equal ones."""
        return [self.classes[place] for place in self.probabilities.argmax(axis=1).tolist()]

    def top(self, count: int) -> tuple[Array, Array]:
        """The ``count`` most probable classes of each row, the most probable first, equal ones in their order.

        Returns their places in ``classes`` and their probabilities, both (n_rows, count).
        """
        places = np.argsort(-self.probabilities, axis=1, kind="stable")[:, :count]
        return places, np.take_along_axis(self.probabilities, places, axis=1)


class RowOverflowError(InvalidError):
    """A row whose numbers are so large that the network's numbers overflow.

    ``row`` counts from 0. The pointer is relative to the rows; a protocol adds the place of the rows in the request.
    """

    def __init__(self, row: int, dtype: str) -> None:
        self.row, self.reason = row, f"is so large that the model's {dtype} numbers overflow"
        pointer = f"/{row}"
        super().__init__("validation_failed", f"{pointer}: {self.reason}", [Problem(pointer, self.reason)])


def infer(version: ServedVersion, rows: Array) -> Prediction:
    """Predict ``rows`` (n_rows, inputs) with a version; raises RowOverflowError for the first row that overflows."""
    network = version.network
    probabilities = network.predict_proba(rows)
    finite = np.isfinite(probabilities)
    if not finite.all():
        raise RowOverflowError(int(np.argmin(finite.all(axis=1))), str(network.dtype))
    return Prediction(version.model, version.number, network.classes, probabilities, version.checkpoint)


def require_top_k(top_k: int, classes: Sequence[Label]) -> None:
    """Raise InvalidError if more of the most probable classes are asked for than there are classes."""
    if top_k > len(classes):
        raise InvalidError.at("/top_k", f"must be at most {len(classes)}, the classes. Received: {top_k}")
