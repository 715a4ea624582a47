"""The evaluation route: metrics of a version on labelled rows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from flask import Response, request

from models.data.rows import Array
from models.data.schemas import as_written
from models.errors import InvalidError, MissingError
from models.serving.asked import NOTHING, Asked
from models.serving.column_importance import importance_document, sampled_rows
from models.serving.evaluated_rows import EvaluatedMatrix, EvaluatedRows, EvaluatedTable, Part
from models.serving.evaluation import EvaluateSchema, evaluation_bytes, evaluation_document, sets_document
from models.serving.row_hashes import row_hashes
from models.serving.served_model import ServedModel
from models.training.ensemble_checkpoint import HeldOut
from service.jobs import lifecycle
from service.jobs.parts import TrainedOn, part_of_job, predicted_by_folds, trained_on
from service.serving.inference import Prediction, RowOverflowError, infer, require_asked, require_top_k
from service.serving.resolution import ServedVersion
from service.store.request_rows import Source
from service.upkeep.inspection import intact_dataset
from service.web.context import Context, context
from service.web.evaluated_cells import Cell
from service.web.json_bodies import json_response
from service.web.memory import held_by
from service.web.openapi import Resource, refusals
from service.web.stored_rows import hold_dataset, hold_named

__all__ = ["routes"]


routes = Resource("evaluation", __name__, description="How well a version classifies labelled rows.")

#: Rows of training data with which evaluated rows are compared by their values, if they are not of the same dataset.
COMPARED = 1_000_000


@routes.route("/evaluate", methods=["POST"])
@routes.arguments(EvaluateSchema)
@routes.response(200, "Evaluation")
@routes.doc(responses=refusals(404, 409))
def evaluate(body: dict[str, Any]) -> Response:
    """Evaluate a version of a model, or a checkpoint, on labelled rows.

    The rows are given as in training, or they are those that a job held out or trained on. `trained_on` says how many
    of them the version was trained on. A version that was trained in folds held out each of its rows once: for these
    (`"part": "validation"`) the answer is of the members that did not train on the row. Nothing is stored.
    """
    try:
        try:
            return json_response(_evaluation(body))
        except FileNotFoundError:
            # The dataset was deleted while it was opened: now it is not found. If its file alone is missing, this
            # raises again.
            return json_response(_evaluation(body))
    except InvalidError as error:
        if "job" in body["data"]:
            raise error.moved("/data/dataset", "/data/job") from None
        raise as_written(error, body, "data") from None


def _evaluation(body: dict[str, Any]) -> dict[str, Any]:
    parts, top_k, data = context(), body["top_k"], body["data"]
    version = parts.serving.steady(body["model"], body["version"])
    classes = version.network.classes
    if top_k is not None:
        require_top_k(top_k, classes)
    cell = None if body["rows"] is None else Cell.of(body["rows"], version.network)
    asked = NOTHING if body["coverage"] is None else Asked(body["coverage"], body["by_class"])
    require_asked(asked, version.network)
    part: Part | None = None
    folds: HeldOut | None = None
    if "job" in data:
        _hold_rows_of_job(data["job"])
        if data["part"] == "validation":
            folds = predicted_by_folds(parts.database, parts.files, data["job"], version.checkpoint)
        wanted = data["part"] if folds is None else "training"
        source, part = part_of_job(parts.database, parts.files, data["job"], wanted, "/data")
        part = part if folds is None else Part(folds.rows, rest=False)
    else:
        hold_named(data)
        plan = version.network.plan
        source = Source(parts.database, parts.files, data, "/data", {} if plan is None else plan.kinds)
    with _rows(source, version.network, part) as rows:
        sample = _Sample.of(version, rows) if body["importance"] else None
        if folds is None:
            prediction, known = _predicted(version, source, rows, asked, sample)
        else:
            prediction, known = _by_folds(version, folds, body), 0
        document = evaluation_document(prediction.probabilities, rows.codes, classes, top_k)
        found: dict[str, Any] = {} if folds is None else {"folds": len(np.unique(folds.folds))}
        if cell is not None:
            found["cell"] = cell.document(prediction, rows, held_by(request.environ))
        if prediction.sets is not None:
            coverage, by_class = body["coverage"], body["by_class"]
            found["sets"] = sets_document(prediction.sets, rows.codes, classes, coverage, by_class=by_class)
        if sample is not None:
            found["importance"] = sample.importance(version, rows)
    return {**prediction.source, **document, "trained_on": known, **found}


class _Sample:
    """Some of the evaluated rows as the network reads them; their columns are shuffled."""

    def __init__(self, places: Array, inputs: Array) -> None:
        self._places, self._inputs = places, inputs

    @classmethod
    def of(cls, version: ServedVersion, rows: EvaluatedRows) -> _Sample:
        """A sample that is empty yet; raises InvalidError if there are too many columns."""
        network = version.network
        places = sampled_rows(len(rows.codes), len(rows.columns), network.definition.inputs)
        return cls(places, np.empty((len(places), network.definition.inputs), network.dtype))

    def take(self, first: int, inputs: Array) -> None:
        """Take those rows of a piece that are of the sample; ``first`` is the place of the piece's first row."""
        start, stop = np.searchsorted(self._places, (first, first + len(inputs)))
        self._inputs[start:stop] = inputs[self._places[start:stop] - first]

    def importance(self, version: ServedVersion, rows: EvaluatedRows) -> dict[str, Any]:
        """The importance of each column."""
        widths, codes = version.network.widths, rows.codes[self._places]
        try:
            return importance_document(
                lambda inputs: infer(version, inputs).probabilities, self._inputs, codes, rows.columns, widths
            )
        except RowOverflowError as error:
            detail = f"cannot be found: with the values of a column shuffled, a row {error.reason}"
            raise InvalidError.at("/importance", detail) from None


