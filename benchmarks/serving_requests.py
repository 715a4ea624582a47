"""Requests for the predictions of rows, in each protocol and format, and the probabilities that answer them."""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import orjson

from benchmarks.wrk import JSON
from testing.harness import Answer

__all__ = [
    "BINARY", "INVOCATIONS", "NPY", "PREDICT", "ROWS", "V1", "V2",
    "Request", "member", "predict", "requests", "tensor", "v2_body",
]  # fmt: skip

#: The names of our requests.
PREDICT, ROWS, V2, BINARY = "/predict", "/predict, named rows", "V2, JSON", "V2, binary"
V1, INVOCATIONS, NPY = "V1", "/invocations", "/predict, npy"


class Request(NamedTuple):
    """A POST, and how the probabilities (n_rows, n_classes) are read from its answer."""

    path: str
    body: bytes
    read: Callable[[Answer], Any]
    headers: Mapping[str, str] = JSON


def predict(model: str, x: Any) -> Request:
    """Rows (n_rows, n_inputs) as lists of numbers, to POST /predict."""
    return Request("/predict", orjson.dumps({"model": model, "inputs": x.tolist()}), member("probabilities"))


def requests(model: str, table: str, x: Any) -> dict[str, Request]:
    """The same rows (n_rows, n_inputs) to every route for predictions: of a model of numbers, and one of a table."""
    rows = [{f"x{place}": value for place, value in enumerate(row)} for row in x.tolist()]
    return {
        PREDICT: predict(model, x),
        ROWS: Request("/predict", orjson.dumps({"model": table, "rows": rows}), member("probabilities")),
        V2: Request(f"/v2/models/{model}/infer", v2_body("inputs", x), tensor),
        BINARY: _binary(model, x),
        V1: Request(f"/v1/models/{model}:predict", orjson.dumps({"instances": x.tolist()}), member("predictions")),
        INVOCATIONS: Request(
            f"/invocations?model={model}",
            orjson.dumps({"inputs": x.tolist(), "params": {"predict_method": "predict_proba"}}),
            member("predictions"),
        ),
        NPY: Request(
            f"/predict?model={model}", _stored(x), _loaded, {"Content-Type": "application/x-npy", "Accept": "*/*"}
        ),
    }


def v2_body(name: str, x: Any) -> bytes:
    """Rows (n_rows, n_inputs) as a tensor of the Open Inference Protocol in JSON, its data flat."""
    tensor_of_rows = {"name": name, "shape": x.shape, "datatype": "FP32", "data": x.ravel().tolist()}
    return orjson.dumps({"inputs": [tensor_of_rows]})


def member(*names: str) -> Callable[[Answer], Any]:
    """Reads a member of a JSON answer, or one of a member."""

    def read(answer: Answer) -> Any:
        found = json.loads(answer.body)
        for name in names:
            found = found[name]
        return np.array(found)

    return read


def tensor(answer: Answer) -> Any:
    """Reads the tensor ``probabilities`` of the Open Inference Protocol in JSON."""
    (found,) = (each for each in json.loads(answer.body)["outputs"] if each["name"] == "probabilities")
    return np.array(found["data"]).reshape(found["shape"])


def _binary(model: str, x: Any) -> Request:
    """Both ways as raw numbers, as the protocol's stock client sends and asks for them."""
    data = x.astype("<f4").tobytes()
    described = {"name": "inputs", "shape": x.shape, "datatype": "FP32", "parameters": {"binary_data_size": len(data)}}
    head = orjson.dumps({"inputs": [described], "parameters": {"binary_data_output": True}})
    headers = {"Content-Type": "application/octet-stream", "Inference-Header-Content-Length": str(len(head))}
    return Request(f"/v2/models/{model}/infer", head + data, _raw_tensor, headers)


def _raw_tensor(answer: Answer) -> Any:
    length = int(answer.headers["inference-header-content-length"])
    start = length
    for each in json.loads(answer.body[:length])["outputs"]:
        size = each["parameters"]["binary_data_size"]
        if each["name"] == "probabilities":
            return np.array([*struct.iter_unpack("<f", answer.body[start : start + size])]).reshape(each["shape"])
        start += size
    raise RuntimeError(f"the answer must have probabilities. Received: {answer.body[:length]!r}")


def _stored(x: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, x.astype(np.float32))
    return file.getvalue()


def _loaded(answer: Answer) -> Any:
    return np.load(io.BytesIO(answer.body))
