"""Loaded versions, within a limit of bytes."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

from models.serving.served_model import ServedModel

__all__ = ["ServedModels"]


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
