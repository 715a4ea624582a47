"""The answer to a request for predictions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from trainyard.documents import read

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

__all__ = ["Label", "Prediction", "joined"]

Label = str | int | bool


@dataclass(frozen=True)
class Prediction:
    """The likeliest class of each row (``labels``), and the probability of each class in the order of ``classes``.

    ``version`` is the number of the version that answered, or None if that is the ``checkpoint``. What a request asked
    for beside that, such as ``sets``, ``uncertainty``, ``report`` or ``explanations``, has one entry a row.
    """

    model: str
    version: int | None
    classes: Sequence[Label]
    labels: Sequence[Label]
    probabilities: Sequence[Sequence[float]]
    checkpoint: str | None = None
    sets: Sequence[Sequence[Label]] | None = None
    uncertainty: Sequence[float] | None = None
    report: Sequence[Mapping[str, Any]] | None = None
    explanations: Sequence[Mapping[str, Any]] | None = None
    baseline: Mapping[str, Any] | None = None
    extra: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Prediction:
        """The answer of ``POST /predict``."""
        return read(cls, document, {"predictions": "labels"})

    def __len__(self) -> int:
        return len(self.labels)

    def __iter__(self) -> Iterator[Label]:
        return iter(self.labels)

    def top(self, count: int) -> list[list[tuple[Label, float]]]:
        """The ``count`` likeliest classes of each row with their probabilities, the likeliest first."""
        places = range(len(self.classes))
        return [
            [(self.classes[place], row[place]) for place in sorted(places, key=row.__getitem__, reverse=True)[:count]]
            for row in self.probabilities
        ]

    def to_numpy(self) -> np.ndarray[Any, Any]:
        """The probabilities as an array of rows × classes; NumPy must be installed."""
        import numpy as np

        return np.asarray(self.probabilities, dtype=float).reshape(len(self), len(self.classes))

    def to_pandas(self) -> pd.DataFrame:
        """A frame with the columns that a file of predictions has: ``prediction``, ``probability``, one for each class.

        pandas must be installed.
        """
        import pandas as pd

        best = [max(row, default=0.0) for row in self.probabilities]
        columns = {"prediction": list(self.labels), "probability": best}
        for place, label in enumerate(self.classes):
            columns[f"probability_{label}"] = [row[place] for row in self.probabilities]
        return pd.DataFrame(columns)

    def _repr_html_(self) -> str:
        from trainyard.html import table

        rows = [
            (number, label, f"{max(row, default=0.0):.3f}")
            for number, (label, row) in enumerate(zip(self.labels, self.probabilities, strict=True), 1)
        ]
        return table(("row", "prediction", "probability"), rows[:20], more=len(rows) - 20)


#: Members with one entry a row.
_BY_ROW = ("labels", "probabilities", "sets", "uncertainty", "report", "explanations")


def joined(parts: Sequence[Prediction]) -> Prediction:
    """The predictions of rows that were sent in several requests."""
    if len(parts) == 1:
        return parts[0]
    first = parts[0]
    rows: dict[str, Any] = {}
    for name in _BY_ROW:
        values = [getattr(part, name) for part in parts]
        rows[name] = None if values[0] is None else tuple(entry for value in values for entry in value)
    return Prediction(
        first.model, first.version, first.classes, checkpoint=first.checkpoint, baseline=first.baseline, **rows
    )
