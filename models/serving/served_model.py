"""A published version that is loaded; its parameters are mapped from the checkpoint's file."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import numpy as np

from models.data.labels import Label
from models.features.fitted import used
from models.features.plan import ServingPlan
from models.formats.mapped_parameters import MappedVersion, map_parameters
from models.formats.run_state import CheckpointError
from models.serving.asked import Asked
from models.serving.ensemble_predictor import EnsemblePredictor
from models.serving.explanations import Baseline, Explainer
from models.trust.disagreement import disagreement
from models.trust.draws import draws_of
from models.trust.reasons import Member
from models.trust.trust import Answer, Trust
from nncore.arrays import Array
from nncore.network import PREDICTION_ROWS, Predictor

__all__ = ["ServedModel"]


class ServedModel:
    """One version, ready to predict; any number of threads may use it at once.

    With ``best``, it has the parameters of the best epoch that the file holds; raises NoBestError if it holds none.
    Raises CheckpointError if the file cannot be read.
    """

    def __init__(self, path: Path, *, best: bool = False) -> None:
        mapped = map_parameters(path, best=best)
        definition, features = mapped.definition, mapped.features
        self.definition = definition
        self.classes: tuple[Label, ...] = definition.classes
        self.nbytes = sum(array.nbytes for network in mapped.networks for array in network.parameters.values())
        #: All members, if there are several, and what was fitted on the rows that they held out.
        self.ensemble: EnsemblePredictor | None = None
        self.trust: Trust | None = None
        self._predictor: Predictor | EnsemblePredictor
        if mapped.mixture is None:
            self._predictor = Predictor(definition.layers, definition.inputs, mapped.parameters)
        else:
            bins = None if features is None else features.bin_columns
            self.ensemble = EnsemblePredictor(definition, mapped.networks, bins, mapped.mixture)
            self._predictor = self.ensemble
            self.trust = _trust_of(path, mapped, bins)
        self.dtype = self._predictor.dtype
        #: How rows become the network's inputs; None if they are these numbers already.
        self.plan = None if features is None else ServingPlan(features, definition.label, self.dtype)
        #: Whether rows may come as a matrix, and how many numbers each has then.
        self.takes_matrix = self.plan is None or self.plan.takes_matrix
        self.inputs = definition.inputs if self.plan is None else len(self.plan.columns)

    def predict_proba(self, x: Array) -> Array:
        """Probabilities (n_rows, n_classes) for what the network reads, (n_rows, n_inputs)."""
        return self._predictor.predict_proba(x)

    def answer(self, x: Array, asked: Asked) -> Answer:
        """Probabilities for ``x`` (n_rows, n_inputs) as above, and sets, uncertainty and distance, in one pass.

        The version must have an ensemble, and for sets and distance what was fitted on held-out rows.
        """
        x = np.asarray(x, self.dtype)
        if len(x) <= PREDICTION_ROWS:
            return self._answer(x, asked)
        starts = range(0, len(x), PREDICTION_ROWS)
        pieces = zip(*(self._answer(x[start : start + PREDICTION_ROWS], asked) for start in starts), strict=True)
        probabilities, *others = (None if parts[0] is None else np.concatenate(parts) for parts in pieces)
        assert probabilities is not None
        return Answer(probabilities, *others)

    def _answer(self, x: Array, asked: Asked) -> Answer:
        ensemble, trust = self.ensemble, self.trust
        assert ensemble is not None
        plain = ensemble.without_bins(x)
        members = ensemble.members(x, plain)
        mixture = ensemble.mixture(members)
        probabilities = ensemble.sharpened(mixture)
        sets = of_rows = None
        if asked.coverage is not None:
            assert trust is not None
            sets = trust.sets.sets(probabilities, draws_of(plain), asked.coverage, by_class=asked.by_class)
        if asked.distance:
            assert trust is not None
            of_rows = trust.distance.of_rows(plain)
        differing = disagreement(members, mixture, ensemble.weights) if asked.uncertainty else None
        return Answer(probabilities, sets, differing, of_rows)

    @cached_property
    def explainer(self) -> Explainer:
        """Explains predictions, made when it is first asked for."""
        ensemble, temperature = self.ensemble, 1.0
        if ensemble is None:
            assert isinstance(self._predictor, Predictor)
            members = [Member(self._predictor, 1.0)]
        else:
            members, temperature = ensemble.explained(), ensemble.temperature
        if self.plan is None:
            mean = None if self.trust is None else self.trust.distance.mean
            baseline = Baseline.of_inputs(self.inputs, mean, self.dtype)
            return Explainer(members, temperature, baseline, None, [1] * self.inputs)
        fitted = self.plan.fitted
        baseline = Baseline.of_features(fitted, self.dtype)
        return Explainer(members, temperature, baseline, self.plan.columns, self.widths)

    @cached_property
    def widths(self) -> list[int]:
        """How many of the numbers that the network reads each column becomes."""
        if self.plan is None:
            return [1] * self.inputs
        fitted, known = self.plan.fitted, {feature.column for feature in used(self.plan.fitted.features)}
        return [width for feature, width in zip(fitted.features, fitted.widths, strict=True) if feature.column in known]


def _trust_of(path: Path, mapped: MappedVersion, bins: Array | None) -> Trust | None:
    """What was fitted on held-out rows; None if the run had none. Raises CheckpointError if it does not fit."""
    if not mapped.trust:
        return None
    inputs = mapped.definition.inputs - (0 if bins is None else int(bins.sum()))
    try:
        return Trust.of(mapped.trust, len(mapped.definition.classes), inputs)
    except ValueError as error:
        raise CheckpointError(path, "/trust", "what was fitted on held-out rows", error) from error
