"""Routes of checkpoints."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from flask import Response, request, send_file, url_for

from models import records, registry, versions
from models.checkpoints import Checkpoint, Origin, save_checkpoint
from models.definitions import ModelDefinition
from models.errors import MissingError
from models.identifiers import new_id
from service.context import context, discard, page
from service.foreign import receive
from service.inspection import intact_checkpoint
from service.openapi import Resource, refusals
from service.pages import CheckpointPage
from service.runner import METRICS
from service.wire import UnsupportedError, json_response

__all__ = ["checkpoints"]

checkpoints = Resource("checkpoints", __name__, description="HDF5 files of models in training and trained.")

#: Content types under which a file is taken; curl --data-binary sends a form's type, some clients send none.
_FILE_TYPES = ("application/x-hdf5", "application/octet-stream", "application/x-www-form-urlencoded", "")


@checkpoints.route("/models/<name>/checkpoints", methods=["GET"])
@checkpoints.arguments(CheckpointPage, location="query")
@checkpoints.response(200, "CheckpointList")
@checkpoints.doc(responses=refusals(404))
def list_checkpoints(query: dict[str, Any], name: str) -> Response:
    """A model's checkpoints, newest first; `after` takes an id."""
    with context().database.read() as connection:
        rows = records.checkpoints(connection, query["limit"] + 1, query["after"], model=name)
    return page([records.checkpoint_document(row) for row in rows], query["limit"])


@checkpoints.route("/models/<name>/checkpoints", methods=["POST"])
@checkpoints.response(201, "Version")
@checkpoints.doc(
    requestBody={
        "required": True,
        "content": {"application/x-hdf5": {"schema": {"type": "string", "format": "binary"}}},
    },
    responses=refusals(400, 404, 409, 413, 415, 503),
)
def import_file(name: str) -> Response:
    """Import a checkpoint file, made here or elsewhere, as the model's next version.

    The layout is described in docs/checkpoint-format.md; of it only the parameters and statistics have to be there.
    """
    parts = context()
    if request.mimetype not in _FILE_TYPES:
        wanted = f"the body must be an HDF5 file, {_FILE_TYPES[0]}"
        raise UnsupportedError("unsupported_media_type", f"{wanted}. Received: {request.mimetype}")
    with parts.database.read() as connection:
        definition = registry.find_model(connection, name).definition
    with parts.storage.unnamed() as upload, parts.storage.unnamed() as exchange:
        receive(upload, parts.settings.max_import_bytes)
        with parts.wait_slot():
            checkpoint = parts.reader.checkpoint(upload, exchange, definition)
            with parts.storage.writing():
                return _publish(definition, checkpoint)


def _publish(definition: ModelDefinition, checkpoint: Checkpoint) -> Response:
    """Write the checkpoint into a file of our own, then name it as the next version."""
    parts, checkpoint_id = context(), new_id("ckpt")
    path = parts.storage.checkpoint(checkpoint_id)
    newest = checkpoint.history[-1] if checkpoint.history else None
    metrics = json.dumps({} if newest is None else {name: getattr(newest, name) for name in METRICS})
    record = save_checkpoint(path, replace(checkpoint, origin=Origin(None, "import", metrics)))
    values = {
        "id": checkpoint_id,
        "model": definition.name,
        "job": None,
        "kind": "import",
        "epoch": checkpoint.state.epoch,
        "step": checkpoint.state.step,
        "metrics": metrics,
        "created_at": checkpoint.created_at,
        "mtime_ns": path.stat().st_mtime_ns,
    }
    try:
        with parts.database.write() as connection:
            if registry.check_definable(connection, definition):
                raise MissingError("not_found", f"there is no model {definition.name!r} any more")  # noqa: TRY301 - within the transaction
            records.add_checkpoint(connection, values, record)
            version = versions.publish(connection, definition.name, None, checkpoint_id, metrics)
            document = versions.resolve(connection, definition.name, version)
    except BaseException:
        discard(path)
        raise
    place = url_for("models.show_version", name=definition.name, version=version)
    return json_response(document, 201, {"Location": place})


@checkpoints.route("/checkpoints/<checkpoint_id>", methods=["GET"])
@checkpoints.response(200, "Checkpoint")
@checkpoints.doc(responses=refusals(404))
def show(checkpoint_id: str) -> Response:
    """One checkpoint."""
    with context().database.read() as connection:
        return json_response(records.checkpoint_document(records.checkpoint(connection, checkpoint_id)))


@checkpoints.route("/checkpoints/<checkpoint_id>/file", methods=["GET"])
@checkpoints.response(200, {"type": "string", "format": "binary"}, content_type="application/x-hdf5")
@checkpoints.doc(responses=refusals(404))
def download(checkpoint_id: str) -> Response:
    """The HDF5 file."""
    parts = context()
    with parts.database.read() as connection:
        found = records.checkpoint(connection, checkpoint_id)
    if not parts.storage.checkpoint(checkpoint_id).is_file():
        raise MissingError("file_missing", f"the file of checkpoint {checkpoint_id} is not in the data directory")
    return send_file(
        intact_checkpoint(parts.database, parts.storage, checkpoint_id),
        "application/x-hdf5",
        as_attachment=True,
        download_name=f"{found['model']}-{checkpoint_id}.h5",
        etag=found["sha256"],
    )
