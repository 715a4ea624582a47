"""Loaded versions: parameters mapped from their checkpoint files, cached within a bound of bytes."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import numpy as np

from models.errors import InvalidError
from models.mapping import map_parameters
from models.matrices import Label
from nncore.arrays import Array
from nncore.network import Predictor

__all__ = ["ServedModel", "ServedModels"]


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
            raise InvalidError.at("/top_k", f"must be at most {len(self.classes)}, the classes. Received: {top_k}")


class ServedModels:
    """The versions that were asked for last, as many as fit into ``limit`` bytes of parameters (but at least one)."""

    def __init__(self, limit: int, path_of: Callable[[str], Path]) -> None:
        self.limit, self._path_of = limit, path_of
        self._loaded: OrderedDict[str, ServedModel] = OrderedDict()
        self._loading: dict[str, threading.Lock] = {}
        self._lock = threading.Lock()

    def get(self, checkpoint_id: str) -> ServedModel:
        """The version of a checkpoint, which never changes; raises CheckpointError where its file is not readable.

        Of several threads that need one that is not there, one loads it and the others wait; who needs another one
        does not.
        """
        with self._lock:
            served = self._known(checkpoint_id)
            if served is not None:
                return served
            loading = self._loading.setdefault(checkpoint_id, threading.Lock())
        with loading:
            with self._lock:
                served = self._known(checkpoint_id)
            if served is not None:
                return served
            try:
                served = ServedModel(self._path_of(checkpoint_id))
            finally:
                with self._lock:
                    self._loading.pop(checkpoint_id, None)
                    if served is not None:
                        self._keep(checkpoint_id, served)
        return served

    def _known(self, checkpoint_id: str) -> ServedModel | None:
        served = self._loaded.get(checkpoint_id)
        if served is not None:
            self._loaded.move_to_end(checkpoint_id)
        return served

    def _keep(self, checkpoint_id: str, served: ServedModel) -> None:
        self._loaded[checkpoint_id] = served
        while len(self._loaded) > 1 and sum(model.nbytes for model in self._loaded.values()) > self.limit:
            self._loaded.popitem(last=False)
