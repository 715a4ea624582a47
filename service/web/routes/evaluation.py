"""The evaluation route: metrics of a published version on labelled rows."""

from __future__ import annotations

from typing import Any

import numpy as np
from flask import Response

from models.data.schemas import as_written
from models.errors import InvalidError
from models.serving.evaluation import EvaluateSchema, evaluation_bytes, evaluation_document
from models.serving.served_model import ServedModel
from nncore.arrays import Array
from service.serving.inference import Prediction, RowOverflowError, infer, require_top_k
from service.serving.resolution import ServedVersion
from service.store.request_rows import Source
from service.web.context import context
from service.web.json_bodies import json_response
from service.web.openapi import Resource, refusals

__all__ = ["routes"]


routes = Resource("evaluation", __name__, description="How well a version classifies labelled rows.")


@routes.route("/evaluate", methods=["POST"])
@routes.arguments(EvaluateSchema)
@routes.response(200, "Evaluation")
@routes.doc(responses=refusals(400, 404, 409, 413))
def evaluate(body: dict[str, Any]) -> Response:
    """Evaluate a published version of a model on labelled rows.

    Nothing is stored.
    """
    try:
        return json_response(_evaluation(body))
    except InvalidError as error:
        raise as_written(error, body, "data") from None


def _evaluation(body: dict[str, Any]) -> dict[str, Any]:
    parts, top_k = context(), body["top_k"]
    version = parts.serving.version(body["model"], body["version"])
    classes = version.network.classes
    if top_k is not None:
        require_top_k(top_k, classes)
    source = Source(parts.database, parts.files, body["data"], "/data")
    codes, prediction = _predicted(version, source, parts.settings.max_batch_bytes)
    document = evaluation_document(prediction.probabilities, codes, classes, top_k)
    return {**prediction.source, **document}


def _predicted(version: ServedVersion, source: Source, limit: int) -> tuple[Array, Prediction]:
    """The class numbers of the rows that have a label, and their predictions."""
    network = version.network
    if network.plan is None and source.matrix is not None:
        data = source.matrix
        codes = data.codes_for(network.definition)
        _require_memory(len(codes), network, limit, data.inputs_pointer)
        try:
            return codes, infer(version, data.dataset.inputs)
        except RowOverflowError as error:
            raise data.refusal(error.row, error.reason) from None
    features = network.definition.features
    if not isinstance(features, tuple):
        raise InvalidError.at(source.place.name, "must be rows of numbers: the model was trained on no named columns")
    source.as_table(features)
    with source.table() as table:
        codes = table.codes_for(network.classes)
        rows = np.flatnonzero(codes >= 0)
        _require_memory(len(rows), network, limit, source.place.name)
        try:
            assert network.plan is not None
            inputs = network.plan.fitted.encode(table.table, rows, network.dtype).expanded()
            return codes[rows], infer(version, inputs)
        except InvalidError as error:
            raise source.place.moved(error) from None


def _require_memory(rows: int, network: ServedModel, limit: int, place: str) -> None:
    needed = evaluation_bytes(rows, len(network.classes))
    if needed > limit:
        detail = f"must have fewer rows: evaluating these takes {needed} bytes; the limit is {limit}"
        raise InvalidError.at(place, detail)
