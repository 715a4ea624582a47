"""What the members of a run say of rows that they held out: their mixture, its temperature, and how good it is."""

from __future__ import annotations

from typing import Any

import numpy as np

from models.definition.ensemble import Ensemble
from models.features.rows import FeatureRows
from models.training.ensemble_checkpoint import HeldOut, Mixture
from models.training.prepared import Part
from models.trust.mixture import mixed, mixture_weights
from models.trust.temperature import fit_temperature, sharpened
from models.trust.trust import Trust
from nncore.arrays import Array
from nncore.batches import ChosenRows
from nncore.metrics import Evaluation, Score, evaluate, score

__all__ = ["HeldOutRows", "measures"]


class HeldOutRows:
    """The held-out rows of a run, by fold: their class numbers ``codes`` and ``folds``, both (n_rows,)."""

    def __init__(self, ensemble: Ensemble, codes: Array, folds: Array, classes: int) -> None:
        self._ensemble, self._codes, self._folds, self._classes = ensemble, codes, folds, classes
        self._found: dict[str, dict[int, Array]] = {kind.name: {} for kind in ensemble.kinds}
        self._score: Score | None = None

    def add(self, kind: str, fold: int, probabilities: Array) -> None:
        """Note the probabilities (n_fold_rows, classes) of a fold's rows by a member that held them out."""
        self._found[kind][fold] = probabilities
        self._score = None

    def _kinds(self) -> list[str]:
        """The kinds with members that have ended, baselines left out."""
        return [kind.name for kind in self._ensemble.kinds if not kind.baseline and self._found[kind.name]]

    def _rows(self, kinds: list[str]) -> Array:
        """The rows of the folds that all of these kinds have predicted, ascending."""
        shared = set.intersection(*(set(self._found[kind]) for kind in kinds)) if kinds else set()
        rows: Array = np.flatnonzero(np.isin(self._folds, sorted(shared)))
        return rows

    def _of(self, kind: str, rows: Array) -> Array:
        """The probabilities of some rows by one kind, (n_rows, classes)."""
        found = np.zeros((len(self._folds), self._classes), np.float32)
        for fold, probabilities in self._found[kind].items():
            found[self._folds == fold] = probabilities
        return found[rows]

    def mixture(self) -> Mixture | None:
        """The kinds' weights and the temperature; None if no member has ended. A kind without members has weight 0."""
        kinds = self._kinds()
        if not kinds:
            return None
        rows = self._rows(kinds)
        codes, weights = self._codes[rows], np.full(len(kinds), 1.0 / len(kinds))
        temperature = 1.0
        if len(rows):
            stacked = np.stack([self._of(kind, rows) for kind in kinds])
            weights = mixture_weights(stacked, codes)
            temperature = fit_temperature(mixed(stacked, weights), codes)
        known = dict(zip(kinds, weights.tolist(), strict=True))
        names = [kind.name for kind in self._ensemble.kinds if not kind.baseline]
        return Mixture({name: known.get(name, 0.0) for name in names}, temperature)

    def _mixed(self, mixture: Mixture) -> tuple[Array, Array]:
        """The rows that the mixture can be judged by, and its probabilities of them before the temperature."""
        kinds = self._kinds()
        rows = self._rows(kinds)
        weights = np.array([mixture.weights[kind] for kind in kinds])
        return rows, mixed(np.stack([self._of(kind, rows) for kind in kinds]), weights)

    def score(self, mixture: Mixture | None) -> Score | None:
        """Log loss and accuracy of the mixture; None before a member has ended."""
        if mixture is None:
            return None
        if self._score is None:
            rows, probabilities = self._mixed(mixture)
            if len(rows):
                self._score = score(sharpened(probabilities, mixture.temperature), self._codes[rows])
        return self._score

    def result(self, numbers: Array, mixture: Mixture) -> HeldOut:
        """The rows with what the mixture says of them; ``numbers`` (n_rows,) are the rows' numbers in the data."""
        rows, probabilities = self._mixed(mixture)
        sharp = sharpened(probabilities, mixture.temperature)
        return HeldOut(numbers[rows], self._codes[rows], self._folds[rows], sharp)

    def trust(self, mixture: Mixture, part: Part, dtype: str, *, features: bool) -> dict[str, Array]:
        """What ``models.trust`` fits on the held-out rows, of which ``part`` is all; empty if there are none.

        ``dtype`` is that of the rows that the networks are asked with. ``features`` says that the inputs are features,
        which are of like size.
        """
        rows, probabilities = self._mixed(mixture)
        if not len(rows):
            return {}
        inputs = part.inputs
        if isinstance(inputs, np.ndarray):
            inputs = inputs[rows].astype(dtype, copy=False)
        elif isinstance(inputs, FeatureRows):
            inputs = ChosenRows(inputs.without_bins(), rows)
        return Trust.fit(probabilities, mixture.temperature, self._codes[rows], inputs, common=features).arrays()

    def report(self, mixture: Mixture | None) -> dict[str, Any] | None:
        """How good the mixture is, by fold too, and what there is to beat; None if no row can be judged."""
        if mixture is None:
            return None
        rows, probabilities = self._mixed(mixture)
        if not len(rows):
            return None
        codes = self._codes[rows]
        sharp = sharpened(probabilities, mixture.temperature)
        folds = [
            {"fold": fold + 1, **measures(evaluate(sharp[chosen], codes[chosen]))}
            for fold in np.unique(self._folds[rows]).tolist()
            for chosen in [self._folds[rows] == fold]
        ]
        return {
            **measures(evaluate(sharp, codes)),
            "standard_error": {name: _standard_error(folds, name) for name in ("accuracy", "log_loss")},
            "folds": folds,
            "temperature": mixture.temperature,
            "before_temperature": measures(evaluate(probabilities, codes)),
            "kinds": [self._kind_report(kind.name, mixture) for kind in self._ensemble.kinds if not kind.baseline],
            "to_beat": {
                "majority": self._majority(rows),
                **{
                    kind.name: measures(evaluate(self._of(kind.name, own), self._codes[own]))
                    for kind in self._ensemble.kinds
                    if kind.baseline and len(own := self._rows([kind.name]))
                },
            },
        }

    def _kind_report(self, kind: str, mixture: Mixture) -> dict[str, Any]:
        rows = self._rows([kind])
        own_measures = measures(evaluate(self._of(kind, rows), self._codes[rows])) if len(rows) else {}
        return {"kind": kind, "weight": mixture.weights[kind], **own_measures}

    def _majority(self, rows: Array) -> dict[str, Any]:
        """The measures of answering, for each fold, with the shares of the classes in the other folds."""
        counts = np.zeros((self._ensemble.folds, self._classes))
        np.add.at(counts, (self._folds, self._codes), 1.0)
        others = counts.sum(axis=0) - counts
        shares = others / np.maximum(others.sum(axis=1, keepdims=True), 1.0)
        return measures(evaluate(shares[self._folds[rows]], self._codes[rows]))


def measures(result: Evaluation) -> dict[str, Any]:
    """The measures that a job shows."""
    return {
        "rows": result.samples,
        "accuracy": result.accuracy,
        "log_loss": result.log_loss,
        "roc_auc": None if np.isnan(result.roc_auc) else result.roc_auc,
        "calibration_error": result.calibration_error,
    }


def _standard_error(folds: list[dict[str, Any]], name: str) -> float | None:
    """The standard error of the mean over the folds; None for a single one."""
    values = np.array([fold[name] for fold in folds])
    return float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else None
