"""The route that launches training."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import sqlalchemy as sa
from flask import Response, url_for

from models import records, registry, versions
from models.checkpoints import CheckpointError, load_checkpoint
from models.class_weights import weights_of_classes
from models.datasets import Dataset, from_rows, load_dataset
from models.definitions import ModelDefinition, complete, loss_field, optimizer_field
from models.dry_run import dry_run
from models.errors import ConflictError, InvalidError, MissingError, Problem
from models.files import FileRecord
from models.identifiers import new_id
from models.matrices import Array
from models.training_request import TrainingRequest, TrainSchema
from models.training_run import activation_bytes, split_rows, watched
from models.warm_start import check_start
from service import queue
from service.context import context, discard
from service.datasets import keep
from service.idempotency import idempotent, remember
from service.models import check_size
from service.openapi import Resource, refusals
from service.wire import json_response

__all__ = ["Source", "training"]

training = Resource("training", __name__, description="Launch training.")


#: Steps are measured one request at a time, or the times would be those of several.
_one_dry_run = threading.Lock()


class Source:
    """The rows of one part of a request: kept already under an id, or to be kept."""

    def __init__(self, part: dict[str, Any], pointer: str) -> None:
        self.dataset_id: str | None = None
        # Faults are told where the client wrote the rows, or the name of what holds them.
        named = f"{pointer}/dataset" if "dataset" in part else None
        self.inputs_pointer, self.labels_pointer = named or f"{pointer}/inputs", named or f"{pointer}/labels"
        if "dataset" in part:
            try:
                with context().database.read() as connection:
                    self.dataset_id = records.dataset(connection, part["dataset"])["id"]
            except MissingError as error:
                raise InvalidError.at(f"{pointer}/dataset", error.detail) from None
            self.dataset = load_dataset(context().storage.dataset(self.dataset_id))
            self.told: dict[str, Any] = {"dataset": part["dataset"], "rows": self.dataset.rows}
        else:
            self.dataset = from_rows(part["inputs"], part["labels"], pointer, part.get("weights"))
            self.told = {"rows": self.dataset.rows}

    def check(self, definition: ModelDefinition) -> Array:
        """Each row's class number; raises InvalidError where the rows do not fit the model."""
        width = self.dataset.inputs.shape[1]
        if width != definition.inputs:
            raise InvalidError.at(self.inputs_pointer, f"must have {definition.inputs} columns. Received: {width}")
        largest = np.finfo(definition.dtype).max
        too_large = np.abs(self.dataset.inputs) > largest
        if too_large.any():
            row, column = np.argwhere(too_large)[0].tolist()
            value = self.dataset.inputs[row, column]
            detail = f"is too large for {definition.dtype}. Received: {value:g}"
            raise self.fault(row, detail, column)
        return self.dataset.codes_for(definition.classes, self.labels_pointer)

    def fault(self, row: int, detail: str, column: int | None = None) -> InvalidError:
        """What is wrong with one row, or with one number of it, told where the client wrote it."""
        place = self.inputs_pointer
        if self.dataset_id is None:
            place += f"/{row}" if column is None else f"/{row}/{column}"
        return InvalidError.of([Problem(place, detail, row=row + 1)])


@training.route("/train", methods=["POST"])
@idempotent
@training.arguments(TrainSchema)
@training.response(202, "Job")
@training.doc(
    responses={
        "200": {
            "description": "Of a dry run.",
            "content": {"application/json": {"schema": {"$ref": "#/components/schemas/DryRun"}}},
        },
        **refusals(400, 404, 409, 413),
    }
)
def train(body: dict[str, Any]) -> Response:
    """Queue a training job; its model may be defined by the same request.

    With `dry_run`, nothing is stored: the answer, with status 200, tells parameters, memory, an estimate of the time
    from a few measured steps, and warnings about the data.
    """
    request = TrainingRequest.of(body)
    data = Source(body["data"], "/data")
    definition, is_new = _definition(body["model"], data.dataset)
    given = body["validation"]
    validation = Source(given, "/validation") if given and "fraction" not in given else None
    _check(definition, request, data, validation)
    _check_start(body["start_from"], definition, request.anew)
    if body.pop("dry_run"):
        with _one_dry_run:
            return json_response(dry_run(definition, request, data.dataset, validation.dataset if validation else None))
    body["optimizer"] = request.optimizer or definition.optimizer
    body["loss"] = request.loss or definition.loss
    if request.class_weights is None:
        body["class_weights"] = definition.class_weights
    told = {
        **body,
        "model": definition.name,
        "data": data.told,
        "validation": validation.told if validation else given,
        "optimizer": optimizer_field().serialize("optimizer", body),
        "loss": loss_field().serialize("loss", body),
        "early_stopping": None if request.early_stopping is None else asdict(request.early_stopping),
    }
    with context().storage.writing():
        return _store(definition if is_new else None, definition.name, request, told, data, validation)


