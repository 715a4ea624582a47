"""Loaded versions, up to a limit of bytes."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Collection
from pathlib import Path
from typing import NamedTuple

from models.serving.served_model import ServedModel

__all__ = ["CheckpointFile", "ServedModels"]


class CheckpointFile(NamedTuple):
    """A checkpoint's id and the time of the last change of its file, None if it is not known.

    With the time, a file that replaces a damaged one is loaded again. ``best`` means the parameters of the best epoch
    that the file holds.
    """

    checkpoint: str
    mtime_ns: int | None
    best: bool = False


class ServedModels:
    """The most recently used versions, as many as fit into ``limit`` bytes of parameters, but at least one.

    At most ``most`` of them stay loaded, if it is given: the file of one that is loaded takes disk space, even if it
    is deleted.
    ``path_of`` returns the path of a checkpoint's file, which does not change as long as the key is the same.
    """

    def __init__(self, limit: int, path_of: Callable[[CheckpointFile], Path], most: int | None = None) -> None:
        self.limit, self._path_of, self._most = limit, path_of, most
        self._loaded: OrderedDict[CheckpointFile, ServedModel] = OrderedDict()
        self._loading: dict[CheckpointFile, threading.Lock] = {}
        self._lock = threading.Lock()
        #: How often a version was asked for that was loaded, and how often one was not.
        self.hits = self.misses = 0

    def get(self, key: CheckpointFile) -> ServedModel:
        """The version in a file; raises CheckpointError if the file cannot be read.

        If several threads need a version that is not loaded, one loads it and the others wait. Threads that need
        another version do not wait.
        """
        with self._lock:
            served = self._known(key)
            if served is not None:
                return served
            self.misses += 1
            loading = self._loading.setdefault(key, threading.Lock())
        with loading:
            with self._lock:
                served = self._known(key)
            if served is not None:
                return served
            try:
                path = self._path_of(key)
                served = ServedModel(path, best=True) if key.best else ServedModel(path)
            finally:
                with self._lock:
                    self._loading.pop(key, None)
                    if served is not None:
                        self._keep(key, served)
        return served

    def loaded(self, key: CheckpointFile) -> ServedModel | None:
        """The version in a file if it is loaded. It waits for nothing that takes time."""
        with self._lock:
            return self._known(key)

    def drop(self, checkpoints: Collection[str]) -> None:
        """Forget the versions in the files of these checkpoints; requests that use one of them go on to do so."""
        with self._lock:
            for key in [key for key in self._loaded if key.checkpoint in checkpoints]:
                del self._loaded[key]

    def _known(self, key: CheckpointFile) -> ServedModel | None:
        served = self._loaded.get(key)
        if served is not None:
            self.hits += 1
            self._loaded.move_to_end(key)
        return served

    def _keep(self, key: CheckpointFile, served: ServedModel) -> None:
        self._loaded[key] = served
        while len(self._loaded) > 1 and self._too_many():
            self._loaded.popitem(last=False)

    def _too_many(self) -> bool:
        if self._most is not None and len(self._loaded) > self._most:
            return True
        return sum(model.nbytes for model in self._loaded.values()) > self.limit
