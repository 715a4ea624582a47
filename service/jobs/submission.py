"""Submission: a training request is checked, and stored as a queued job."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import sqlalchemy as sa

from models.data.dataset import Dataset
from models.data.schemas import as_written
from models.definition.definition import ModelDefinition, complete, loss_field, optimizer_field
from models.errors import InvalidError, MissingError
from models.formats.checkpoint_file import load_checkpoint
from models.identifiers import new_id
from models.registry import checkpoints, datasets, models, versions
from models.training.prepared import PreparedData
from models.training.request import TrainingRequest, filled
from models.training.run import activation_bytes
from models.training.warm_start import check_start
from service.jobs import lifecycle
from service.jobs.record import Job
from service.settings import Settings
from service.store.database import Database
from service.store.files import FileKind, FileStore
from service.store.naming import naming
from service.store.request_rows import Source, keep

__all__ = ["Checked", "Record", "check", "check_size", "submit"]

#: Called in the transaction that stores a job, to store something else together with it.
Record = Callable[[sa.Connection, Job], None]


@dataclass(frozen=True)
class Checked:
    """A training request that a run can carry out.

    ``body`` is what was loaded, with what the data decide. ``defines`` says that the request defines its model, so that
    ``definition`` becomes the model's newest one together with the job. ``validation`` is None unless the request gives
    rows for it.
    """

    body: dict[str, Any]
    request: TrainingRequest
    definition: ModelDefinition
    defines: bool
    data: Source
    validation: Source | None
    prepared: PreparedData


def check(database: Database, files: FileStore, settings: Settings, body: dict[str, Any]) -> Checked:
    """Check what ``TrainSchema`` has loaded against what is stored; nothing is written.

    Raises InvalidError if no run can carry it out, and MissingError for an unknown model.
    """
    try:
        return _checked(database, files, settings, body)
    except InvalidError as error:
        raise as_written(error, body, "data", "validation") from None


def _checked(database: Database, files: FileStore, settings: Settings, body: dict[str, Any]) -> Checked:
    data = Source(database, files, body["data"], "/data")
    body = filled(body, data.rows.dataset.rows)
    request = TrainingRequest.of(body)
    model = body["model"] or _model_of_dataset(database, data)
    definition, defines = _resolve_definition(database, settings, model, data.rows.dataset)
    given, validation = body["validation"], None
    if given and "fraction" not in given:
        validation = Source(database, files, given, "/validation")
    prepared = PreparedData.of(definition, request, data.rows, validation.rows if validation else None)
    needed, limit = activation_bytes(definition, request.batch_rows(len(prepared.rows))), settings.max_batch_bytes
    if needed > limit:
        raise InvalidError.at(
            "/batch_size", f"must be smaller: one batch of this model takes {needed} bytes, and {limit} are allowed"
        )
    _check_start(database, files, body["start_from"], definition, request.reinitialize)
    return Checked(body, request, definition, defines, data, validation, prepared)


def check_size(definition: ModelDefinition, limit: int, given: dict[str, Any], pointer: str) -> None:
    """Raise InvalidError if a model has more than ``limit`` parameters; ``given`` is what the definition came from."""
    count = definition.parameter_count
    if count > limit:
        place = "hidden" if "hidden" in given else "layers"
        raise InvalidError.at(f"{pointer}/{place}", f"must have at most {limit} parameters in all. Received: {count}")


def _model_of_dataset(database: Database, data: Source) -> str | dict[str, Any]:
    """The model named after a dataset: its name if it exists, else a definition of nothing but that name."""
    name = None
    with database.read() as connection:
        if data.dataset_id is not None:
            name = datasets.find_dataset(connection, data.dataset_id).name
        if name is None:
            detail = (
                'is required unless the data are a dataset with a name; write for example "model": {"name": "iris"}'
            )
            raise InvalidError.at("/model", detail)
        return name if models.exists(connection, name) else {"name": name}


def _resolve_definition(
    database: Database, settings: Settings, model: Any, dataset: Dataset
) -> tuple[ModelDefinition, bool]:
    """The newest definition of the model that is named, or the one given here, and whether it is the latter."""
    if isinstance(model, str):
        with database.read() as connection:
            return models.find_model(connection, model).definition, False
    try:
        definition = ModelDefinition.load(complete(model, dataset.inputs.shape[1], dataset.labels.classes))
    except InvalidError as error:
        raise error.moved("", "/model") from None
    check_size(definition, settings.max_parameters, model, "/model")
    return definition, True


def _check_start(
    database: Database,
    files: FileStore,
    checkpoint_id: str | None,
    definition: ModelDefinition,
    reinitialize: Sequence[str],
) -> None:
    """Raise InvalidError if a run cannot start from a checkpoint; the layers of ``reinitialize`` may differ."""
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
        with database.read() as connection:
            checkpoints.find_checkpoint(connection, checkpoint_id)
    except MissingError as error:
        raise InvalidError.at("/start_from", error.detail) from None
    start = load_checkpoint(files.path(FileKind.CHECKPOINT, checkpoint_id)).definition
    check_start(start, definition, reinitialize)


def submit(
    database: Database, files: FileStore, settings: Settings, body: dict[str, Any], record: Record | None = None
) -> Job:
    """Check what ``TrainSchema`` has loaded, and store it as a queued job.

    Inline rows are written first, then everything else in one transaction, in which ``record`` is called last. Raises
    what ``check`` raises, and MissingError if something was deleted in the meantime.
    """
    checked = check(database, files, settings, body)
    document = _document(checked)
    sources = [source for source in (checked.data, checked.validation) if source is not None]
    ids = [source.dataset_id or new_id("ds") for source in sources]
    inline = {each: source for each, source in zip(ids, sources, strict=True) if source.dataset_id is None}
    with naming(database, files, FileKind.DATASET, [*inline]):
        kept = [keep(files, dataset_id, None, source.rows.dataset) for dataset_id, source in inline.items()]
        with database.write() as connection:
            for values, written in kept:
                datasets.add_dataset(connection, values, written)
            job = _store(connection, checked, document, ids)
            if record is not None:
                record(connection, job)
    return job


def _store(connection: sa.Connection, checked: Checked, document: dict[str, Any], dataset_ids: list[str]) -> Job:
    """Add the rows of the model and the job; raises MissingError if something was deleted since it was looked up."""
    name = checked.definition.name
    if checked.defines:
        models.define_model(connection, checked.definition)
    versions.require_model(connection, name)
    for dataset_id in dataset_ids:
        datasets.find_dataset(connection, dataset_id)
    if document["start_from"] is not None:
        checkpoints.find_checkpoint(connection, document["start_from"])
    return lifecycle.create(
        connection,
        new_id("job"),
        model=name,
        request=document,
        dataset=dataset_ids[0],
        validation_dataset=dataset_ids[1] if checked.validation else None,
        definition=checked.definition.canonical(),
    )


def _document(checked: Checked) -> dict[str, Any]:
    """The request as the job keeps and shows it: with what its model adds, and without rows."""
    body, request, definition = checked.body, checked.request, checked.definition
    rules = {"optimizer": request.optimizer or definition.optimizer, "loss": request.loss or definition.loss}
    document = {
        **body,
        "class_weights": definition.class_weights if request.class_weights is None else body["class_weights"],
        "model": definition.name,
        "data": checked.data.document(),
        "validation": checked.validation.document() if checked.validation else body["validation"],
        "optimizer": optimizer_field().serialize("optimizer", rules),
        "loss": loss_field().serialize("loss", rules),
        "early_stopping": None if request.early_stopping is None else asdict(request.early_stopping),
    }
    del document["dry_run"]
    return document
