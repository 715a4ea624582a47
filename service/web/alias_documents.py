"""How the API shows aliases: the versions that they name, with the metrics of each and what it has served."""

from __future__ import annotations

from typing import Any

from models.identifiers import qualified
from models.registry import versions
from models.registry.traffic import Traffic
from service.web.context import Context
from service.web.request_metrics import Served
from service.web.shadow_metrics import Shadowing
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
_SHARE = {"type": ["number", "null"], "minimum": 0, "maximum": 1}
_OF_SHADOW = {
    "metrics": _OF_VERSION["metrics"],
    "predicted": described(
        "What became of the requests since the service started.",
        requests={"type": "integer", "description": "Requests that the shadow has predicted."},
        dropped={"type": "integer", "description": "Requests that came while too many waited, or were too large."},
        failed={"type": "integer", "description": "Requests that the shadow could not predict."},
        unlogged={"type": "integer", "description": "Requests that it has predicted, but whose rows found no room."},
        rows={"type": "integer"},
        agreement={**_SHARE, "description": "Share of the rows with the same most probable class; null before any."},
        difference={**_SHARE, "description": "Mean of |p - q| over these rows and their classes; null before any."},
    ),
    "log_bytes": {"type": "integer", "description": "Size of `GET /models/{name}/aliases/{alias}/shadow`."},
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
                    tuple(_OF_SHADOW),
                    version={"type": "integer"},
                    share={**NUMBER, "description": "Share of the requests that it predicts."},
                    log={"type": "boolean", "description": "Whether rows are kept with what both versions predict."},
                    **_OF_SHADOW,
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
        number = versions.require_model(connection, model)
        metrics = {each: versions.resolve(connection, model, each).metrics for each in traffic.numbers}
    parts.requests.drain()
    counted, name = parts.requests.metrics, qualified(parts.database.caller.owner, model)
    served = counted.served(name)
    for each in document["versions"]:
        each["metrics"] = metrics[each["version"]]
        each["served"] = _served(served.get(str(each["version"])))
    if traffic.shadow is not None:
        document["shadow"] |= {
            "metrics": metrics[traffic.shadow.version],
            "predicted": _predicted(counted.shadows.of(name, alias, traffic.shadow.version)),
            "log_bytes": parts.files.shadows.size(number, alias),
        }
    return document


def _predicted(found: Shadowing) -> dict[str, Any]:
    return {
        "requests": found.predicted,
        "dropped": found.dropped,
        "failed": found.failed,
        "unlogged": found.unlogged,
        "rows": found.rows,
        "agreement": found.agreeing / found.rows if found.rows else None,
        "difference": found.difference / found.rows if found.rows else None,
    }


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
