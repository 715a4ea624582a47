"""Checkpoints: files with everything that a run has learned up to an epoch."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainyard.documents import read
from trainyard.errors import TrainyardError
from trainyard.requests import path_of

if TYPE_CHECKING:
    from trainyard.client import Trainyard
    from trainyard.evaluations import Evaluation
    from trainyard.models import Model
    from trainyard.predictions import Prediction

__all__ = ["Checkpoint"]


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint, which is an HDF5 file at the service; ``job_id`` is None if it was imported."""

    client: Trainyard = field(repr=False, compare=False)
    id: str
    model_name: str
    job_id: str | None = None
    epoch: int = 0
    step: int = 0
    bytes: int = 0
    sha256: str = field(default="", repr=False)
    metrics: Mapping[str, float | None] = field(default_factory=dict, repr=False)
    created_at: datetime | None = None
    fault: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, document: Mapping[str, Any], client: Trainyard) -> Checkpoint:
        """A checkpoint of the API."""
        return read(cls, document, {"model": "model_name", "job": "job_id"}, client=client)

    @property
    def model(self) -> Model:
        """The model that it is a state of."""
        return self.client.model(self.model_name)

    def download(self, path: str | os.PathLike[str] | None = None) -> Path:
        """Write the file to ``path``, or to ``ID.h5`` in the present directory, and return the path.

        Raises TrainyardError if what arrived is not what the service has recorded.
        """
        place = Path(f"{self.id}.h5" if path is None else path)
        request = path_of("checkpoints", self.id, "file")
        return self.client.save(request, place, accept="application/x-hdf5", check=self._check)

    def _check(self, file: Path) -> None:
        with file.open("rb") as opened:
            found = hashlib.file_digest(opened, "sha256").hexdigest()
        if self.sha256 and found != self.sha256:
            raise TrainyardError(f"the file of {self.id} arrived damaged: its SHA-256 is {found}, not {self.sha256}")

    def predict(self, data: Any, **options: Any) -> Prediction:
        """What this checkpoint predicts for rows; see ``Trainyard.predict``."""
        return self.client.predict(self.model_name, data, version=self.id, **options)

    def evaluate(self, data: Any, **options: Any) -> Evaluation:
        """How good this checkpoint is on labelled rows; see ``Trainyard.evaluate``."""
        return self.client.evaluate(self.model_name, data, version=self.id, **options)
