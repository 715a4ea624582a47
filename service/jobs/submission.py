"""Submission: a training request is checked, and stored as a queued job."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple

import sqlalchemy as sa

from models.data.given_size import require_size
from models.data.profile import TableWarning
from models.data.schemas import as_written
from models.definition.class_weights import weights_of_classes
from models.definition.definition import NETWORK, RULES, ModelDefinition, complete
from models.definition.ensemble import Ensemble
from models.definition.features import OpenFeatures
from models.definition.rules import loss_field, optimizer_field
from models.errors import InvalidError, MissingError, Problem, describe, near
from models.features.features import Ignored
from models.formats.checkpoint_file import load_checkpoint
from models.identifiers import new_id
from models.registry import checkpoints, datasets, models, versions
from models.training.dry_run import DryRun, dry_run
from models.training.folds import with_folds
from models.training.outlined import Outlined
from models.training.prepared import Prepared, PreparedData, monitor_of
from models.training.prepared_table import PreparedTable
from models.training.request import OF_ONE_NETWORK, TrainingRequest, filled, wants_one_network
from models.training.run import activation_bytes
from models.training.sweep_checkpoint import SweepCheckpoint
from models.training.warm_start import check_start
from models.training.warnings import matrix_warnings, table_warnings
from service.access.audit import Action, Subject, record
from service.access.limits import Limits
from service.access.usage import Usage, reserved_bytes
from service.jobs import lifecycle
from service.jobs.needs import Needs, Part, needs_of, parts_of
from service.jobs.record import Job
from service.settings import Settings
from service.store.database import Database
from service.store.files import FileKind, FileStore
from service.store.naming import naming
from service.store.request_rows import Source
from service.upkeep.inspection import local_path

__all__ = [
    "Checked",
    "Record",
    "check",
    "check_rows",
    "check_size",
    "document_of",
    "sources_of",
    "store",
    "submit",
]

#: Called in the transaction that stores a job, to store something else together with it.
Record = Callable[[sa.Connection, Job], None]


@dataclass(frozen=True)
class Checked:
    """A training request that a run can carry out.

    ``body`` is what was loaded, with what the data decide. ``definition`` is what the job trains; its features are not
    fitted yet. ``newest`` becomes the model's newest definition together with the job; None if it is that already.
    ``validation`` is None
    unless the request gives rows for it. Of ``prepared`` and ``outlined``, the first is for a matrix and the second for
    a table.
    """

    body: dict[str, Any]
    request: TrainingRequest
    definition: ModelDefinition
    newest: ModelDefinition | None
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
    def epochs(self) -> int:
        """The most epochs that the run trains, of all members together."""
        ensemble = self.definition.ensemble
        if isinstance(ensemble, Ensemble):
            return sum(kind.epochs for kind in ensemble.kinds) * ensemble.members_of_kind
        return self.request.epochs

    def varied(self, body: dict[str, Any], request: TrainingRequest, resolved: Resolved) -> Checked:
        """The check of another request for the same rows, whose network or rules differ.

        Raises InvalidError if what the network reads differs too.
        """
        definition = resolved.definition
        for name in ("name", "features", "classes", "dtype", "ensemble"):
            if getattr(definition, name) != getattr(self.definition, name):
                raise InvalidError.at(f"/model/{name}", "must be the same for all trials, which share their rows")
        class_weights = definition.class_weights if request.class_weights is None else request.class_weights
        weights_of_classes(class_weights, definition.classes)
        monitor_of(request, validated=self.validation_rows > 0)
        outlined, prepared = self.outlined, self.prepared
        if outlined is not None:
            definition = replace(definition, inputs=self.definition.inputs)
            outlined = replace(outlined, definition=replace(definition, inputs=outlined.definition.inputs))
        elif definition.inputs != self.definition.inputs:
            raise InvalidError.at("/model/inputs", "must be the same for all trials, which share their rows")
        else:
            prepared = replace(self._matrix, definition=definition)
        return replace(
            self, body=body, request=request, definition=definition, outlined=outlined, prepared=prepared, newest=None
        )

    @property
    def _matrix(self) -> PreparedData:
        assert self.prepared is not None
        return self.prepared

    @property
    def network(self) -> ModelDefinition:
        """The definition with the number of inputs that the network has, or nearly so if features are not fitted."""
        return self.outlined.definition if self.outlined else self.definition

    @property
    def parts(self) -> list[Part]:
        """The networks that the run trains."""
        features = self.definition.features
        columns = len(features) if self.outlined is not None and isinstance(features, tuple) else None
        return parts_of(self.network, self.request, self.training_rows, self.validation_rows, columns)

    def needs(self, settings: Settings) -> Needs:
        """What the run takes at most."""
        return needs_of(self.request, self.parts, settings.job_processes)

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


def check(
    database: Database, files: FileStore, settings: Settings, body: dict[str, Any], limits: Limits | None = None
) -> Checked:
    """Check what ``TrainSchema`` has loaded against what is stored; nothing is written.

    Raises InvalidError if no run can carry it out, or if it is beyond the limits, those of the settings if left out;
    and MissingError for an unknown model.
    """
    limits = limits or Limits.of(settings)
    try:
        data, validation = sources_of(database, files, body, limits)
        checked = check_rows(database, files, settings, body, data, validation, limits=limits)
        needs = checked.needs(settings)
        limits.require_training(needs.memory, needs.work, "/model", "/epochs")
    except InvalidError as error:
        raise as_written(error, body, "data", "validation") from None
    return checked


def sources_of(
    database: Database, files: FileStore, body: dict[str, Any], limits: Limits
) -> tuple[Source, Source | None]:
    """The training rows of a body that ``TrainSchema`` has loaded, and the validation rows if it gives them apart."""
    validation = None
    for name in ("data", "validation"):
        require_size(body[name] or {}, limits.dataset_size, f"/{name}")
    data = Source(database, files, body["data"], "/data")
    if body["validation"] and "fraction" not in body["validation"]:
        validation = Source(database, files, body["validation"], "/validation")
    return data, validation


def check_rows(
    database: Database,
    files: FileStore,
    settings: Settings,
    body: dict[str, Any],
    data: Source,
    validation: Source | None,
    like: Checked | None = None,
    *,
    limits: Limits,
) -> Checked:
    """Check a request as ``check`` does, whose rows are known; ``like`` is the check of one with the same rows."""
    model = body["model"] or _model_of_dataset(database, data)
    resolved = _resolve(database, model, data, body)
    body = _filled(body, resolved.definition, data.rows, open_network=resolved.open_network)
    request, definition = TrainingRequest.of(body), resolved.definition
    if request.folds is not None:
        definition = _folded(definition, request, data)
    if like is not None:
        checked = like.varied(body, request, resolved)
    else:
        checked = _check_data(body, request, definition, resolved, data, validation)
    network = checked.network
    needed, limit = _activation_bytes(network, request, checked.training_rows), settings.max_batch_bytes
    if needed > limit:
        raise InvalidError.at(
            "/batch_size", f"must be smaller: one batch of this model takes {needed} bytes, and {limit} are allowed"
        )
    if isinstance(model, dict) or checked.outlined is not None:
        check_size(network, limits, model if isinstance(model, dict) else {}, "/model")
    _check_start(database, files, body["start_from"], definition, request.reinitialize)
    return checked


def _filled(body: dict[str, Any], definition: ModelDefinition, rows: int, *, open_network: bool) -> dict[str, Any]:
    """A request with its epochs and batch size; the members of a model of several networks have their own.

    Raises InvalidError for what is part of these.
    """
    if body["effort"] is not None and (definition.ensemble is None or definition.ensemble.recipe is None):
        raise InvalidError.at("/effort", 'is for a network that is "auto"; that of this model is given in full')
    if definition.ensemble is None:
        return filled(body, rows, open_network=open_network)
    wrong = [name for name in OF_ONE_NETWORK if body[name] is not None]
    wrong += ["publish"] if body["publish"] == "best" else []
    wrong += [] if body["shuffle"] else ["shuffle"]
    if wrong:
        detail = "is decided by the members of the model's network; leave it out, or give the model layers or hidden"
        raise InvalidError.of([Problem(f"/{name}", detail) for name in wrong])
    return body


def _folded(definition: ModelDefinition, request: TrainingRequest, data: Source) -> ModelDefinition:
    """The definition with the folds of a request; the column of groups is no feature."""
    definition = with_folds(definition, request)
    group = request.folds.group if request.folds is not None else None
    if group is None:
        return definition
    if data.details is None or not isinstance(definition.features, tuple):
        raise InvalidError.at("/folds/group", "is for tables, whose columns have names")
    names = [column.name for column in data.details.columns]
    if group not in names:
        detail = f"must name a column{near(group, names)}. Received: {describe(group)}"
        raise InvalidError.at("/folds/group", detail)
    features = tuple(
        Ignored(each.column, "its values are the groups of the folds") if each.column == group else each
        for each in definition.features
    )
    return replace(definition, features=features)


def _activation_bytes(network: ModelDefinition, request: TrainingRequest, rows: int) -> int:
    """Memory of one batch: that of the largest member, if there are several."""
    if network.ensemble is None:
        return activation_bytes(network, request.batch_rows(rows))
    assert isinstance(network.ensemble, Ensemble)
    return max(
        activation_bytes(network.of_kind(kind), rows if kind.batch_size == "full" else min(kind.batch_size, rows))
        for kind in network.ensemble.kinds
    )


def _check_data(
    body: dict[str, Any],
    request: TrainingRequest,
    definition: ModelDefinition,
    resolved: Resolved,
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
        warnings = tuple(matrix_warnings(prepared.definition, prepared))
        return Checked(body, request, prepared.definition, resolved.newest, data, validation, prepared, None, warnings)
    assert isinstance(definition.features, tuple)
    data.as_table(definition.features)
    outline, other = data.outline(), None
    if validation is not None:
        validation.as_table(definition.features)
        other = validation.outline()
    outlined = Outlined.of(definition, request, outline, other)
    found = tuple(table_warnings(definition, outline))
    return Checked(body, request, definition, resolved.newest, data, validation, None, outlined, found)


def check_size(definition: ModelDefinition, limits: Limits, given: dict[str, Any], pointer: str) -> None:
    """Raise InvalidError if a model is larger than its limits; ``given`` is what the definition came from."""
    place = next((name for name in ("hidden", "network") if name in given), "layers")
    stacks = [definition.layers]
    if isinstance(definition.ensemble, Ensemble):
        stacks = [kind.layers for kind in definition.ensemble.kinds]
    found = {
        "layers": max(map(len, stacks)),
        "units": max((getattr(layer, "units", 0) for stack in stacks for layer in stack), default=0),
        "parameters": definition.parameter_count,
    }
    limits.require_network(found, f"{pointer}/{place}")


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


class Resolved(NamedTuple):
    """The definition to train, with the features and members that the data decide.

    ``newest`` is it if it is not the model's newest definition already. ``open_network`` says that the service chose a
    single network.
    """

    definition: ModelDefinition
    newest: ModelDefinition | None
    open_network: bool


def _resolve(database: Database, model: Any, data: Source, body: dict[str, Any]) -> Resolved:
    """The definition to train: the model's newest one, or the one that is given here."""
    rows = _training_rows(data, body)
    if isinstance(model, str):
        with database.read() as connection:
            known = models.find_model(connection, model).definition
        definition = _for_data(known, data, rows).by_recipe(rows, body["effort"])
        return Resolved(definition, None if definition == known else definition, open_network=False)
    left_open = not NETWORK & model.keys()
    alone = left_open and (wants_one_network(body) or "inputs" in model or bool(RULES & model.keys()))
    matrix = data.matrix is not None and not data.named and "features" not in model
    inputs = (
        data.matrix.dataset.inputs.shape[1] if data.matrix is not None and matrix and _plain(model, alone) else None
    )
    classes = data.matrix.dataset.labels.classes if data.matrix is not None else data.outline().classes
    try:
        given = ModelDefinition.load(complete(model, inputs, classes))
        given = given.for_rows(rows) if alone else given
        definition = _for_data(given, data, rows).by_recipe(rows, body["effort"])
    except InvalidError as error:
        raise error.moved("", "/model") from None
    return Resolved(definition, definition, open_network=alone)


