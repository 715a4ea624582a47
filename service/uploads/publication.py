"""Publication of an uploaded checkpoint as the next version of its model."""

from __future__ import annotations

import json
from dataclasses import replace

from models.definition.definition import ModelDefinition
from models.formats.checkpoint_file import checkpoint_image
from models.identifiers import new_id
from models.registry import versions
from models.registry.checkpoints import add_checkpoint
from models.training.checkpoint import METRICS, Checkpoint, CheckpointKind, Origin
from service.store.database import Database
from service.store.files import FileKind, FileStore
from service.store.naming import naming

__all__ = ["publish_upload"]


def publish_upload(
    database: Database, files: FileStore, definition: ModelDefinition, checkpoint: Checkpoint
) -> versions.VersionRow:
    """Write the checkpoint to a file, then name that as the next version; that version.

    Raises MissingError if the model was deleted meanwhile.
    """
    checkpoint_id = new_id("ckpt")
    newest = checkpoint.history[-1] if checkpoint.history else None
    metrics = json.dumps({} if newest is None else {name: getattr(newest, name) for name in METRICS})
    image = checkpoint_image(replace(checkpoint, origin=Origin(None, CheckpointKind.IMPORT, metrics)))
    values = {
        "id": checkpoint_id,
        "model": definition.name,
        "job": None,
        "kind": CheckpointKind.IMPORT,
        "epoch": checkpoint.state.epoch,
        "step": checkpoint.state.step,
        "metrics": metrics,
        "created_at": checkpoint.created_at,
    }
    with naming(database, files, FileKind.CHECKPOINT, [checkpoint_id]):
        record = files.put(FileKind.CHECKPOINT, checkpoint_id, image)
        with database.write() as connection:
            versions.require_model(connection, definition.name)
            add_checkpoint(connection, values, record)
            version = versions.publish(
                connection, definition.name, None, checkpoint_id, metrics, definition.canonical()
            )
            return versions.resolve(connection, definition.name, version)
