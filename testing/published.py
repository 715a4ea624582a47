"""Data directories with published versions, made in this process: no trainer has to run."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from models.data.dataset import Dataset
from models.definition.definition import ModelDefinition
from models.formats.checkpoint_file import checkpoint_image
from models.identifiers import new_id
from models.registry import checkpoints, models, versions
from models.registry.callers import Caller
from models.training.checkpoint import CheckpointKind, Origin
from service.settings import Settings
from service.store.database import Database
from service.store.files import FileKind, FileStore
from testing.runs import Recorder, a_run

__all__ = ["publish_runs"]


def publish_runs(
    data: Path,
    seeds: Iterable[int],
    *,
    definition: ModelDefinition | None = None,
    rows: Dataset | None = None,
    owner: str = "local",
) -> None:
    """Publish a version for each seed, of the model "small" with two inputs and the classes a, b and c, or another one.

    Each is one epoch of ``testing.runs.a_run``, over ``rows`` if they are given.
    """
    database = Database(Settings.read({"TRAINYARD_DATA": str(data)}))
    database.migrate()
    files = FileStore(data)
    for seed in seeds:
        run = a_run(epochs=1, seed=seed, definition=definition, data=rows)
        run.run(Recorder())
        job, checkpoint_id = new_id("job"), new_id("ckpt")
        saved = replace(run.checkpoint(), origin=Origin(job, CheckpointKind.LAST, "{}", owner))
        record = files.put(FileKind.CHECKPOINT, checkpoint_id, checkpoint_image(saved))
        values = {"id": checkpoint_id, "model": saved.definition.name, "job": job, "kind": "last"}
        with database.of(Caller(owner)).write() as connection:
            models.define_model(connection, saved.definition)
            row = {**values, "epoch": 1, "step": 6, "metrics": "{}", "created_at": saved.created_at}
            checkpoints.add_checkpoint(connection, row, record)
            metrics = json.dumps({"loss": 1.0 / seed, "validation_accuracy": 0.5})
            versions.publish(connection, saved.definition.name, job, checkpoint_id, metrics)
    database.dispose()