def _plain(model: dict[str, Any], alone: bool) -> bool:
    """Whether a network of a definition reads rows of numbers as they are, if their columns have no names."""
    return alone or bool({"layers", "hidden"} & model.keys())


def _training_rows(data: Source, body: dict[str, Any]) -> int:
    """The number of rows that a recipe counts: those that are not held out for validation."""
    fraction: float = (body["validation"] or {}).get("fraction", 0.0)
    return max(1, round(data.rows * (1.0 - fraction)))


def _for_data(definition: ModelDefinition, data: Source, rows: int) -> ModelDefinition:
    """A definition with the features or inputs that data with so many training rows decides, if it leaves them open."""
    if data.matrix is not None and not data.named and (definition.ensemble is None or definition.features is None):
        if definition.features == OpenFeatures({}):
            return replace(definition, features=None, inputs=data.matrix.dataset.inputs.shape[1])
        if isinstance(definition.features, OpenFeatures):
            raise InvalidError.at("/features", "needs columns with names, and the rows of this request have none")
        return definition
    if isinstance(definition.features, OpenFeatures):
        data.name_columns()
    else:
        data.as_table(definition.features or ())
    outline = data.outline()
    return definition.for_table(outline.details.columns, outline.label, outline.details.weight, rows)


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
            raise InvalidError.at(f"/reinitialize/{index}", f"must be one of {known}. Received: {describe(group)}")
    if checkpoint_id is None:
        return
    try:
        with database.read() as connection:
            checkpoints.find_checkpoint(connection, checkpoint_id)
    except MissingError as error:
        raise InvalidError.at("/start_from", error.detail) from None
    found = load_checkpoint(local_path(database, files, FileKind.CHECKPOINT, checkpoint_id))
    if isinstance(found, SweepCheckpoint):
        raise InvalidError.at("/start_from", "must be of one network; this one is of a sweep that had not ended")
    start = found.definition
    if start.ensemble is not None or definition.ensemble is not None:
        whose = (
            "the checkpoint's model"
            if start.ensemble is not None
            else f"{describe(definition.name)}, with these folds,"
        )
        raise InvalidError.at("/start_from", f"must be of a model with one network, for one; {whose} has several")
    check_start(start, definition, reinitialize)


