"""A network that was read, passed on as between processes, and what its version predicts."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from models.definition.definition import ModelDefinition
from models.imports.network import ForeignNetwork, Found, network_of, sent, version_of
from models.training.checkpoint import Checkpoint
from nncore.arrays import Array
from nncore.network import Predictor
from testing.onnx import session_of

__all__ = ["by_runtime", "imported", "passed_on", "predict"]


def passed_on(found: Found) -> ForeignNetwork:
    """The network as the web worker gets it."""
    document, arrays = sent(found)
    content = b"".join(array.tobytes() for array in arrays)
    return network_of(json.loads(json.dumps(document)), memoryview(content))


def imported(found: Found, model: ModelDefinition | None = None) -> Checkpoint:
    """The network as a version of a model."""
    return version_of(passed_on(found), "m", model, None)


def predict(checkpoint: Checkpoint, x: Array) -> Array:
    """The probabilities of rows."""
    definition = checkpoint.definition
    arrays = {**checkpoint.parameters, **checkpoint.statistics}
    return Predictor(definition.layers, definition.inputs, arrays).predict_proba(np.asarray(x))


def by_runtime(content: bytes, rows: Array) -> list[Any]:
    """The outputs of ONNX Runtime, in the order of the graph."""
    session = session_of(content)
    inputs = session.get_inputs()
    kinds = {"tensor(float)": "f4", "tensor(double)": "f8", "tensor(int64)": "i8"}
    rows = rows.astype(kinds[inputs[0].type])
    if len(inputs) > 1:
        feeds = {each.name: rows[:, index : index + 1] for index, each in enumerate(inputs)}
    else:
        feeds = {inputs[0].name: rows.reshape(len(rows), *inputs[0].shape[1:])}
    found: list[Any] = session.run(None, feeds)
    return found
