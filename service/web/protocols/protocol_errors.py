"""How the OpenAPI document shows the errors of other protocols, which have shapes of their own."""

from __future__ import annotations

import http
from typing import Any

__all__ = ["SHAPES", "not_ready", "refusals"]

SHAPES: dict[str, dict[str, Any]] = {
    "ProtocolError": {
        "type": "object",
        "description": "An error, as clients of the Open Inference Protocol and of TensorFlow Serving expect it.",
        "required": ["error"],
        "properties": {"error": {"type": "string"}},
    },
    "InvocationError": {
        "type": "object",
        "description": "An error, as clients of MLflow expect it.",
        "required": ["error_code", "message"],
        "properties": {
            "error_code": {"type": "string", "examples": ["BAD_REQUEST", "RESOURCE_DOES_NOT_EXIST"]},
            "message": {"type": "string"},
        },
    },
}


def refusals(*statuses: int, shape: str = "ProtocolError") -> dict[str, Any]:
    """The ``responses`` of a route's documentation for errors with these statuses."""
    content = {"application/json": {"schema": {"$ref": f"#/components/schemas/{shape}"}}}
    return {str(status): {"description": http.HTTPStatus(status).phrase, "content": content} for status in statuses}


def not_ready(shape: str, description: str) -> dict[str, Any]:
    """The documentation of an answer that says what is not ready, in a shape of its own, or an error."""
    shapes = [{"$ref": f"#/components/schemas/{name}"} for name in (shape, "ProtocolError")]
    return {"description": description, "content": {"application/json": {"schema": {"anyOf": shapes}}}}
