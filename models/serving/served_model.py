"""A published version that is loaded; its parameters are mapped from the checkpoint's file."""

from __future__ import annotations

import json
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
        self.nbytes = mapped.nbytes
        #: All members, if there are several, and what was fitted on the rows that they held out.
        self.ensemble: EnsemblePredictor | None = None
        self.trust: Trust | None = None
        self._predictor: Predictor | EnsemblePredictor
        shapes = [array.shape for network in mapped.networks for array in network.parameters.values()]
        self._widest = max(max(shape, default=1) for shape in shapes)
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
    def activation_bytes(self) -> int:
        """Memory of one row's activations while it is predicted: those of two of the widest layers, of all members."""
        return 2 * self._widest * self.dtype.itemsize * (1 if self.ensemble is None else self.ensemble.count)

    def computing_bytes(self, rows: int) -> int:
        """Memory of the activations of so many rows, which are predicted in pieces."""
        return min(rows, PREDICTION_ROWS) * self.activation_bytes

    @cached_property
    def number_length(self) -> int:
        """Characters of a probability in JSON at most, with what stands between two."""
        return 15 if self.dtype.itemsize == 4 else 26

    @cached_property
    def label_length(self) -> int:
        """Bytes of the longest class label in JSON, with what stands between two."""
        return max(_json_length(label) for label in self.classes)

    @cached_property
    def label_bytes(self) -> int:
        """Bytes of all class labels in JSON."""
        return sum(_json_length(label) for label in self.classes)

    @cached_property
    def row_bytes(self) -> int:
        """Bytes of a row's probabilities and prediction in JSON at most."""
        return len(self.classes) * self.number_length + self.label_length

    @cached_property
    def row_memory(self) -> int:
        """Memory that one row of a request for probabilities takes at most, with an answer in JSON for it alone."""
        answer = self.row_bytes + self.label_bytes
        return 2 * answer + self.activation_bytes + 8 * self.definition.inputs

    @cached_property
    def name_bytes(self) -> int:
        """Bytes of the names of all columns in JSON; 0 if they have none."""
        return 0 if self.plan is None else sum(_json_length(name) for name in self.plan.columns)

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


def _json_length(text: Label) -> int:
    return len(json.dumps(text, ensure_ascii=False).encode()) + 1


def _trust_of(path: Path, mapped: MappedVersion, bins: Array | None) -> Trust | None:
    """What was fitted on held-out rows; None if the run had none. Raises CheckpointError if it does not fit."""
    if not mapped.trust:
        return None
    inputs = mapped.definition.inputs - (0 if bins is None else int(bins.sum()))
    try:
        return Trust.of(mapped.trust, len(mapped.definition.classes), inputs)
    except ValueError as error:
        raise CheckpointError(path, "/trust", "what was fitted on held-out rows", error) from error
