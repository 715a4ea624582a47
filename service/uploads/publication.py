"""An uploaded checkpoint becomes the next version of its model."""

from __future__ import annotations

import json
from dataclasses import replace

from flask import Response, url_for

from models.definition.definition import ModelDefinition
from models.errors import MissingError
from models.formats.checkpoint_file import save_checkpoint
from models.identifiers import new_id
from models.registry import models, versions
from models.registry.checkpoints import add_checkpoint
from models.training.checkpoint import METRICS, Checkpoint, CheckpointKind, Origin
from service.store.files import FileKind
from service.store.request_rows import discard
from service.web.context import context
from service.web.json_bodies import json_response

__all__ = ["publish_upload"]


def publish_upload(definition: ModelDefinition, checkpoint: Checkpoint) -> Response:
    """Write the checkpoint into a file of our own, then name it as the next version."""
    parts, checkpoint_id = context(), new_id("ckpt")
    path = parts.storage.checkpoint(checkpoint_id)
    newest = checkpoint.history[-1] if checkpoint.history else None
    metrics = json.dumps({} if newest is None else {name: getattr(newest, name) for name in METRICS})
    record = save_checkpoint(path, replace(checkpoint, origin=Origin(None, CheckpointKind.IMPORT, metrics)))
    values = {
        "id": checkpoint_id,
        "model": definition.name,
        "job": None,
        "kind": CheckpointKind.IMPORT,
        "epoch": checkpoint.state.epoch,
        "step": checkpoint.state.step,
        "metrics": metrics,
        "created_at": checkpoint.created_at,
        "mtime_ns": path.stat().st_mtime_ns,
    }
    try:
        with parts.database.write() as connection:
            if models.check_definable(connection, definition):
                raise MissingError("not_found", f"there is no model {definition.name!r} any more")  # noqa: TRY301 - within the transaction
            add_checkpoint(connection, values, record)
            version = versions.publish(connection, definition.name, None, checkpoint_id, metrics)
            document = versions.resolve(connection, definition.name, version)
    except BaseException:
        discard(parts.database, parts.storage, FileKind.CHECKPOINT, checkpoint_id)
        raise
    place = url_for("models.show_version", name=definition.name, version=version)
    return json_response(document, 201, {"Location": place})
