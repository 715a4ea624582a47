"""What becomes of uploads: a checkpoint is the next version of its model, a table is a dataset."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
import sqlalchemy as sa

from models.clock import utc_now
from models.data.columns import Column
from models.data.labels import Label, classes_of
from models.data.profile import Provenance, TableDetails
from models.definition.definition import ModelDefinition
from models.formats.checkpoint_file import checkpoint_image
from models.formats.dataset_file import DatasetLabel
from models.formats.durable import FileRecord
from models.identifiers import new_id
from models.registry import models, versions
from models.registry.checkpoints import add_checkpoint
from models.registry.datasets import feature_names
from models.training.checkpoint import Checkpoint, CheckpointKind, Origin
from models.training.ensemble_checkpoint import EnsembleCheckpoint
from service.access.audit import Action, Subject, record
from service.access.limits import Limits
from service.access.usage import Usage
from service.store.database import Database
from service.store.files import FileKind, FileStore
from service.store.naming import naming
from service.uploads.received_table import ReceivedTable

__all__ = ["keep_table", "publish_upload"]

Answer = TypeVar("Answer")


def publish_upload(
    database: Database,
    files: FileStore,
    checkpoint: Checkpoint | EnsembleCheckpoint,
    limits: Limits,
    answer: Callable[[sa.Connection, versions.VersionRow], Answer],
    *,
    new: bool = False,
) -> Answer:
    """Write the checkpoint to a file, then name that as the next version; what ``answer`` makes of it.

    ``answer`` runs in the same transaction. If the model is ``new``, the checkpoint's definition is its definition.
    Raises MissingError if the model was deleted meanwhile, ConflictError if a new one was defined otherwise meanwhile,
    ForbiddenError if the caller may not use its name, and QuotaError if more is stored than may be.
    """
    checkpoint_id, definition = new_id("ckpt"), checkpoint.definition
    held = checkpoint.held if isinstance(checkpoint, Checkpoint) else checkpoint
    metrics = json.dumps(held.metrics)
    origin = Origin(None, CheckpointKind.IMPORT, metrics, database.caller.owner)
    image = checkpoint_image(replace(checkpoint, origin=origin))
    values = {
        "id": checkpoint_id,
        "model": definition.name,
        "job": None,
        "kind": CheckpointKind.IMPORT,
        "epoch": checkpoint.epoch,
        "step": checkpoint.step,
        "metrics": metrics,
        "created_at": checkpoint.created_at,
    }
    with naming(database, files, FileKind.CHECKPOINT, [checkpoint_id]):
        written = files.put(FileKind.CHECKPOINT, checkpoint_id, image)
        with database.write() as connection:
            if new:
                _define(connection, definition, limits)
            versions.require_model(connection, definition.name)
            limits.require_stored(Usage(connection), written.bytes)
            add_checkpoint(connection, values, written)
            version = versions.publish(
                connection, definition.name, None, checkpoint_id, metrics, definition.canonical()
            )
            record(connection, Action.PUBLISHED, Subject.VERSION, f"{definition.name}/{version}")
            return answer(connection, versions.resolve(connection, definition.name, version))


def _define(connection: sa.Connection, definition: ModelDefinition, limits: Limits) -> None:
    """Define the model of a file, unless another request has done so meanwhile."""
    if not models.exists(connection, definition.name):
        limits.require_model(Usage(connection))
    _, made = models.define_model(connection, definition, exact=True)
    if made:
        record(connection, Action.MADE, Subject.MODEL, definition.name)


def keep_table(
    files: FileStore, dataset_id: str, owner: str, name: str, received: ReceivedTable
) -> tuple[dict[str, Any], FileRecord]:
    """Write the file of an owner's table; returns the values of its row, which is added later, and its record."""
    created_at, details = utc_now(), received.details
    source = Provenance(details.format, details.warnings)
    label = DatasetLabel(name, created_at, source, owner)
    record = files.put(FileKind.DATASET, dataset_id, received.image(label))
    values = {
        "id": dataset_id,
        "name": name,
        "rows": received.rows,
        "features": feature_names(details.columns, details.label, details.weight),
        "classes": list(_classes(details)),
        "details": details,
        "created_at": created_at,
    }
    return values, record


def _classes(details: TableDetails) -> Sequence[Label]:
    """The classes of the column of labels, from the values that its profile lists."""
    for spec, profile in zip(details.columns, details.profile, strict=True):
        if spec.name == details.label:
            values = np.arange(len(spec.levels))
            if spec.kind == "number":
                values = np.array([each["value"] for each in profile["values"]], np.float64)
            return classes_of(Column(spec.kind, values, spec.levels)).classes
    return ()
