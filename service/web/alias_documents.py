"""How the API shows aliases: the versions that they name, with the metrics of each and what it has served."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from models.identifiers import qualified
from models.registry import versions
from models.registry.traffic import Traffic
from service.web.context import Context
from service.web.request_metrics import Served
from service.web.shape_parts import NUMBER, OPTIONAL_NUMBER, described

__all__ = ["ALIAS_SHAPES", "alias_document", "whole_alias"]

_SERVED = described(
    "What was served of a version since the service started.",
    requests={"type": "integer", "description": "Requests that it has answered."},
    failed={"type": "integer", "description": "Requests that it could not answer, for a fault of theirs too."},
    rows={"type": "integer"},
    mean_seconds={**OPTIONAL_NUMBER, "description": "Mean time of an answer, from body to body; null before any."},
)
_OF_VERSION = {
    "metrics": {"type": "object", "description": "Its metrics, as `GET /models/{name}/versions/{version}`."},
    "served": _SERVED,
}

#: The shapes of what this module returns.
ALIAS_SHAPES = {
    "Alias": described(
        "A name for a version, or for several that share the requests. Only `GET` of one has metrics.",
        model={"type": "string"},
        alias={"type": "string"},
        version={
            "type": ["integer", "null"],
            "description": "That with the greatest weight; null if there is none.",
        },
        versions={
            "type": "array",
            "items": described(
                "A version that answers its weight of the sum of all weights.",
                tuple(_OF_VERSION),
                version={"type": "integer"},
                weight=NUMBER,
                **_OF_VERSION,
            ),
        },
        shadow={
            "anyOf": [
                described(
                    "A version that predicts rows after another one has answered them.",
                    tuple(_OF_VERSION),
                    version={"type": "integer"},
                    share={**NUMBER, "description": "Share of the requests that it predicts."},
                    log={"type": "boolean", "description": "Whether rows are kept with what both versions predict."},
                    **_OF_VERSION,
                ),
                {"type": "null"},
            ]
        },
    ),
}


def alias_document(model: str, alias: str, traffic: Traffic | None) -> dict[str, Any]:
    """The document of an alias without metrics; ``traffic`` is None if it names no version yet."""
    if traffic is None:
        return {"model": model, "alias": alias, "version": None, "versions": [], "shadow": None}
    return {"model": model, "alias": alias, "version": traffic.main, **traffic.document()}


def whole_alias(parts: Context, model: str, alias: str) -> dict[str, Any]:
    """The document of an alias with the metrics of each version; raises MissingError."""
    with parts.database.read() as connection:
        traffic = versions.traffic(connection, model, alias)
        document = alias_document(model, alias, traffic)
        if traffic is None:
            return document
        metrics = _metrics(connection, model, traffic)
    parts.requests.drain()
    served = parts.requests.metrics.served(qualified(parts.database.caller.owner, model))
    shadow = [] if document["shadow"] is None else [document["shadow"]]
    for each in (*document["versions"], *shadow):
        each["metrics"] = metrics[each["version"]]
        each["served"] = _served(served.get(str(each["version"])))
    return document


def _metrics(connection: sa.Connection, model: str, traffic: Traffic) -> dict[int, Any]:
    return {number: versions.resolve(connection, model, number).metrics for number in traffic.numbers}


def _served(found: Served | None) -> dict[str, Any]:
    if found is None or not found.answered:
        return {"requests": 0, "failed": 0 if found is None else found.failed, "rows": 0, "mean_seconds": None}
    seconds = found.queue + found.read + found.infer + found.write
    return {
        "requests": found.answered,
        "failed": found.failed,
        "rows": found.rows,
        "mean_seconds": seconds / found.answered,
    }
