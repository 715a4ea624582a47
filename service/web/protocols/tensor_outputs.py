"""The answer of a version in the Open Inference Protocol V2: its outputs as JSON or as raw bytes.

``probabilities`` (n_rows, n_classes) is FP32, ``predictions`` (n_rows,) is the most probable class of each row: BYTES,
INT64 if all classes are whole numbers, BOOL if all are booleans. With the parameter ``classification``, an output is
BYTES (n_rows, count): ``score:index:label`` of the most probable classes, the most probable first.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np

from models.data.labels import Label, label_text
from models.errors import Faults, describe, listed, near
from models.serving.served_model import ServedModel
from service.serving.inference import Prediction
from service.serving.resolution import ServedVersion
from service.web.json_bodies import json_bytes, json_line
from service.web.protocols.exchange import Reply
from service.web.protocols.tensor_request import HEADER, InferRequest, WantedOutput
from service.web.protocols.tensor_rows import TensorForm
from service.web.protocols.tensors import BYTES, raw_strings

__all__ = ["PREDICTIONS", "PROBABILITIES", "output_forms", "tensor_reply"]

PROBABILITIES, PREDICTIONS = "probabilities", "predictions"
_BINARY = "application/octet-stream"
_FLOAT = np.dtype("<f4")
#: The largest and the smallest whole number of INT64.
_WHOLE = np.iinfo(np.int64)


class _Classes(NamedTuple):
    """The classes of a version as elements: their datatype, as JSON has them, and the raw bytes of each."""

    datatype: str
    values: Sequence[Label]
    texts: Sequence[str]
    raw: Sequence[bytes]


_known: WeakKeyDictionary[ServedModel, _Classes] = WeakKeyDictionary()


def _classes(network: ServedModel) -> _Classes:
    found = _known.get(network)
    if found is None:
        found = _known[network] = _made(network.classes)
    return found


def _made(classes: Sequence[Label]) -> _Classes:
    texts = [label_text(label) for label in classes]
    types = set(map(type, classes))
    if types == {bool}:
        return _Classes("BOOL", classes, texts, [b"\1" if label else b"\0" for label in classes])
    if types == {int} and all(_WHOLE.min <= int(label) <= _WHOLE.max for label in classes):
        return _Classes("INT64", classes, texts, [int(label).to_bytes(8, "little", signed=True) for label in classes])
    return _Classes(BYTES, texts, texts, [raw_strings([text]) for text in texts])


def output_forms(network: ServedModel) -> list[TensorForm]:
    """The tensors that a version answers with, as its metadata lists them."""
    return [
        TensorForm(PROBABILITIES, "FP32", [-1, len(network.classes)]),
        TensorForm(PREDICTIONS, _classes(network).datatype, [-1]),
    ]


def tensor_reply(request: InferRequest, version: ServedVersion, prediction: Prediction) -> Reply:
    """The answer to a request. Raises InvalidError for outputs that the version does not have."""
    network = version.network
    outputs = _ALL if request.outputs is None else request.outputs
    if outputs is not _ALL:
        _require_outputs(outputs, network)
    number = version.checkpoint if prediction.version is None else str(prediction.version)
    document: dict[str, Any] = {"model_name": prediction.model, "model_version": number}
    if request.id is not None:
        document["id"] = request.id
    tensors: list[dict[str, Any]] = []
    parts: list[bytes] = []
    classes = _classes(network)
    for output in outputs:
        binary = request.binary if output.binary is None else output.binary
        if output.classification is not None:
            tensor, data = _classification(prediction, output.classification, classes, binary=binary)
        elif output.name == PREDICTIONS:
            tensor, data = _predictions(prediction, classes, binary=binary)
        else:
            tensor, data = _probabilities(prediction, binary=binary)
        if binary:
            tensor["parameters"] = {"binary_data_size": len(data)}
            parts.append(data)
        else:
            tensor["data"] = data
        tensors.append(tensor)
    document["outputs"] = tensors
    if not parts:
        return Reply(json_line(document))
    head = json_bytes(document)
    return Reply(b"".join((head, *parts)), _BINARY, ((HEADER, str(len(head))),))


#: What is answered if nothing else is wanted.
_ALL = [WantedOutput("", PROBABILITIES, None, None), WantedOutput("", PREDICTIONS, None, None)]


def _require_outputs(outputs: Sequence[WantedOutput], network: ServedModel) -> None:
    faults, seen, names = Faults(), dict[str, str](), (PROBABILITIES, PREDICTIONS)
    for place, name, _, count in outputs:
        if name not in names:
            detail = f"{describe(name)} is not an output of the model{near(name, names)}; outputs are {listed(names)}"
            faults.add(f"{place}/name", detail)
        elif name in seen:
            faults.add(f"{place}/name", f"{describe(name)} is there already: {seen[name]}")
        seen[name] = place
        if count is None:
            continue
        if name == PREDICTIONS:
            detail = f"is for the output {describe(PROBABILITIES)}; {describe(PREDICTIONS)} are classes already"
            faults.add(f"{place}/parameters/classification", detail)
        elif count > len(network.classes):
            detail = f"must be at most {len(network.classes)}, the classes. Received: {count}"
            faults.add(f"{place}/parameters/classification", detail)
    faults.check()


def _probabilities(prediction: Prediction, *, binary: bool) -> tuple[dict[str, Any], Any]:
    values = np.ascontiguousarray(prediction.probabilities, _FLOAT)
    tensor = {"name": PROBABILITIES, "datatype": "FP32", "shape": values.shape}
    return tensor, values.tobytes() if binary else values.ravel()


def _predictions(prediction: Prediction, classes: _Classes, *, binary: bool) -> tuple[dict[str, Any], Any]:
    codes = prediction.probabilities.argmax(axis=1).tolist()
    tensor = {"name": PREDICTIONS, "datatype": classes.datatype, "shape": [len(codes)]}
    elements: Sequence[Any] = classes.raw if binary else classes.values
    found = [elements[code] for code in codes]
    return tensor, b"".join(found) if binary else found


def _classification(
    prediction: Prediction, count: int, classes: _Classes, *, binary: bool
) -> tuple[dict[str, Any], Any]:
    places, scores = prediction.top(count)
    texts = [
        f"{score}:{place}:{classes.texts[place]}"
        for place, score in zip(places.ravel().tolist(), map(str, scores.astype(_FLOAT).ravel()), strict=True)
    ]
    tensor = {"name": PROBABILITIES, "datatype": BYTES, "shape": places.shape}
    return tensor, raw_strings(texts) if binary else texts
