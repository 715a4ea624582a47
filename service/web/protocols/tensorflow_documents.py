"""Documents about models as TensorFlow Serving shows them, and the shapes of its requests and answers.

They are the JSON of the messages ``GetModelStatusResponse`` and ``GetModelMetadataResponse``
(https://github.com/tensorflow/serving/tree/master/tensorflow_serving/apis).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from models.data.columns import ColumnKind
from models.data.rows import MATRIX
from models.registry.availability import Availability
from models.serving.served_model import ServedModel
from service.serving.resolution import ServedVersion
from service.web.protocols.json_rows import INPUT
from service.web.shape_parts import described

__all__ = ["SHAPES", "SIGNATURES", "metadata_document", "status_document"]

#: The signatures of ``:predict``, and the output of each.
SIGNATURES = {"serving_default": "probabilities", "probabilities": "probabilities", "predictions": "predictions"}
_KINDS: dict[ColumnKind, str] = {
    "number": "DT_DOUBLE",
    "category": "DT_STRING",
    "boolean": "DT_BOOL",
    "datetime": "DT_STRING",
    "text": "DT_STRING",
}


def status_document(name: str, versions: Iterable[Availability]) -> dict[str, Any]:
    """The state of versions, the newest first, and with KServe's members whether the model is ready."""
    states = [_state(each) for each in versions]
    ready = any(state["state"] == "AVAILABLE" for state in states)
    return {"name": name, "ready": ready, "model_version_status": states}


def _state(version: Availability) -> dict[str, Any]:
    if version.fault is None:
        state, status = "AVAILABLE", {"error_code": "OK", "error_message": ""}
    else:
        message = f"the file of the version is at fault: {version.fault}"
        state, status = "END", {"error_code": "DATA_LOSS", "error_message": message}
    return {"version": str(version.version), "state": state, "status": status}


def metadata_document(version: ServedVersion) -> dict[str, Any]:
    """What a version takes and answers."""
    network = version.network
    outputs = {
        "probabilities": _tensor("probabilities", _number_type(network), -1, len(network.classes)),
        "predictions": _tensor("predictions", _label_type(network), -1),
    }
    inputs = _inputs(network)
    signatures = {
        name: {"inputs": inputs, "outputs": {output: outputs[output]}, "method_name": "tensorflow/serving/predict"}
        for name, output in SIGNATURES.items()
    }
    signatures["classify"] = {
        "inputs": {"inputs": _tensor("examples", "DT_STRING", -1)},
        "outputs": {
            "classes": _tensor("classes", "DT_STRING", -1, len(network.classes)),
            "scores": _tensor("scores", _number_type(network), -1, len(network.classes)),
        },
        "method_name": "tensorflow/serving/classify",
    }
    number = "" if version.number is None else str(version.number)
    return {
        "model_spec": {"name": version.model, "signature_name": "", "version": number},
        "metadata": {"signature_def": {"signature_def": signatures}},
    }


def _inputs(network: ServedModel) -> dict[str, Any]:
    if network.plan is None:
        return {INPUT: _tensor(INPUT, _number_type(network), -1, network.inputs)}
    return {name: _tensor(name, _KINDS[kind], -1) for name, kind in network.plan.kinds.items()}


def _number_type(network: ServedModel) -> str:
    return "DT_FLOAT" if network.dtype.itemsize == 4 else "DT_DOUBLE"


def _label_type(network: ServedModel) -> str:
    kinds = {type(label) for label in network.classes}
    return {bool: "DT_BOOL", int: "DT_INT64"}.get(kinds.pop(), "DT_STRING") if len(kinds) == 1 else "DT_STRING"


def _tensor(name: str, dtype: str, *sizes: int) -> dict[str, Any]:
    shape = {"dim": [{"size": str(size), "name": ""} for size in sizes], "unknown_rank": False}
    return {"dtype": dtype, "tensor_shape": shape, "name": f"{name}:0"}