@contextmanager
def _rows(source: Source, network: ServedModel, part: Part | None) -> Iterator[EvaluatedRows]:
    """The rows of an evaluation, open until the block ends; raises OSError if their file is damaged."""
    if source.dataset_id is not None:
        intact_dataset(context().database, context().files, source.dataset_id)
    matrix = source.matrix
    if network.plan is None and matrix is not None:
        yield EvaluatedMatrix(network, matrix, part)
        return
    came_from = None if matrix is None else matrix.dataset.came_from
    features = network.definition.features
    source.as_table(features if isinstance(features, tuple) else ())
    with source.table() as table:
        yield EvaluatedTable(network, table, part, came_from)


def _predicted(
    version: ServedVersion, source: Source, rows: EvaluatedRows, asked: Asked, sample: _Sample | None
) -> tuple[Prediction, int | None]:
    """The predictions of all rows, and how many of these the version was trained on; None if that is not known.

    The sample takes its rows from them.
    """
    network, parts = version.network, context()
    count = len(rows.codes)
    held = held_by(request.environ)
    needed = evaluation_bytes(count, len(network.classes)) + network.computing_bytes(count)
    limit = min(parts.settings.max_batch_bytes, held.memory.limit)
    if needed > limit:
        detail = f"must have fewer rows: evaluating these takes {needed} bytes; the limit is {limit}"
        raise InvalidError.at(rows.place, detail)
    held.add(needed)
    known = trained_on(parts.database, parts.files, version.checkpoint)
    same = known is not None and source.dataset_id is not None and known.dataset == source.dataset_id
    others = None if known is None or same else _hashes_of(parts, known, network)
    probabilities = np.empty((count, len(network.classes)), network.dtype)
    sets = None if asked.coverage is None else np.empty(probabilities.shape, bool)
    shared, done = 0, 0
    for inputs in rows.pieces():
        try:
            found = infer(version, inputs, asked)
        except RowOverflowError as error:
            raise rows.refusal(done + error.row, error.reason) from None
        stop = done + len(inputs)
        probabilities[done:stop] = found.probabilities
        if sets is not None:
            sets[done:stop] = found.sets
        if sample is not None:
            sample.take(done, inputs)
        if others is not None:
            hashes = row_hashes(inputs, rows.codes[done:stop], network.dtype)
            shared += int(np.isin(hashes, others).sum())
        done = stop
    prediction = Prediction(version.model, version.number, network.classes, probabilities, version.checkpoint, sets)
    if known is not None and same:
        return prediction, int(np.isin(rows.numbers, known.numbers).sum())
    return prediction, None if others is None else shared


def _by_folds(version: ServedVersion, folds: HeldOut, body: dict[str, Any]) -> Prediction:
    """The predictions by members that did not train on the rows, which have neither sets nor columns to shuffle."""
    for name in ("coverage", "importance"):
        if body[name]:
            detail = (
                "cannot be found for rows that are predicted fold by fold; evaluate other rows, or the training rows"
            )
            raise InvalidError.at(f"/{name}", detail)
    count, classes = folds.probabilities.shape
    held_by(request.environ).add(evaluation_bytes(count, classes))
    return Prediction(
        version.model, version.number, version.network.classes, folds.probabilities, version.checkpoint, None
    )


def _hold_rows_of_job(job_id: str) -> None:
    """Hold the datasets of a job's rows; a job that does not exist is refused later."""
    try:
        with context().database.read() as connection:
            job = lifecycle.find(connection, job_id)
    except MissingError:
        return
    for dataset in (job.dataset, job.validation_dataset):
        if dataset is not None:
            hold_dataset(dataset)


def _hashes_of(parts: Context, known: TrainedOn, network: ServedModel) -> Array | None:
    """Hashes of the rows that a version was trained on; None if they were deleted or are too many to compare."""
    if known.dataset is None or len(known.numbers) > COMPARED:
        return None
    part = {"dataset": known.dataset} | ({} if known.label is None else {"label": known.label})
    hold_dataset(known.dataset)
    try:
        source = Source(parts.database, parts.files, part, "/data")
        with _rows(source, network, Part(known.numbers, rest=False)) as rows:
            hashes, done = [], 0
            for inputs in rows.pieces():
                codes = rows.codes[done : done + len(inputs)]
                hashes.append(row_hashes(inputs, codes, network.dtype))
                done += len(inputs)
    except (InvalidError, MissingError, OSError):
        return None  # They were deleted or damaged since.
    return np.unique(np.concatenate(hashes))
