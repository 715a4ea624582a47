"""The evaluation route: metrics of a published version on labelled rows."""

from __future__ import annotations

from typing import Any

from flask import Response

from models.errors import InvalidError
from models.serving.evaluation import EvaluateSchema, evaluation_bytes, evaluation_document
from service.serving.resolution import version_to_serve
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
    parts, top_k = context(), body["top_k"]
    version, served = version_to_serve(parts, body["model"], body["version"])
    if top_k is not None:
        served.require_top_k(top_k)
    data = Source(body["data"], "/data").rows
    codes = data.codes_for(served.definition)
    needed, limit = evaluation_bytes(len(codes), len(served.classes)), parts.settings.max_batch_bytes
    if needed > limit:
        detail = f"must have fewer rows: evaluating these takes {needed} bytes; the limit is {limit}"
        raise InvalidError.at(data.inputs_pointer, detail)
    probabilities = served.predict_proba(data.dataset.inputs)
    overflow = served.overflow(probabilities)
    if overflow is not None:
        raise data.fault(*overflow)
    document = evaluation_document(probabilities, codes, served.classes, top_k)
    return json_response({"model": body["model"], "version": version, **document})
