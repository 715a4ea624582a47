"""Submission: what ``POST /train`` asks for is checked, and stored as a queued job."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from flask import Response, url_for

from models.data.dataset import Dataset
from models.definition.definition import ModelDefinition, complete
from models.errors import InvalidError, MissingError
from models.formats.checkpoint_file import load_checkpoint
from models.identifiers import new_id
from models.registry import checkpoints, datasets, models, versions
from models.training.prepared import PreparedData
from models.training.request import TrainingRequest
from models.training.run import activation_bytes
from models.training.warm_start import check_start
from service.jobs import lifecycle
from service.jobs.document import job_document
from service.store.files import FileKind
from service.store.naming import naming
from service.store.request_rows import Source, keep
from service.web.context import context
from service.web.idempotency import remember
from service.web.json_bodies import json_response

__all__ = ["check", "check_size", "check_start_checkpoint", "resolve_definition", "store"]


def check_size(definition: ModelDefinition, given: dict[str, Any], pointer: str) -> None:
    """Raise InvalidError where a model has more parameters than this service allows; ``given`` is what it came from."""
    limit, count = context().settings.max_parameters, definition.parameter_count
    if count > limit:
        place = "hidden" if "hidden" in given else "layers"
        raise InvalidError.at(f"{pointer}/{place}", f"must have at most {limit} parameters in all. Received: {count}")


def resolve_definition(model: Any, dataset: Dataset) -> tuple[ModelDefinition, bool]:
    """The model that is named, or the one that is defined here; tells which."""
    if isinstance(model, str):
        with context().database.read() as connection:
            return models.find_model(connection, model).definition, False
    try:
        definition = ModelDefinition.load(complete(model, dataset.inputs.shape[1], dataset.labels.classes))
    except InvalidError as error:
        raise error.moved("", "/model") from None
    check_size(definition, model, "/model")
    with context().database.read() as connection:
        models.check_definable(connection, definition)
    return definition, True


def check(
    definition: ModelDefinition, request: TrainingRequest, data: Source, validation: Source | None
) -> PreparedData:
    """The rows as a run would use them; raises InvalidError if they could not be trained on."""
    prepared = PreparedData.of(definition, request, data.rows, validation.rows if validation else None)
    batch = request.batch_rows(len(prepared.rows))
    needed, limit = activation_bytes(definition, batch), context().settings.max_batch_bytes
    if needed > limit:
        raise InvalidError.at(
            "/batch_size", f"must be smaller: one batch of this model takes {needed} bytes, and {limit} are allowed"
        )
    return prepared


def check_start_checkpoint(checkpoint_id: str | None, definition: ModelDefinition, reinitialize: Sequence[str]) -> None:
    """Raise InvalidError where a run cannot start from a checkpoint; layers that are drawn anew may differ."""
    groups = definition.groups
    for index, group in enumerate(reinitialize):
        if checkpoint_id is None:
            raise InvalidError.at("/reinitialize", "goes with start_from: without it, all layers are drawn anew")
        if group not in groups:
            known = ", ".join(map(repr, groups))
            raise InvalidError.at(f"/reinitialize/{index}", f"must be one of {known}. Received: {group!r}")
    if checkpoint_id is None:
        return
    try:
        with context().database.read() as connection:
            checkpoints.find_checkpoint(connection, checkpoint_id)
    except MissingError as error:
        raise InvalidError.at("/start_from", error.detail) from None
    check_start(
        load_checkpoint(context().files.path(FileKind.CHECKPOINT, checkpoint_id)).definition, definition, reinitialize
    )


def store(
    new: ModelDefinition | None,
    model: str,
    request: TrainingRequest,
    told: dict[str, Any],
    data: Source,
    validation: Source | None,
) -> Response:
    """Write the rows that came along, then everything else in one transaction; the answer, which shows the job."""
    parts = context()
    job_id = new_id("job")
    sent = {new_id("ds"): source for source in (data, validation) if source is not None and source.dataset_id is None}
    with naming(parts.database, parts.files, FileKind.DATASET, [*sent]):
        kept = [keep(parts.files, dataset_id, None, source.rows.dataset) for dataset_id, source in sent.items()]
        for dataset_id, source in sent.items():
            source.dataset_id = dataset_id
        with parts.database.write() as connection:
            if new is not None:
                models.define_model(connection, new)
            versions.require_model(connection, model)
            for values, record in kept:
                datasets.add_dataset(connection, values, record)
            _require_datasets(connection, data, validation)
            if told["start_from"] is not None:
                checkpoints.find_checkpoint(connection, told["start_from"])
            assert data.dataset_id is not None
            lifecycle.create(
                connection,
                job_id,
                model=model,
                request=told,
                dataset=data.dataset_id,
                validation_dataset=validation.dataset_id if validation else None,
            )
            document = job_document(lifecycle.find(connection, job_id))
            location = url_for("jobs.show", job_id=job_id)
            return remember(connection, json_response(document, 202, {"Location": location}))


def _require_datasets(connection: sa.Connection, *sources: Source | None) -> None:
    """Raise MissingError where a dataset was deleted since it was looked up."""
    for source in sources:
        if source is not None and source.dataset_id is not None:
            datasets.find_dataset(connection, source.dataset_id)
