"""Checkpoint routes: list, show, download, import."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from flask import Response, request, send_file, url_for

from models.data.labels import Label
from models.errors import InvalidError, MissingError, UnreadableError, UnsupportedError, shortened
from models.imports.kinds import BEGINNING, Kind, kind_of
from models.imports.network import version_of
from models.registry import checkpoints, models
from models.registry.versions import VersionRow
from models.schemas import StrictSchema, Text
from models.training.checkpoint import Checkpoint
from models.training.ensemble_checkpoint import EnsembleCheckpoint
from service.access.audit import Subject
from service.access.usage import Usage
from service.jobs.submission import check_size
from service.store.files import FileKind
from service.upkeep.inspection import intact_checkpoint
from service.uploads.import_bound import import_bound
from service.uploads.publication import publish_upload
from service.web import links
from service.web.bodies import body_file, read_from, uploaded
from service.web.context import context
from service.web.downloads import HDF5, HDF5_KINDS, record_download
from service.web.fields import Fields, picked
from service.web.idempotency import idempotent_after, remember
from service.web.json_bodies import json_response
from service.web.making_room import makes_room
from service.web.openapi import Resource, partial_file, refusals
from service.web.pagination import CheckpointPage, page
from service.web.response_shapes import whole_or_short

__all__ = ["routes"]


routes = Resource("checkpoints", __name__, description="HDF5 files with the state of a model during or after training.")

#: Content types accepted for a file, whose first bytes show what it is. ``curl --data-binary`` sends a form's type, and
#: some clients send none.
_FILE_TYPES = (
    "application/x-hdf5",
    "application/octet-stream",
    "application/onnx",
    "application/x-onnx",
    "application/zip",
    "application/x-zip-compressed",
    "application/x-protobuf",
    "application/x-www-form-urlencoded",
    "",
)
#: Those that are documented. Makers of clients know the second one.
_DOCUMENTED = ("application/x-hdf5", "application/octet-stream", "application/x-onnx", "application/zip")


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


class ImportQuery(StrictSchema):
    """Query parameter of an import: the classes."""

    classes = Text(
        load_default=None,
        maximum=8192,
        metadata={
            "description": "The labels of the network's outputs in their order, as in `no,yes`, in place of those that "
            "an ONNX or skops file has. Whole numbers are numbers, `false` and `true` booleans.",
            "example": "no,yes",
        },
    )


@contextmanager
def _received() -> Iterator[None]:
    """A block in which the body of the request is in a file, within what its model can need.

    Raises UnsupportedError for another type of body, QuotaError if no more may be stored, RequestEntityTooLarge, and
    NoRoomError if the file would take what is kept of the disk.
    """
    parts, name = context(), (request.view_args or {})["name"]
    if request.mimetype not in _FILE_TYPES:
        wanted = f"the body must be an HDF5, ONNX or skops file, as {', '.join(_DOCUMENTED)}"
        raise UnsupportedError("unsupported_media_type", f"{wanted}. Received: {shortened(request.mimetype)}")
    with parts.database.read() as connection:
        most = parts.settings.max_import_bytes
        if models.exists(connection, name):
            most = import_bound(connection, name, parts.settings)
        parts.limits.require_stored(Usage(connection), request.content_length or 0)
    temporary, room = parts.files.temporary, parts.files.disk.require_room
    with body_file(parts.file_bytes(request.environ, most), temporary, room) as upload:
        read_from(upload, temporary)
        yield


@routes.route("/models/<name>/checkpoints", methods=["POST"])
@idempotent_after(_received)
@routes.arguments(ImportQuery, location="query")
@routes.response(201, "Version")
@routes.leads_to(201, links.VERSION)
@routes.doc(
    requestBody={
        "required": True,
        "content": {kind: {"schema": {"type": "string", "format": "binary"}} for kind in _DOCUMENTED},
    },
    responses=refusals(400, 404, 409, 413, 415, 422, 429, 501, 503, 507),
)
def import_checkpoint(query: dict[str, Any], name: str) -> Response:
    """Import a file as the model's next version: a checkpoint, an ONNX file or a skops file.

    A checkpoint is an HDF5 file of this service or elsewhere. docs/checkpoint-format.md describes its layout; only the
    parameters and statistics are required. An ONNX file holds a multilayer perceptron, a skops file scikit-learn's
    MLPClassifier, as docs/imports.md describes. These two define the model if it does not exist. The file's first bytes
    decide what it is. It may be a generous multiple of what the model can need.
    """
    parts, upload = context(), uploaded()
    assert upload is not None
    beginning = os.pread(upload.fileno(), BEGINNING, 0)
    kind = kind_of(beginning)
    with parts.database.read() as connection:
        new = not models.exists(connection, name)
        if new and kind is None:
            wanted = "to define a model, the file must be an ONNX file or a skops file"
            raise UnreadableError("invalid_network_file", f"{wanted}. Received: the bytes {beginning.hex(' ')}")
        if new and kind is not Kind.HDF5:
            parts.limits.require_model(Usage(connection))
        model = None if new and kind is not Kind.HDF5 else models.find_model(connection, name).definition
    with parts.files.temporary() as exchange:
        checkpoint: Checkpoint | EnsembleCheckpoint
        if kind in (Kind.ONNX, Kind.SKOPS):
            network = parts.parser.network(upload, exchange, kind)
            checkpoint = version_of(network, name, model, _labels(query["classes"]))
            check_size(checkpoint.definition, parts.limits, {}, "")
        elif query["classes"] is not None:
            raise InvalidError.at("/classes", "is for ONNX and skops files; leave it out for an HDF5 checkpoint")
        else:
            assert model is not None
            checkpoint = parts.parser.checkpoint(upload, exchange, model)
        return publish_upload(parts.database, parts.files, checkpoint, parts.limits, _answer, new=new)


def _answer(connection: sa.Connection, version: VersionRow) -> Response:
    location = url_for("models.show_version", name=version.model, version=version.version)
    return remember(connection, json_response(version.document(), 201, {"Location": location}))


def _labels(text: str | None) -> list[Label] | None:
    """The labels of classes in a query."""
    if text is None:
        return None
    words = [word.strip() for word in text.split(",")]
    if all(re.fullmatch(r"[+-]?[0-9]{1,18}", word) for word in words):
        return [int(word) for word in words]
    truths = {"false": False, "true": True}
    return [truths[word] for word in words] if set(words) == set(truths) else list(words)


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
        raise MissingError("file_missing", f"the file of checkpoint {checkpoint_id} is missing")
    response = send_file(
        intact_checkpoint(parts.database, parts.files, checkpoint_id),
        request.accept_mimetypes.best_match(HDF5_KINDS, HDF5),
        as_attachment=True,
        download_name=f"{found.model}-{checkpoint_id}.h5",
        etag=found.file.sha256,
    )
    return record_download(response, Subject.CHECKPOINT, checkpoint_id, found.owner)
