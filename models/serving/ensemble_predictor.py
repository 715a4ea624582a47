"""Prediction with several members: the mean of each kind, their mixture, and its temperature."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from models.definition.definition import ModelDefinition
from models.definition.ensemble import Ensemble
from models.formats.mapped_parameters import MappedNetwork
from models.training.ensemble_checkpoint import Mixture
from models.trust.temperature import sharpened
from nncore.arrays import Array
from nncore.network import PREDICTION_ROWS
from nncore.stacked import StackedPredictor

__all__ = ["EnsemblePredictor"]


class _Kind(NamedTuple):
    """The members of one kind, their weight in the mixture, and the columns that they read, None if all."""

    members: StackedPredictor
    size: int
    weight: float
    columns: Array | None


class EnsemblePredictor:
    """Predicts with all members of a version at once; any number of threads may use it.

    ``bins`` (inputs,) marks the numbers that only kinds with bins read.
    """

    def __init__(
        self, definition: ModelDefinition, networks: Sequence[MappedNetwork], bins: Array | None, mixture: Mixture
    ) -> None:
        assert isinstance(definition.ensemble, Ensemble)
        self.inputs, self.dtype, self.classes = definition.inputs, np.dtype(definition.dtype), len(definition.classes)
        self.temperature = mixture.temperature
        self._kinds: list[_Kind] = []
        for kind in definition.ensemble.kinds:
            members = [network.parameters for network in networks if network.kind == kind.name]
            if members:
                columns = None if kind.bins or bins is None or not bins.any() else np.flatnonzero(~bins)
                stacked = StackedPredictor(kind.layers, kind.inputs, members)
                self._kinds.append(_Kind(stacked, len(members), mixture.weights[kind.name], columns))
        #: The number of kinds that answer, and the number of each member's kind.
        self.kinds = len(self._kinds)
        self.kind_numbers = np.repeat(np.arange(self.kinds), [kind.size for kind in self._kinds])
        #: Each member's weight in the mixture.
        self.weights = np.concatenate([np.full(kind.size, kind.weight / kind.size) for kind in self._kinds])
        self.weights /= self.weights.sum()

    def members(self, x: Array) -> Array:
        """Probabilities (n_members, n_rows, classes) for ``x`` (n_rows, inputs); at most ``PREDICTION_ROWS`` rows."""
        found = [kind.members.predict_proba(x if kind.columns is None else x[:, kind.columns]) for kind in self._kinds]
        return found[0] if len(found) == 1 else np.concatenate(found)

    def mixed(self, members: Array) -> Array:
        """Probabilities (n_rows, classes) of the mixture after the temperature, from those of ``members``."""
        mixture: Array = np.tensordot(self.weights.astype(members.dtype), members, 1)
        return sharpened(mixture, self.temperature)

    def predict_proba(self, x: Array) -> Array:
        """Probabilities (n_rows, classes) for ``x`` (n_rows, inputs).

        A row whose activations overflow has NaN probabilities. Raises ValueError if ``x`` has the wrong shape.
        """
        if x.ndim != 2 or x.shape[1] != self.inputs:
            raise ValueError(f"x must have shape (n_rows, {self.inputs}). Received: {x.shape}")
        if len(x) <= PREDICTION_ROWS:
            return self.mixed(self.members(x))
        starts = range(0, len(x), PREDICTION_ROWS)
        return np.concatenate([self.mixed(self.members(x[start : start + PREDICTION_ROWS])) for start in starts])
