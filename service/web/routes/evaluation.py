"""The evaluation route: metrics of a published version on labelled rows."""

from __future__ import annotations

from typing import Any

from flask import Response

from models.data.schemas import as_written
from models.errors import InvalidError
from models.serving.evaluation import EvaluateSchema, evaluation_bytes, evaluation_document
from service.serving.inference import RowOverflowError, infer, require_top_k
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
    data = Source(parts.database, parts.files, body["data"], "/data").rows
    codes = data.codes_for(version.network.definition)
    needed, limit = evaluation_bytes(len(codes), len(classes)), parts.settings.max_batch_bytes
    if needed > limit:
        detail = f"must have fewer rows: evaluating these takes {needed} bytes; the limit is {limit}"
        raise InvalidError.at(data.inputs_pointer, detail)
    try:
        prediction = infer(version, data.dataset.inputs)
    except RowOverflowError as error:
        raise data.refusal(error.row, error.reason) from None
    document = evaluation_document(prediction.probabilities, codes, classes, top_k)
    return {"model": prediction.model, "version": prediction.version, **document}
