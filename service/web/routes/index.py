"""The route of the service's address itself."""

from __future__ import annotations

from flask import Response, redirect, request

from models.version import VERSION
from service.web.json_bodies import json_response
from service.web.openapi import Resource

__all__ = ["routes"]


routes = Resource("index", __name__, description="Where things are.")

#: What a client that has only the address may want first.
_LINKS = {
    "console": "/console/",
    "documentation": "/docs",
    "openapi": "/openapi.json",
    "models": "/models",
    "datasets": "/datasets",
    "jobs": "/jobs",
    "v2": "/v2",
    "v1": "/v1/models",
    "mlflow": "/invocations",
    "ready": "/health/ready",
}


@routes.route("/", methods=["GET"])
@routes.response(200, {"type": "object"})
@routes.doc(security=[], responses={"303": {"description": "A browser is led to the console."}})
def show_index() -> Response:
    """Show where the parts of the service are.

    A request that prefers `text/html`, as browsers do, is led to the console. `status` is `alive`, which clients of
    KServe's protocol V1 look for here.
    """
    if request.accept_mimetypes.best_match(["application/json", "text/html"]) == "text/html":
        return redirect("/console/", 303)  # type: ignore[return-value]
    return json_response({"trainyard": VERSION, "status": "alive", **_LINKS})
