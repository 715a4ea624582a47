"""A version as an ONNX file: what it reads, preprocessing and networks in one graph, and what it answers.

A model of plain inputs has one input ``inputs`` (rows, inputs) of its type. A model of a table has one input (rows, 1)
for each column that becomes numbers, in the form that ``INPUT_FORMS`` says. The outputs are ``probabilities``
(rows, classes) and ``predictions`` (rows,). The graph has operators of the standard alone (github.com/onnx/onnx,
docs/Operators.md and docs/Operators-ml.md).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from onnx import ModelProto, helper

from models.data.labels import Label, label_text
from models.errors import ConflictError
from models.export.graph import Graph
from models.export.inputs import Inputs, columns_of, read
from models.export.networks import probabilities
from models.formats.mapped_parameters import MappedVersion
from nncore.arrays import Array

__all__ = ["INPUTS", "OUTPUTS", "Exported", "onnx_bytes", "onnx_model"]

INPUTS = "inputs"
OUTPUTS = PROBABILITIES, PREDICTIONS = "probabilities", "predictions"
#: Bytes of parameters that a file may hold at most: protobuf counts its bytes with 31 bits.
LARGEST = 2**31 - 2**24


class Exported(NamedTuple):
    """What is exported: the model's name, the version's number, and its checkpoint's id."""

    model: str
    version: int
    checkpoint: str


def onnx_bytes(version: MappedVersion, exported: Exported) -> bytes:
    """The content of a version's file: the same bytes for the same version.

    Raises ConflictError if ONNX cannot express the version or hold its parameters.
    """
    if version.nbytes > LARGEST:
        detail = f"an ONNX file holds at most {LARGEST:,} bytes of parameters. Received: {version.nbytes:,}"
        raise ConflictError("not_exportable", detail)
    try:
        content: bytes = onnx_model(version, exported).SerializeToString(deterministic=True)
    except UnicodeEncodeError as error:  # JSON can hold halves of characters, which no string of a file can.
        detail = f"all classes and columns must have names that are text. Received: {error.object!a}"
        raise ConflictError("not_exportable", detail) from None
    return content


def onnx_model(version: MappedVersion, exported: Exported) -> ModelProto:
    """The content of a version's file as an object; raises ConflictError if ONNX cannot express the version."""
    definition, features = version.definition, version.features
    dtype = np.dtype(definition.dtype)
    if features is None:
        graph = Graph(dtype, (INPUTS, *OUTPUTS))
        inputs, columns = Inputs(graph.input(INPUTS, dtype, definition.inputs)), []
    else:
        columns = columns_of(features, OUTPUTS)
        graph = Graph(dtype, (*OUTPUTS, *(column.input for column in columns)))
        inputs = read(graph, columns)
    answer = probabilities(graph, version, inputs.x)
    best = graph.call("ArgMax", answer, axis=1, keepdims=0)
    if inputs.refused is not None:
        # A layer may make a number of a NaN.
        answer = graph.call("Where", inputs.refused, graph.number(np.nan), answer)
    labels = _labels(definition.classes)
    graph.output(PROBABILITIES, answer, dtype, len(labels))
    graph.output(PREDICTIONS, graph.call("Gather", labels, best, axis=0), labels.dtype)
    model = graph.model
    model.graph.name, model.model_version = exported.model, exported.version
    facts = {
        "model": exported.model,
        "version": str(exported.version),
        "checkpoint": exported.checkpoint,
        "classes": _json(definition.classes),
        "label": definition.label,
        "columns": None if features is None else _json([column.document() for column in columns]),
    }
    helper.set_model_props(model, {name: value for name, value in facts.items() if value is not None})
    return model


def _labels(classes: Sequence[Label]) -> Array:
    """The classes as strings, booleans or 64-bit integers; as strings too if they are larger integers."""
    if isinstance(classes[0], bool):
        return np.array(classes, bool)
    if isinstance(classes[0], int) and all(-(2**63) <= int(label) < 2**63 for label in classes):
        return np.array(classes, np.int64)
    return np.array([label_text(label) for label in classes], object)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
