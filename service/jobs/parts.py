"""The rows that a job trained on or held out, and what a version was trained on."""

from __future__ import annotations

from contextlib import suppress
from typing import NamedTuple

import numpy as np

from models.data.rows import Array
from models.definition.definition import ModelDefinition
from models.errors import InvalidError, MissingError
from models.formats.checkpoint_file import CheckpointError, load_held_out, load_training_rows
from models.registry import checkpoints
from models.serving.evaluated_rows import Part
from models.training.ensemble_checkpoint import HeldOut
from models.training.prepared import split
from models.training.request import TrainingRequest
from service.jobs import lifecycle
from service.jobs.record import Job
from service.store.database import Database
from service.store.files import FileKind, FileStore
from service.store.request_rows import Source
from service.upkeep.inspection import intact_checkpoint, local_path

__all__ = ["JobPart", "TrainedOn", "part_of_job", "predicted_by_folds", "trained_on"]


class JobPart(NamedTuple):
    """Rows of a job: where they are, and which of them; all with a label if ``part`` is None."""

    source: Source
    part: Part | None


class TrainedOn(NamedTuple):
    """The rows that a checkpoint was trained on: their numbers in a dataset, and the label column if the job named it.

    ``dataset`` is None if the rows were deleted.
    """

    dataset: str | None
    label: str | None
    numbers: Array


def part_of_job(database: Database, files: FileStore, job_id: str, part: str, pointer: str) -> JobPart:
    """The ``training`` or ``validation`` rows of a job, for the request's part at ``pointer``.

    Raises InvalidError if there is no such job or if it has no validation rows, and MissingError if the rows were
    deleted.
    """
    with database.read() as connection:
        try:
            job = lifecycle.find(connection, job_id)
        except MissingError as error:
            raise InvalidError.at(f"{pointer}/job", error.detail) from None
    given = job.training["validation"]
    if part == "validation" and not given:
        raise InvalidError.at(f"{pointer}/part", f"must be training: job {job.id} has no validation rows")
    separate = bool(given) and "fraction" not in given
    if part == "validation" and separate:
        return JobPart(_source(database, files, job, job.validation_dataset, given.get("label"), pointer), None)
    source = _source(database, files, job, job.dataset, job.training["data"].get("label"), pointer)
    if not given or separate:
        return JobPart(source, None)
    numbers = _saved_rows(database, files, job)
    if numbers is None:
        numbers = _split_rows(source, job)
    return JobPart(source, Part(numbers, rest=part == "validation"))


def predicted_by_folds(database: Database, files: FileStore, job_id: str, checkpoint: str) -> HeldOut | None:
    """What members predicted of rows that they held out, by row, if the job made the checkpoint in folds; else None.

    Raises DamagedError, or CheckpointError if the file cannot be read.
    """
    try:
        with database.read() as connection:
            row = checkpoints.find_checkpoint(connection, checkpoint)
    except MissingError:
        return None
    if row.job != job_id:
        return None
    _, found = load_held_out(intact_checkpoint(database, files, checkpoint))
    if found is None or not len(found.rows):
        return None
    order = np.argsort(found.rows)
    return HeldOut(found.rows[order], found.codes[order], found.folds[order], found.probabilities[order])


def _source(
    database: Database, files: FileStore, job: Job, dataset: str | None, label: str | None, pointer: str
) -> Source:
    if dataset is not None:
        with suppress(InvalidError):  # The dataset was deleted since the job was found.
            given = {"dataset": dataset} | ({} if label is None else {"label": label})
            return Source(database, files, given, pointer)
    detail = "were deleted, as those within a request are when the job ends; upload them as a dataset to keep them"
    raise MissingError("not_found", f"the rows of job {job.id} {detail}")


def _saved_rows(database: Database, files: FileStore, job: Job) -> Array | None:
    """The numbers of the training rows by the job's newest readable checkpoint; None if it has none."""
    with database.read() as connection:
        rows = checkpoints.list_checkpoints(connection, 100, None, job=job.id)
    for row in rows:
        with suppress(CheckpointError):  # It is damaged, or was deleted since.
            numbers = load_training_rows(local_path(database, files, FileKind.CHECKPOINT, row.id))
            if numbers is not None:
                return numbers
    return None


def _split_rows(source: Source, job: Job) -> Array:
    """The numbers of the rows that a job will train on, which has saved nothing yet."""
    if job.definition is None:
        raise MissingError("not_found", f"it is not known which rows job {job.id} trained on")
    definition = ModelDefinition.parse(job.definition)
    if source.matrix is not None and definition.features is None:
        codes = source.matrix.codes_for(definition)
    else:
        source.as_table(definition.features if isinstance(definition.features, tuple) else ())
        with source.table() as table:
            codes = table.codes_for(definition.classes)
    labelled = np.flatnonzero(codes >= 0)
    rows, _ = split(codes[labelled], TrainingRequest.of(job.training))
    numbers: Array = np.sort(labelled[rows])
    return numbers


def trained_on(database: Database, files: FileStore, checkpoint: str) -> TrainedOn | None:
    """What a checkpoint was trained on by the job that made it; None if that is not known, as for imported ones."""
    try:
        with database.read() as connection:
            row = checkpoints.find_checkpoint(connection, checkpoint)
            if row.job is None:
                return None
            job = lifecycle.find(connection, row.job)
        numbers = load_training_rows(local_path(database, files, FileKind.CHECKPOINT, checkpoint))
    except (MissingError, CheckpointError):
        return None
    return None if numbers is None else TrainedOn(job.dataset, job.training["data"].get("label"), numbers)
