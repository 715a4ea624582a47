"""The rows that a job's members held out, with their predictions, as a file."""

from __future__ import annotations

import numpy as np
from flask import Response

from models.data.columns import Column, ColumnSpec
from models.data.labels import label_text
from models.data.matrix_table import label_column
from models.data.table import MemoryTable
from models.definition.definition import ModelDefinition
from models.errors import ConflictError
from models.formats.checkpoint_file import load_held_out
from models.registry import checkpoints
from models.training.checkpoint import CheckpointKind
from models.training.ensemble_checkpoint import HeldOut
from service.access.audit import Subject
from service.jobs import lifecycle
from service.upkeep.inspection import intact_checkpoint
from service.web.context import context
from service.web.downloads import record_download
from service.web.making_room import makes_room
from service.web.openapi import Resource, refusals
from service.web.table_answers import TABLE_TYPES, accepted_type, table_answer

__all__ = ["routes"]

routes = Resource("held-out rows", __name__, description="Predictions of rows by networks that did not train on them.")


@routes.route("/jobs/<job_id>/held_out", methods=["GET"])
@routes.response(200, {"type": "string", "format": "binary"}, content_type=TABLE_TYPES[0])
@routes.doc(
    responses={
        "200": {
            "description": "The rows as the type that `Accept` names; CSV if any will do.",
            "content": {kind: {"schema": {"type": "string", "format": "binary"}} for kind in TABLE_TYPES},
        },
        **refusals(404, 406, 409, 503),
    }
)
@makes_room
def download_held_out(job_id: str) -> Response:
    """Download the predictions of a job's training rows, each by members that did not train on it.

    A row has its number in the data (`row`, from 1), its `fold`, its `label`, the `prediction` and a column
    `probability_CLASS` for each class. A job of a single network has none: train with `folds`. This also works on a
    full disk.
    """
    parts, kind = context(), accepted_type("rows")
    with parts.database.read() as connection:
        job = lifecycle.find(connection, job_id)
        row = checkpoints.newest_of_job(connection, job_id, [CheckpointKind.LAST])
    definition, found = (
        (None, None) if row is None else load_held_out(intact_checkpoint(parts.database, parts.files, row.id))
    )
    if definition is None or found is None:
        detail = f"job {job_id} has no predictions of held-out rows; a job with members has them when it has ended"
        raise ConflictError("no_held_out_rows", detail)
    response = table_answer(_table(definition, found), kind, f"{definition.name}-held-out")
    return record_download(response, Subject.HELD_OUT, job_id, job.owner)


def _table(definition: ModelDefinition, found: HeldOut) -> MemoryTable:
    """The rows in the order of the data."""
    classes = definition.classes
    labels = label_column(found.codes.astype(np.intp), classes)
    predictions = label_column(found.probabilities.argmax(axis=1), classes)
    columns = {
        "row": Column("number", found.rows + 1),
        "fold": Column("number", found.folds + 1),
        "label": labels,
        "prediction": predictions,
        **{
            f"probability_{label_text(label)}": Column("number", found.probabilities[:, place])
            for place, label in enumerate(classes)
        },
    }
    specs = tuple(ColumnSpec(name, column.kind, column.levels) for name, column in columns.items())
    return MemoryTable(len(found.rows), specs, columns)