def submit(
    database: Database,
    files: FileStore,
    settings: Settings,
    body: dict[str, Any],
    also: Record | None = None,
    limits: Limits | None = None,
) -> Job:
    """Check what ``TrainSchema`` has loaded, and store it as a queued job.

    Inline rows are written first, then everything else in one transaction, in which ``also`` is called last. Raises
    what ``check`` raises, and MissingError if something was deleted in the meantime.
    """
    limits = limits or Limits.of(settings)
    checked = check(database, files, settings, body, limits)
    return store(database, files, checked, checked.needs(settings), limits, document_of(checked), checked.epochs, also)


def store(
    database: Database,
    files: FileStore,
    checked: Checked,
    needs: Needs,
    limits: Limits,
    document: dict[str, Any],
    epochs: int,
    also: Record | None = None,
) -> Job:
    """Store a job with the rows and the model of a request; ``document`` and ``epochs`` are those that it shows.

    Raises LowStorageError if what it ``needs`` on the disk, beside what other jobs may still take, would take what is
    kept for running jobs; and QuotaError if it is one job, model or byte more than there may be.
    """
    running = None if limits.running_jobs == database.settings.max_running_jobs else limits.running_jobs
    sources = [source for source in (checked.data, checked.validation) if source is not None]
    ids = [source.dataset_id or new_id("ds") for source in sources]
    inline = {each: source for each, source in zip(ids, sources, strict=True) if source.dataset_id is None}
    rows = sum(source.predicted_bytes for source in inline.values())
    with database.read() as connection:
        _require_quota(connection, checked, needs, limits)
        files.disk.require_room_for_job(needs.stored + rows, reserved_bytes(connection))
    with naming(database, files, FileKind.DATASET, [*inline]):
        kept = [source.keep(files, dataset_id) for dataset_id, source in inline.items()]
        with database.write() as connection:
            _require_quota(connection, checked, needs, limits)
            files.disk.require_room_for_job(needs.stored, reserved_bytes(connection))
            for values, written in kept:
                datasets.add_dataset(connection, values, written)
            job = _store(connection, checked, document, epochs, ids, running, needs.stored)
            if also is not None:
                also(connection, job)
    return job