_VALUE: dict[str, Any] = {
    "description": "A value of a column. Text may be an object with its base64; a value may stand in a list.",
    "anyOf": [
        {"type": ["number", "string", "boolean", "null"]},
        {"type": "object"},
        {"type": "array", "items": {}},
    ],
}
_ROWS: dict[str, Any] = {
    "description": "Rows: lists of numbers, or objects by column. The only input of a model without columns is "
    f"`{INPUT}`; if it takes one number, rows may be numbers.",
    "type": "array",
    "items": {},
    "minItems": 1,
}
_SIGNATURE = {
    "type": "string",
    "description": "`serving_default` answers probabilities in the order of the model's classes, `predictions` the "
    "likeliest class of each row.",
    "enum": [*SIGNATURES],
}
_PREDICTIONS: dict[str, Any] = {
    "description": "A list of probabilities for each row, or with the signature `predictions` a class for each row.",
    "oneOf": [MATRIX, {"type": "array", "items": {"type": ["string", "integer", "boolean"]}}],
}
_EXAMPLE: dict[str, Any] = {"type": "object", "additionalProperties": _VALUE}
_ONE = {"petal_length": 1.5, "petal_width": 0.2, "site": "meadow"}
SHAPES: dict[str, dict[str, Any]] = {
    "InstancesRequest": {
        **described(
            "Rows to classify, one after the other as `instances`, or by column as `inputs`.",
            ("signature_name", "instances", "inputs"),
            signature_name=_SIGNATURE,
            instances=_ROWS,
            inputs={
                "description": "Lists of values by column, or rows.",
                "type": ["object", "array"],
                "items": {},
                "additionalProperties": {"type": "array", "items": {}},
            },
        ),
        "additionalProperties": False,
        "oneOf": [{"required": ["instances"]}, {"required": ["inputs"]}],
        "examples": [
            {"instances": [_ONE]},
            {"signature_name": "predictions", "inputs": {name: [value, value] for name, value in _ONE.items()}},
        ],
    },
    "InstancesAnswer": {
        **described(
            "The answer to `instances`, or to `inputs`.",
            ("predictions", "outputs"),
            predictions=_PREDICTIONS,
            outputs=_PREDICTIONS,
        ),
        "oneOf": [{"required": ["predictions"]}, {"required": ["outputs"]}],
    },
    "ExamplesRequest": {
        **described(
            "Rows to classify, each an object by column.",
            ("signature_name", "context"),
            signature_name={"type": "string"},
            context={**_EXAMPLE, "description": "Values of columns that are the same for all examples."},
            examples={"type": "array", "minItems": 1, "items": _EXAMPLE},
        ),
        "additionalProperties": False,
        "examples": [{"context": {"site": "wood"}, "examples": [{"petal_length": 4.9, "petal_width": 1.6}]}],
    },
    "ExamplesAnswer": described(
        "For each example, all classes with their scores, which are probabilities.",
        results={
            "type": "array",
            "items": {
                "type": "array",
                "items": {"type": "array", "prefixItems": [{"type": "string"}, {"type": "number"}], "minItems": 2},
            },
        },
    ),
    "ModelNames": described("Names of models.", models={"type": "array", "items": {"type": "string"}}),
    "ModelStatus": described(
        "The state of a model's versions.",
        name={"type": "string"},
        ready={"type": "boolean", "description": "Whether one of these versions is available."},
        model_version_status={
            "type": "array",
            "items": described(
                "The state of a version.",
                version={"type": "string"},
                state={"type": "string", "enum": ["AVAILABLE", "END"]},
                status=described(
                    "Why it is in this state.",
                    error_code={"type": "string", "enum": ["OK", "DATA_LOSS"]},
                    error_message={"type": "string"},
                ),
            ),
        },
    ),
    "SignatureMetadata": described(
        "What a version takes and answers.",
        model_spec={"type": "object", "additionalProperties": {"type": "string"}},
        metadata={"type": "object"},
    ),
}
