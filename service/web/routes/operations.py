"""Routes for operators: health, metrics, version."""

from __future__ import annotations

import platform

import h5py
import numpy as np
from flask import Response

from models.version import VERSION
from service.web.context import context
from service.web.errors import problem
from service.web.json_bodies import json_response
from service.web.openapi import Resource
from service.web.readiness import readiness, trainer_is_up
from service.web.service_metrics import exposition

__all__ = ["routes"]


routes = Resource("operations", __name__, description="Health, metrics and version of the service.")


@routes.route("/health/live", methods=["GET"])
@routes.response(200, {"type": "object", "properties": {"status": {"const": "live"}}})
@routes.doc(security=[])
def check_live() -> Response:
    """Check that the web process responds."""
    return json_response({"status": "live"})


@routes.route("/health/ready", methods=["GET"])
@routes.response(200, "Readiness")
@routes.doc(
    security=[],
    responses={
        "503": {
            "description": "Not ready; the problem document has the state of each part.",
            "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/NotReady"}}},
        }
    },
)
def check_ready() -> Response:
    """Check that the service can predict and accept jobs.

    An absent trainer is reported, but the service is still ready: jobs wait until a trainer starts. So is a disk with
    less space than is kept for running jobs (`low`), on which uploads, large bodies and new jobs are refused.
    """
    state, wrong = readiness()
    if not wrong:
        return json_response({"status": "ready", **state})
    return problem(503, "not_ready", "; ".join(wrong), headers={"Retry-After": "1"}, **state)


@routes.route("/version", methods=["GET"])
@routes.response(200, {"type": "object"})
def show_service_version() -> Response:
    """Show the versions of the service and its libraries."""
    return json_response(
        {
            "trainyard": VERSION,
            "nncore": VERSION,
            "python": platform.python_version(),
            "numpy": np.__version__,
            "h5py": h5py.__version__,
            "hdf5": h5py.version.hdf5_version,
        }
    )


@routes.route("/metrics", methods=["GET"])
@routes.response(200, {"type": "string"}, content_type="text/plain")
def report_metrics() -> Response:
    """Report metrics in the text format of Prometheus."""
    content = exposition(context(), trainer_is_up)
    return Response(content, content_type="text/plain; version=0.0.4; charset=utf-8")
