"""Submission: a training request is checked, and stored as a queued job."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import sqlalchemy as sa

from models.data.profile import TableWarning
from models.data.schemas import as_written
from models.definition.definition import NETWORK, ModelDefinition, complete, loss_field, optimizer_field
from models.definition.features import OpenFeatures
from models.errors import InvalidError, MissingError
from models.formats.checkpoint_file import load_checkpoint
from models.identifiers import new_id
from models.registry import checkpoints, datasets, models, versions
from models.training.dry_run import DryRun, dry_run
from models.training.outlined import Outlined
from models.training.prepared import Prepared, PreparedData
from models.training.prepared_table import PreparedTable
from models.training.request import TrainingRequest, filled
from models.training.run import activation_bytes
from models.training.warm_start import check_start
from models.training.warnings import matrix_warnings, table_warnings
from service.jobs import lifecycle
from service.jobs.record import Job
from service.settings import Settings
from service.store.database import Database
from service.store.files import FileKind, FileStore
from service.store.naming import naming
from service.store.request_rows import Source

__all__ = ["Checked", "Record", "check", "check_size", "submit"]

#: Called in the transaction that stores a job, to store something else together with it.
Record = Callable[[sa.Connection, Job], None]


@dataclass(frozen=True)
class Checked:
    """A training request that a run can carry out.

    ``body`` is what was loaded, with what the data decide. ``definition`` is what the job trains; its features are not
    fitted yet. ``defines`` says that it becomes the model's newest one together with the job. ``validation`` is None
    unless the request gives rows for it. Of ``prepared`` and ``outlined``, the first is for a matrix and the second for
    a table.
    """

    body: dict[str, Any]
    request: TrainingRequest
    definition: ModelDefinition
    defines: bool
    data: Source
    validation: Source | None
    prepared: PreparedData | None
    outlined: Outlined | None
    warnings: tuple[TableWarning, ...]

    @property
    def training_rows(self) -> int:
        """The number of training rows."""
        return self.outlined.training_rows if self.outlined else len(self._matrix.rows)

    @property
    def validation_rows(self) -> int:
        """The number of validation rows."""
        return self.outlined.validation_rows if self.outlined else self._matrix.validation_rows

    @property
    def _matrix(self) -> PreparedData:
        assert self.prepared is not None
        return self.prepared

    @property
    def network(self) -> ModelDefinition:
        """The definition with the number of inputs that the network has, or nearly so if features are not fitted."""
        return self.outlined.definition if self.outlined else self.definition

    def measure(self) -> DryRun:
        """What the run would take."""
        rows = self.training_rows, self.validation_rows
        if self.outlined is None:
            return dry_run(self.definition, self.request, *rows, self._matrix.first, self.warnings)
        definition, fitted = self.outlined.definition, self.outlined.fitted
        with self.data.table() as table:

            def first(count: int) -> Prepared:
                return PreparedTable.first(definition, table, fitted, count)

            return dry_run(definition, self.request, *rows, first, self.warnings)


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
    body = filled(body, data.rows)
    request = TrainingRequest.of(body)
    model = body["model"] or _model_of_dataset(database, data)
    given, validation = body["validation"], None
    if given and "fraction" not in given:
        validation = Source(database, files, given, "/validation")
    definition, defines = _resolve_definition(database, model, data)
    checked = _check_data(body, request, definition, defines, data, validation)
    network = checked.network
    needed, limit = activation_bytes(network, request.batch_rows(checked.training_rows)), settings.max_batch_bytes
    if needed > limit:
        raise InvalidError.at(
            "/batch_size", f"must be smaller: one batch of this model takes {needed} bytes, and {limit} are allowed"
        )
    if isinstance(model, dict) or checked.outlined is not None:
        check_size(network, settings.max_parameters, model if isinstance(model, dict) else {}, "/model")
    _check_start(database, files, body["start_from"], definition, request.reinitialize)
    return checked


def _check_data(
    body: dict[str, Any],
    request: TrainingRequest,
    definition: ModelDefinition,
    defines: bool,
    data: Source,
    validation: Source | None,
) -> Checked:
    """Check the rows against the definition that was resolved for them."""
    if definition.features is None:
        assert data.matrix is not None
        if validation is not None and validation.matrix is None:
            raise InvalidError.at(validation.place.name, "must be rows of numbers as the training rows are")
        given = None if validation is None else validation.matrix
        prepared = PreparedData.of(definition, request, data.matrix, given)
        warnings = tuple(matrix_warnings(definition, prepared))
        return Checked(body, request, definition, defines, data, validation, prepared, None, warnings)
    assert isinstance(definition.features, tuple)
    data.as_table(definition.features)
    outline, other = data.outline(), None
    if validation is not None:
        validation.as_table(definition.features)
        other = validation.outline()
    outlined = Outlined.of(definition, request, outline, other)
    return Checked(
        body, request, definition, defines, data, validation, None, outlined, tuple(table_warnings(definition, outline))
    )


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


def _resolve_definition(database: Database, model: Any, data: Source) -> tuple[ModelDefinition, bool]:
    """The definition to train: the model's newest one or the one given here, with the features that the data decides.

    Returns too whether it differs from the newest one that is stored, or may differ.
    """
    if isinstance(model, str):
        with database.read() as connection:
            newest = models.find_model(connection, model).definition
        definition = _for_data(newest, data)
        return definition, definition != newest
    classes = data.matrix.dataset.labels.classes if data.matrix is not None else data.outline().classes
    inputs = data.matrix.dataset.inputs.shape[1] if data.matrix is not None and not data.named else None
    try:
        given = ModelDefinition.load(complete(model, inputs, classes))
        definition = _for_data(given if NETWORK & model.keys() else given.for_rows(data.rows), data)
    except InvalidError as error:
        raise error.moved("", "/model") from None
    return definition, True


def _for_data(definition: ModelDefinition, data: Source) -> ModelDefinition:
    """A definition with the features or inputs that the data decides, if it leaves them open."""
    if data.matrix is not None and not data.named:
        if definition.features == OpenFeatures({}):
            return replace(definition, features=None, inputs=data.matrix.dataset.inputs.shape[1])
        if isinstance(definition.features, OpenFeatures):
            raise InvalidError.at("/features", "needs columns with names, and the rows of this request have none")
        return definition
    data.as_table()
    outline = data.outline()
    return definition.for_table(outline.details.columns, outline.label, outline.details.weight)


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
        kept = [source.keep(files, dataset_id) for dataset_id, source in inline.items()]
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
        warnings=[warning.document() for warning in checked.warnings],
    )


def _document(checked: Checked) -> dict[str, Any]:
    """The request as the job keeps and shows it: with what its model adds, and without rows."""
    body, request, definition = checked.body, checked.request, checked.definition
    rules = {"optimizer": request.optimizer or definition.optimizer, "loss": request.loss or definition.loss}
    document = {
        **body,
        "class_weights": definition.class_weights if request.class_weights is None else body["class_weights"],
        "model": definition.name,
        "data": checked.data.document(checked.training_rows + (0 if checked.validation else checked.validation_rows)),
        "validation": body["validation"],
        "optimizer": optimizer_field().serialize("optimizer", rules),
        "loss": loss_field().serialize("loss", rules),
        "early_stopping": None if request.early_stopping is None else asdict(request.early_stopping),
    }
    if checked.validation is not None:
        document["validation"] = checked.validation.document(checked.validation_rows)
    del document["dry_run"]
    return document
