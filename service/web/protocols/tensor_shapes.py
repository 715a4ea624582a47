"""The shapes of the Open Inference Protocol V2 in the OpenAPI document."""

from __future__ import annotations

from typing import Any

from service.web.protocols.tensors import DATATYPES
from service.web.shape_parts import described

__all__ = ["BINARY", "LENGTH_HEADER", "SHAPES"]

#: JSON and the raw bytes of tensors after it.
BINARY: dict[str, Any] = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
#: The header with the length of that JSON.
LENGTH_HEADER: dict[str, Any] = {
    "description": "The length of the JSON in bytes, if raw tensors follow it.",
    "schema": {"type": "integer", "minimum": 0},
}

_DATATYPE = {"type": "string", "enum": [*DATATYPES]}
_SHAPE = {"type": "array", "items": {"type": "integer", "minimum": 0}, "minItems": 1}
_PARAMETERS = {"type": ["object", "null"], "additionalProperties": True}
_ELEMENT: dict[str, Any] = {"type": ["number", "string", "boolean", "null"]}
_DATA = {"type": "array", "items": {"anyOf": [_ELEMENT, {"type": "array", "items": {}}]}}
_FORMS = {
    "type": "array",
    "items": described(
        "A tensor; a dimension of -1 is the number of rows.",
        name={"type": "string"},
        datatype=_DATATYPE,
        shape={"type": "array", "items": {"type": "integer", "minimum": -1}},
    ),
}
_TEXT = {"type": "string"}


def _with_parameters(description: str, **known: Any) -> dict[str, Any]:
    return {**_PARAMETERS, "description": description, "properties": known}


_INPUT = {
    **described(
        "A tensor with the values of all rows, or with those of one column.",
        ("parameters", "data"),
        name=_TEXT,
        shape=_SHAPE,
        datatype=_DATATYPE,
        parameters=_with_parameters(
            "Any names are allowed.",
            binary_data_size={
                "type": "integer",
                "minimum": 0,
                "description": "The bytes of the tensor after the JSON, if it has no `data`.",
            },
        ),
        data={"description": "The elements, in one list or in lists as `shape` says.", "anyOf": [_DATA, _TEXT]},
    ),
    "additionalProperties": False,
}
_WANTED = {
    **described(
        "An output that is wanted.",
        ("parameters",),
        name={"type": "string", "enum": ["probabilities", "predictions"]},
        parameters=_with_parameters(
            "Any names are allowed.",
            binary_data={"type": "boolean", "description": "Whether the output is raw bytes after the JSON."},
            classification={
                "type": "integer",
                "minimum": 0,
                "description": "How many of the most probable classes to answer, as `score:index:label`.",
            },
        ),
    ),
    "additionalProperties": False,
}
_OUTPUT = described(
    "A tensor.",
    ("parameters", "data"),
    name=_TEXT,
    datatype=_DATATYPE,
    shape=_SHAPE,
    parameters=described("If it is raw.", binary_data_size={"type": "integer", "minimum": 0}),
    data=_DATA,
)
_COUNTED = described(
    "How often, and how long in all.", count={"type": "integer", "minimum": 0}, ns={"type": "integer", "minimum": 0}
)
_PHASES = ("queue", "compute_input", "compute_infer", "compute_output", "cache_hit", "cache_miss")
_TIMES = {
    "type": "object",
    "description": "Requests, and the phases of those that were answered.",
    "properties": dict.fromkeys(("success", "fail", *_PHASES), _COUNTED),
    "required": ["success", "fail", *_PHASES],
}
_COLUMNS = [
    {"name": "petal_length", "shape": [2, 1], "datatype": "FP64", "data": [1.5, 4.9]},
    {"name": "petal_width", "shape": [2, 1], "datatype": "FP64", "data": [0.2, None]},
    {"name": "site", "shape": [2, 1], "datatype": "BYTES", "data": ["meadow", "wood"]},
]

SHAPES: dict[str, dict[str, Any]] = {
    "InferenceServer": described(
        "The server.", name=_TEXT, version=_TEXT, extensions={"type": "array", "items": _TEXT}
    ),
    "InferenceHealth": described(
        "Whether the server lives, and whether it can predict.",
        ("ready", "error"),
        live={"type": "boolean"},
        ready={"type": "boolean"},
        error=_TEXT,
    ),
    "InferenceModel": described(
        "A model, with the tensors of one of its versions.",
        name=_TEXT,
        versions={"type": "array", "items": _TEXT},
        platform={"const": "trainyard"},
        inputs=_FORMS,
        outputs=_FORMS,
    ),
    "InferenceModelReady": described(
        "Whether a version can predict.",
        ("error",),
        name=_TEXT,
        ready={"type": "boolean"},
        live={"type": "boolean"},
        error=_TEXT,
    ),
    "InferRequest": {
        **described(
            "Rows to classify, as tensors.",
            ("id", "model_name", "model_version", "parameters", "outputs"),
            id={"type": ["string", "null"], "description": "Returned in the answer."},
            model_name={"type": ["string", "null"], "description": "The address names the model."},
            model_version={"type": ["string", "null"], "description": "A version, if the address names none."},
            parameters=_with_parameters(
                "Any names are allowed.",
                binary_data_output={
                    "type": "boolean",
                    "description": "Whether outputs that do not say it themselves are raw bytes after the JSON.",
                },
            ),
            inputs={"type": "array", "items": _INPUT, "minItems": 1},
            outputs={"type": ["array", "null"], "items": _WANTED},
        ),
        "additionalProperties": False,
        "examples": [
            {"id": "1", "inputs": _COLUMNS},
            {
                "inputs": _COLUMNS,
                "outputs": [{"name": "probabilities", "parameters": {"classification": 2}}, {"name": "predictions"}],
            },
        ],
    },
    "InferResponse": described(
        "The answer.",
        ("id",),
        model_name=_TEXT,
        model_version=_TEXT,
        id=_TEXT,
        outputs={"type": "array", "items": _OUTPUT},
    ),
    "IndexRequest": {
        **described(
            "Which models are wanted.",
            ("ready",),
            ready={"type": "boolean", "description": "Whether those that cannot predict are left out."},
        ),
        "examples": [{}, {"ready": True}],
    },
    "IndexResponse": {
        "type": "array",
        "items": described(
            "A model with its default version.",
            ("version",),
            name=_TEXT,
            version=_TEXT,
            state={"enum": ["READY", "UNAVAILABLE"]},
            reason=_TEXT,
        ),
    },
    "LoadRequest": {**described("Nothing in it is read.", ("parameters",), parameters=_PARAMETERS), "examples": [{}]},
    "Loaded": described("Nothing else is to be said."),
    "InferenceStatistics": described(
        "What all workers have served since the service was started.",
        model_stats={
            "type": "array",
            "items": described(
                "A version.",
                name=_TEXT,
                version=_TEXT,
                last_inference={"type": "integer", "description": "Milliseconds since 1970."},
                inference_count={"type": "integer", "description": "Rows."},
                execution_count={"type": "integer", "description": "Passes through the network."},
                inference_stats=_TIMES,
                batch_stats={"type": "array", "items": {}, "maxItems": 0},
            ),
        },
    ),
}
