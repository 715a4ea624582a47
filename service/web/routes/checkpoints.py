"""Checkpoint routes: list, show, download, import."""

from __future__ import annotations

from typing import Any

from flask import Response, request, send_file, url_for

from models.errors import MissingError, UnsupportedError, shortened
from models.registry import checkpoints, models
from models.schemas import StrictSchema
from service.access.audit import Subject
from service.access.usage import Usage
from service.store.files import FileKind
from service.upkeep.inspection import intact_checkpoint
from service.uploads.import_bound import import_bound
from service.uploads.publication import publish_upload
from service.web import links
from service.web.bodies import body_file
from service.web.context import context
from service.web.downloads import HDF5, HDF5_KINDS, record_download
from service.web.fields import Fields, picked
from service.web.json_bodies import json_response
from service.web.making_room import makes_room
from service.web.openapi import Resource, partial_file, refusals
from service.web.pagination import CheckpointPage, page
from service.web.response_shapes import whole_or_short

__all__ = ["routes"]


routes = Resource("checkpoints", __name__, description="HDF5 files with the state of a model during or after training.")

#: Content types accepted for a file. ``curl --data-binary`` sends a form's type, and some clients send none.
_FILE_TYPES = (*HDF5_KINDS, "application/x-www-form-urlencoded", "")


@routes.route("/models/<name>/checkpoints", methods=["GET"])
@routes.arguments(CheckpointPage, location="query")
@routes.response(200, "CheckpointList")
@routes.leads_to(200, links.CHECKPOINTS)
@routes.doc(responses=refusals(404))
def list_checkpoints(query: dict[str, Any], name: str) -> Response:
    """List a model's checkpoints, newest first.

    `after` takes a checkpoint's id.
    """
    with context().database.read() as connection:
        rows = checkpoints.list_checkpoints(connection, query["limit"] + 1, query["after"], model=name)
    return page([picked(row.document(), query["members"]) for row in rows], query["limit"])


@routes.route("/models/<name>/checkpoints", methods=["POST"])
@routes.response(201, "Version")
@routes.leads_to(201, links.VERSION)
@routes.doc(
    requestBody={
        "required": True,
        "content": {kind: {"schema": {"type": "string", "format": "binary"}} for kind in HDF5_KINDS},
    },
    responses=refusals(400, 404, 409, 413, 415, 422, 429, 503, 507),
)
def import_checkpoint(name: str) -> Response:
    """Import a checkpoint file as the model's next version.

    The file may come from this service or elsewhere. docs/checkpoint-format.md describes its layout; only the
    parameters and statistics are required. It may be a generous multiple of what the model can need.
    """
    parts = context()
    if request.mimetype not in _FILE_TYPES:
        wanted = f"the body must be an HDF5 file, {_FILE_TYPES[0]}"
        raise UnsupportedError("unsupported_media_type", f"{wanted}. Received: {shortened(request.mimetype)}")
    with parts.database.read() as connection:
        definition = models.find_model(connection, name).definition
        bound = parts.file_bytes(request.environ, import_bound(connection, name, parts.settings))
        parts.limits.require_stored(Usage(connection), request.content_length or 0)
    temporary, room = parts.files.temporary, parts.files.disk.require_room
    with body_file(bound, temporary, room) as upload, temporary() as exchange:
        checkpoint = parts.parser.checkpoint(upload, exchange, definition)
        version = publish_upload(parts.database, parts.files, checkpoint, parts.limits)
    location = url_for("models.show_version", name=name, version=version.version)
    return json_response(version.document(), 201, {"Location": location})


class CheckpointQuery(StrictSchema):
    """Query parameter of a checkpoint: which of its members to show."""

    members = Fields("Checkpoint")


@routes.route("/checkpoints/<checkpoint_id>", methods=["GET"])
@routes.arguments(CheckpointQuery, location="query")
@routes.response(200, whole_or_short("Checkpoint"))
@routes.doc(responses=refusals(404))
def show_checkpoint(query: dict[str, Any], checkpoint_id: str) -> Response:
    """Show a checkpoint."""
    with context().database.read() as connection:
        found = checkpoints.find_checkpoint(connection, checkpoint_id)
    return json_response(picked(found.document(), query["members"]))


@routes.route("/checkpoints/<checkpoint_id>/file", methods=["GET"])
@routes.response(200, {"type": "string", "format": "binary"}, content_type=HDF5)
@routes.doc(
    responses={
        "200": {
            "description": "The file.",
            "content": {kind: {"schema": {"type": "string", "format": "binary"}} for kind in HDF5_KINDS},
        },
        **partial_file(*HDF5_KINDS),
        **refusals(404),
    }
)
@makes_room
def download_checkpoint(checkpoint_id: str) -> Response:
    """Download a checkpoint's HDF5 file.

    This also works on a full disk.
    """
    parts = context()
    with parts.database.read() as connection:
        found = checkpoints.find_checkpoint(connection, checkpoint_id)
    if parts.files.stat(FileKind.CHECKPOINT, checkpoint_id) is None:
        raise MissingError("file_missing", f"the file of checkpoint {checkpoint_id} is not in the data directory")
    response = send_file(
        intact_checkpoint(parts.database, parts.files, checkpoint_id),
        request.accept_mimetypes.best_match(HDF5_KINDS, HDF5),
        as_attachment=True,
        download_name=f"{found.model}-{checkpoint_id}.h5",
        etag=found.file.sha256,
    )
    return record_download(response, Subject.CHECKPOINT, checkpoint_id, found.owner)
