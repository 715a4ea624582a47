"""Routes of checkpoints."""

from __future__ import annotations

from typing import Any

from flask import Response, send_file

from models import records
from models.errors import MissingError
from service.context import context, page
from service.inspection import intact_checkpoint
from service.openapi import Resource, refusals
from service.pages import CheckpointPage
from service.wire import json_response

__all__ = ["checkpoints"]

checkpoints = Resource("checkpoints", __name__, description="HDF5 files of models in training and trained.")


@checkpoints.route("/models/<name>/checkpoints", methods=["GET"])
@checkpoints.arguments(CheckpointPage, location="query")
@checkpoints.response(200, "CheckpointList")
@checkpoints.doc(responses=refusals(404))
def list_checkpoints(query: dict[str, Any], name: str) -> Response:
    """A model's checkpoints, newest first; `after` takes an id."""
    with context().database.read() as connection:
        rows = records.checkpoints(connection, query["limit"] + 1, query["after"], model=name)
    return page([records.checkpoint_document(row) for row in rows], query["limit"])


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
