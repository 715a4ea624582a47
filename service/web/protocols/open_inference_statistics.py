"""Triton's extension of the Open Inference Protocol for statistics.

https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_statistics.md
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from flask import Response

from models.identifiers import qualified
from models.registry.availability import availability
from models.registry.published import default_versions
from models.registry.versions import resolve
from service.web.context import context
from service.web.json_bodies import json_response
from service.web.openapi import Resource
from service.web.protocols.protocol_errors import SHAPES as ERRORS
from service.web.protocols.protocol_errors import refusals
from service.web.protocols.tensor_shapes import SHAPES
from service.web.protocols.version_texts import wanted_of
from service.web.request_metrics import Served

__all__ = ["routes"]


routes = Resource(
    "inference statistics",
    __name__,
    description="Triton's statistics extension of the Open Inference Protocol.",
    shapes={**SHAPES, **ERRORS},
)


@routes.route("/v2/models/stats", methods=["GET"])
@routes.response(200, "InferenceStatistics")
@routes.doc(responses=refusals(401, 403))
def list_inference_statistics() -> Response:
    """Report what all workers have served of all models since the service was started, in all protocols.

    Versions that nothing was asked of are left out.
    """
    with context().database.read() as connection:
        names = [found.model for found in default_versions(connection)]
    served = _served(names)
    return _answer(
        _statistics(name, version, served[name][version]) for name in names for version in _ordered(served[name])
    )


@routes.route("/v2/models/<name>/stats", methods=["GET"])
@routes.response(200, "InferenceStatistics")
@routes.doc(responses=refusals(401, 403, 404))
def show_model_statistics(name: str) -> Response:
    """Report what all workers have served of a model since the service was started, in all protocols.

    Versions that nothing was asked of are left out, except the newest ones.
    """
    with context().database.read() as connection:
        numbers = [str(each.version) for each in availability(connection, name)]
    served = _served([name])[name]
    return _answer(_statistics(name, version, served.get(version)) for version in _ordered({*numbers, *served}))


@routes.route("/v2/models/<name>/versions/<version>/stats", methods=["GET"])
@routes.response(200, "InferenceStatistics")
@routes.doc(responses=refusals(401, 403, 404))
def show_version_statistics(name: str, version: str) -> Response:
    """Report what all workers have served of a version since the service was started, by its number or an alias."""
    with context().database.read() as connection:
        number = str(resolve(connection, name, wanted_of(version)).version)
    return _answer([_statistics(name, number, _served([name])[name].get(number))])


def _served(names: Collection[str]) -> dict[str, dict[str, Served]]:
    """What was served of each model, by version."""
    parts = context()
    owner = parts.database.caller.owner
    parts.requests.drain()
    found = parts.requests.metrics.all_served({qualified(owner, name) for name in names})
    return {name: found.get(qualified(owner, name), {}) for name in names}


def _ordered(versions: Collection[str]) -> list[str]:
    """The versions by number, without what stands for others."""
    return sorted((version for version in versions if version.isdecimal()), key=int)


def _answer(found: Iterable[dict[str, Any]]) -> Response:
    return json_response({"model_stats": list(found)})


def _statistics(name: str, version: str, served: Served | None) -> dict[str, Any]:
    """The statistics of a version; nothing was served of it if they are None."""
    found = served or Served(0, 0, 0, 0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    phases = {
        "queue": found.queue,
        "compute_input": found.read,
        "compute_infer": found.infer,
        "compute_output": found.write,
    }
    return {
        "name": name,
        "version": version,
        "last_inference": round(found.last * 1000),
        "inference_count": found.rows,
        "execution_count": found.passes,
        "inference_stats": {
            "success": _counted(found.answered, sum(phases.values())),
            "fail": _counted(found.failed, found.refuse),
            **{phase: _counted(found.answered, seconds) for phase, seconds in phases.items()},
            # No answer is kept for a second request.
            "cache_hit": _counted(0, 0.0),
            "cache_miss": _counted(0, 0.0),
        },
        # Passes are not counted apart by their rows.
        "batch_stats": [],
    }


def _counted(count: int, seconds: float) -> dict[str, int]:
    return {"count": count, "ns": round(seconds * 1e9)}
