"""A published version that is loaded; its parameters are mapped from the checkpoint's file."""

from __future__ import annotations

from pathlib import Path

from models.data.labels import Label
from models.features.plan import ServingPlan
from models.formats.mapped_parameters import MappedVersion, map_parameters
from models.formats.run_state import CheckpointError
from models.serving.ensemble_predictor import EnsemblePredictor
from models.trust.trust import Trust
from nncore.arrays import Array
from nncore.network import Predictor

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
            self.trust = _trust_of(path, mapped, self.ensemble, bins)
        self.dtype = self._predictor.dtype
        #: How rows become the network's inputs; None if they are these numbers already.
        self.plan = None if features is None else ServingPlan(features, definition.label, self.dtype)
        #: Whether rows may come as a matrix, and how many numbers each has then.
        self.takes_matrix = self.plan is None or self.plan.takes_matrix
        self.inputs = definition.inputs if self.plan is None else len(self.plan.columns)

    def predict_proba(self, x: Array) -> Array:
        """Probabilities (n_rows, n_classes) for what the network reads, (n_rows, n_inputs)."""
        return self._predictor.predict_proba(x)


def _trust_of(path: Path, mapped: MappedVersion, ensemble: EnsemblePredictor, bins: Array | None) -> Trust | None:
    """What was fitted on held-out rows; None if the run had none. Raises CheckpointError if it does not fit."""
    if not mapped.trust:
        return None
    inputs = mapped.definition.inputs - (0 if bins is None else int(bins.sum()))
    try:
        return Trust.of(mapped.trust, ensemble.kinds, len(mapped.definition.classes), inputs)
    except ValueError as error:
        raise CheckpointError(path, "/trust", "what was fitted on held-out rows", error) from error
