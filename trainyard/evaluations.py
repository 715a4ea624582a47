"""How good a version is on labelled rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from trainyard.documents import read
from trainyard.predictions import Label

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Evaluation"]


@dataclass(frozen=True)
class Evaluation:
    """The metrics of a version on ``rows`` labelled rows; None where the rows leave one undefined.

    ``confusion_matrix`` counts rows by label (its rows) and prediction (its columns) in the order of ``classes``, and
    ``trained_on`` how many of the rows the version was trained on.
    """

    model: str
    version: int | None
    rows: int
    classes: Sequence[Label]
    accuracy: float
    log_loss: float
    confusion_matrix: Sequence[Sequence[int]] | None = None
    checkpoint: str | None = None
    trained_on: int | None = None
    balanced_accuracy: float | None = None
    top_k: int | None = None
    top_k_accuracy: float | None = None
    brier_score: float | None = None
    matthews_correlation: float | None = None
    roc_auc: float | None = None
    calibration_error: float | None = None
    macro: Mapping[str, float] = field(default_factory=dict)
    micro: Mapping[str, float] = field(default_factory=dict)
    weighted: Mapping[str, float] = field(default_factory=dict)
    per_class: Sequence[Mapping[str, Any]] = ()
    cell: Mapping[str, Any] | None = None
    sets: Mapping[str, Any] | None = None
    importance: Any = None
    extra: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Evaluation:
        """The answer of ``POST /evaluate``."""
        return read(cls, document)

    def to_pandas(self) -> pd.DataFrame:
        """The confusion matrix as a frame with labels as its index and predictions as its columns.

        pandas must be installed. Raises ValueError if there are too many classes for a matrix.
        """
        import pandas as pd

        if self.confusion_matrix is None:
            raise ValueError(f"{len(self.classes)} classes are too many for a confusion matrix")
        index = pd.Index(self.classes, name="label")
        return pd.DataFrame(list(self.confusion_matrix), index=index, columns=pd.Index(self.classes, name="prediction"))

    def _repr_html_(self) -> str:
        from trainyard.html import table

        names = ("accuracy", "balanced_accuracy", "log_loss", "roc_auc", "calibration_error")
        values = [(name.replace("_", " "), getattr(self, name)) for name in names]
        metrics = table(("", f"on {self.rows:,} rows"), [(name, _short(value)) for name, value in values])
        if self.confusion_matrix is None or len(self.classes) > 20:
            return metrics
        rows = [(label, *counts) for label, counts in zip(self.classes, self.confusion_matrix, strict=True)]
        return metrics + table(("label \\ prediction", *self.classes), rows)


def _short(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"