def _definition(model: Any, dataset: Dataset) -> tuple[ModelDefinition, bool]:
    """The model that is named, or the one that is defined here; tells which."""
    if isinstance(model, str):
        with context().database.read() as connection:
            return registry.find_model(connection, model).definition, False
    try:
        definition = ModelDefinition.load(complete(model, dataset.inputs.shape[1], dataset.labels.classes))
    except InvalidError as error:
        raise error.moved("", "/model") from None
    check_size(definition, model, "/model")
    with context().database.read() as connection:
        registry.check_definable(connection, definition)
    return definition, True


def _check(definition: ModelDefinition, request: TrainingRequest, data: Source, validation: Source | None) -> None:
    """Raise InvalidError for what could not be trained, so that no job is made of it."""
    codes = data.check(definition)
    data.dataset.require_two_classes(data.labels_pointer)
    rows, _ = split_rows(codes, request)
    if validation is not None:
        validation.check(definition)
    weights_of_classes(request.class_weights, definition.classes)
    watched(request, validation is not None or request.validation_fraction is not None)
    batch = len(rows) if request.batch_size == "full" else min(request.batch_size, len(rows))
    needed, limit = activation_bytes(definition, batch), context().settings.max_batch_bytes
    if needed > limit:
        raise InvalidError.at(
            "/batch_size", f"must be smaller: one batch of this model takes {needed} bytes, and {limit} are allowed"
        )


def _check_start(checkpoint_id: str | None, definition: ModelDefinition, anew: Sequence[str]) -> None:
    """Raise InvalidError where a run cannot start from a checkpoint; layers that are drawn anew may differ."""
    groups = definition.groups
    for index, group in enumerate(anew):
        if checkpoint_id is None:
            raise InvalidError.at("/reinitialize", "goes with start_from: without it, all layers are drawn anew")
        if group not in groups:
            known = ", ".join(map(repr, groups))
            raise InvalidError.at(f"/reinitialize/{index}", f"must be one of {known}. Received: {group!r}")
    if checkpoint_id is None:
        return
    try:
        with context().database.read() as connection:
            records.checkpoint(connection, checkpoint_id)
    except MissingError as error:
        raise InvalidError.at("/start_from", error.detail) from None
    try:
        start = load_checkpoint(context().storage.checkpoint(checkpoint_id)).definition
    except CheckpointError as error:
        raise ConflictError("checkpoint_unreadable", str(error)) from None
    check_start(start, definition, anew)


def _store(
    new: ModelDefinition | None,
    model: str,
    request: TrainingRequest,
    told: dict[str, Any],
    data: Source,
    validation: Source | None,
) -> Response:
    """Write the rows that came along, then everything else in one transaction; the answer, which shows the job."""
    parts = context()
    kept: list[tuple[dict[str, Any], FileRecord]] = []
    job_id = new_id("job")
    try:
        for source in (data, validation):
            if source is not None and source.dataset_id is None:
                source.dataset_id = new_id("ds")
                kept.append(keep(source.dataset_id, None, source.dataset))
        with parts.database.write() as connection:
            if new is not None:
                registry.define(connection, new)
            versions.require_model(connection, model)
            for values, record in kept:
                records.add_dataset(connection, values, record)
            _require_datasets(connection, data, validation)
            if told["start_from"] is not None:
                records.checkpoint(connection, told["start_from"])
            queue.create(
                connection,
                {
                    "id": job_id,
                    "model": model,
                    "request": registry.as_json(told),
                    "dataset": data.dataset_id,
                    "validation_dataset": validation.dataset_id if validation else None,
                    "epochs": request.epochs,
                },
            )
            document = queue.document(queue.find(connection, job_id))
            location = url_for("jobs.show", job_id=job_id)
            return remember(connection, json_response(document, 202, {"Location": location}))
    except BaseException:
        discard(*(parts.storage.dataset(values["id"]) for values, _ in kept))
        raise


def _require_datasets(connection: sa.Connection, *sources: Source | None) -> None:
    """Raise MissingError where a dataset was deleted since it was looked up."""
    for source in sources:
        if source is not None and source.dataset_id is not None:
            records.dataset(connection, source.dataset_id)
