"""Prediction with several members: the mean of each kind, their mixture, and its temperature."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from models.definition.definition import ModelDefinition
from models.definition.ensemble import Ensemble
from models.formats.mapped_parameters import MappedNetwork
from models.training.ensemble_checkpoint import Mixture
from models.trust.mixture import mixed
from models.trust.reasons import Member
from models.trust.temperature import sharpened
from nncore.arrays import Array
from nncore.network import PREDICTION_ROWS
from nncore.stacked import StackedPredictor

__all__ = ["EnsemblePredictor"]


class _Kind(NamedTuple):
    """The members of one kind, their weight in the mixture, and whether they read bins."""

    members: StackedPredictor
    size: int
    weight: float
    bins: bool


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
        #: The numbers that are no bins; None if there are no bins.
        self._plain = None if bins is None or not bins.any() else np.flatnonzero(~bins)
        self._kinds: list[_Kind] = []
        for kind in definition.ensemble.kinds:
            members = [network.parameters for network in networks if network.kind == kind.name]
            if members:
                stacked = StackedPredictor(kind.layers, kind.inputs, members)
                self._kinds.append(_Kind(stacked, len(members), mixture.weights[kind.name], kind.bins))
        #: The number of kinds that answer, and of members.
        self.count = sum(kind.size for kind in self._kinds)
        #: Each member's weight in the mixture.
        self.weights = np.concatenate([np.full(kind.size, kind.weight / kind.size) for kind in self._kinds])
        self.weights /= self.weights.sum()

    def explained(self) -> list[Member]:
        """Each member with its weight and the numbers that it reads."""
        networks = [(each, kind.bins) for kind in self._kinds for each in kind.members.predictors]
        return [
            Member(predictor, weight, None if bins else self._plain)
            for (predictor, bins), weight in zip(networks, self.weights.tolist(), strict=True)
        ]

    def without_bins(self, x: Array) -> Array:
        """The numbers (n_rows, k) of ``x`` (n_rows, inputs) that are no bins."""
        return x if self._plain is None else x.take(self._plain, axis=1)

    def members(self, x: Array, plain: Array) -> Array:
        """Probabilities (n_members, n_rows, classes) for ``x`` (n_rows, inputs); at most ``PREDICTION_ROWS`` rows.

        ``plain`` is ``x`` without bins.
        """
        found = [kind.members.predict_proba(x if kind.bins else plain) for kind in self._kinds]
        return found[0] if len(found) == 1 else np.concatenate(found)

    def mixture(self, members: Array) -> Array:
        """Probabilities (n_rows, classes) of the mixture before the temperature, from those of ``members``."""
        return mixed(members, self.weights)

    def predict_proba(self, x: Array) -> Array:
        """Probabilities (n_rows, classes) for ``x`` (n_rows, inputs).

        A row whose activations overflow has NaN probabilities. Raises ValueError if ``x`` has the wrong shape.
        """
        if x.ndim != 2 or x.shape[1] != self.inputs:
            raise ValueError(f"x must have shape (n_rows, {self.inputs}). Received: {x.shape}")
        if len(x) <= PREDICTION_ROWS:
            return self._answered(x)
        starts = range(0, len(x), PREDICTION_ROWS)
        return np.concatenate([self._answered(x[start : start + PREDICTION_ROWS]) for start in starts])

    def _answered(self, x: Array) -> Array:
        return self.sharpened(self.mixture(self.members(x, self.without_bins(x))))

    def sharpened(self, mixture: Array) -> Array:
        """Probabilities (n_rows, classes) with the temperature."""
        return sharpened(mixture, self.temperature)
