"""Small training runs, and a journal that records a run's reports and stops it at a given batch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from models.data.dataset import Dataset, from_rows
from models.definition.definition import ModelDefinition
from models.definition.given_rows import GivenRows
from models.formats.checkpoint_file import load_checkpoint
from models.training.checkpoint import Checkpoint, CheckpointKind
from models.training.prepared import PreparedData
from models.training.request import TrainingRequest
from models.training.run import TrainingRun
from nncore.kernels.kinds import Kind
from nncore.training import Epoch
from testing.saving import save_checkpoint

DEFAULTS: dict[str, Any] = {
    "epochs": 3,
    "batch_size": 8,
    "shuffle": True,
    "seed": 5,
    "optimizer": None,
    "validation_fraction": None,
    "every_epochs": None,
    "every_seconds": None,
    "keep": 3,
    "publish": "last",
}


def a_definition(**members: Any) -> ModelDefinition:
    """A definition with two inputs, three classes and few parameters, unless ``units`` is larger."""
    units = members.pop("units", 5)
    layers = [
        {"type": "dense", "units": units, "l2": members.pop("l2", 0.0)},
        {"type": "relu"},
        {"type": "dense", "units": 3},
        {"type": "softmax"},
    ]
    return ModelDefinition.load({"name": "small", "inputs": 2, "classes": ["a", "b", "c"], "layers": layers, **members})


def a_request(**members: Any) -> TrainingRequest:
    return TrainingRequest(**{**DEFAULTS, **members})


def some_rows(rows: int = 43, seed: int = 1) -> Dataset:
    """Points whose angle decides their class; with 43, the last batch is not full."""
    generator = np.random.default_rng(seed)
    points = generator.normal(size=(rows, 2))
    codes = ((np.arctan2(points[:, 0], points[:, 1]) / np.pi + 1) * 1.4999).astype(int)
    codes[:3] = [0, 1, 2]
    return from_rows(points.tolist(), ["abc"[code] for code in codes])


def prepare(
    definition: ModelDefinition, request: TrainingRequest, data: Dataset, validation: Dataset | None = None
) -> PreparedData:
    """The rows of a run, as they are prepared if the request contains them."""
    given = None if validation is None else GivenRows(validation, "/validation")
    return PreparedData.of(definition, request, GivenRows(data, "/data"), given)


def a_run(
    *,
    start: Checkpoint | None = None,
    resume: Checkpoint | None = None,
    data: Dataset | None = None,
    validation: Dataset | None = None,
    dtype: str = "float32",
    definition: ModelDefinition | None = None,
    kernels: Kind = "numpy",
    **request: Any,
) -> TrainingRun:
    """A run over ``some_rows``, or over ``data``."""
    definition, asked = definition or a_definition(dtype=dtype), a_request(**request)
    prepared = prepare(definition, asked, data or some_rows(), validation)
    return TrainingRun(asked, prepared, start=start, resume=resume, kernels=kernels)


class Recorder:
    """A journal in memory; saves checkpoints to ``folder`` if given, stops the run before batch ``stop_after``."""

    def __init__(self, stop_after: int | None = None, folder: Path | None = None) -> None:
        self.stop_after, self.folder = stop_after, folder
        self.asked = 0
        self.epochs: list[Epoch] = []
        self.kinds: list[tuple[CheckpointKind, int, int]] = []
        self.files: list[Path] = []

    def stopping(self) -> bool:
        self.asked += 1
        return self.stop_after is not None and self.asked > self.stop_after

    def epoch(self, record: Epoch) -> None:
        self.epochs.append(record)

    def checkpoint(self, checkpoint: Checkpoint, kind: CheckpointKind) -> None:
        self.kinds.append((kind, checkpoint.state.epoch, checkpoint.state.position))
        if self.folder is not None:
            self.files.append(self.folder / f"{len(self.files)}.h5")
            save_checkpoint(self.files[-1], checkpoint)

    def newest(self) -> Checkpoint:
        return load_checkpoint(self.files[-1])