def _require_quota(connection: sa.Connection, checked: Checked, needs: Needs, limits: Limits) -> None:
    used = Usage(connection)
    limits.require_job(used, needs.stored)
    if checked.newest is not None and not models.exists(connection, checked.definition.name):
        limits.require_model(used)


def _store(
    connection: sa.Connection,
    checked: Checked,
    document: dict[str, Any],
    epochs: int,
    dataset_ids: list[str],
    running_limit: int | None,
    reserved: int,
) -> Job:
    """Add the rows of the model and the job; raises MissingError if something was deleted since it was looked up."""
    name = checked.definition.name
    if checked.newest is not None:
        models.define_model(connection, checked.newest)
        record(connection, Action.MADE, Subject.MODEL, name)
    versions.require_model(connection, name)
    for dataset_id in dataset_ids:
        datasets.find_dataset(connection, dataset_id)
    if document.get("start_from") is not None:
        checkpoints.find_checkpoint(connection, document["start_from"])
    job_id = new_id("job")
    record(connection, Action.MADE, Subject.JOB, job_id)
    return lifecycle.create(
        connection,
        job_id,
        model=name,
        request=document,
        dataset=dataset_ids[0],
        validation_dataset=dataset_ids[1] if checked.validation else None,
        definition=checked.definition.canonical(),
        epochs=epochs,
        warnings=[warning.document() for warning in checked.warnings],
        running_limit=running_limit,
        reserved_bytes=reserved,
    )


def document_of(checked: Checked) -> dict[str, Any]:
    """The request as the job keeps and shows it: with what its model adds, and without rows."""
    body, request, definition = checked.body, checked.request, checked.definition
    rules: dict[str, Any] = {
        "optimizer": request.optimizer or definition.optimizer,
        "loss": request.loss or definition.loss,
    }
    if definition.ensemble is not None and request.folds is None:
        rules = {"optimizer": None, "loss": None}
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
