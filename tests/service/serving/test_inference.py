"""Predictions as values, computed from a checkpoint without HTTP or JSON."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import InvalidError, MissingError
from service.serving.inference import Prediction, RowOverflowError, infer, require_top_k
from service.serving.resolution import Serving
from service.settings import Settings
from service.store.database import Database
from service.store.files import FileStore
from testing.harness import ROOT, Server
from testing.samples import CLASSES
from tests.service.conftest import Trained

ROWS = np.random.default_rng(0).normal(size=(17, 2))


@pytest.fixture(scope="module")
def serving(server: Server) -> Iterator[Serving]:
    """Over the shared server's data directory, in this process and without Flask."""
    database = Database(Settings.read({"TRAINYARD_DATA": str(server.data)}))
    yield Serving(database, FileStore(server.data), 2**20)
    database.engine.dispose()


def forward(path: Any, rows: np.ndarray) -> np.ndarray:
    """Two dense layers with a ReLU between and a softmax at the end, from the file's numbers, in float64."""
    with h5py.File(path) as file:
        first, second = (
            {name: file[f"parameters/{layer}/{name}"][()].astype(float) for name in ("weights", "bias")}
            for layer in ("0_dense", "2_dense")
        )
    hidden = np.maximum(rows @ first["weights"] + first["bias"], 0.0)
    logits = hidden @ second["weights"] + second["bias"]
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("number", [1, 2, 3])
def test_it_is_the_forward_pass_of_the_versions_checkpoint(
    server: Server, trained: Trained, serving: Serving, number: int
) -> None:
    prediction = infer(serving.version(trained.name, number), ROWS)
    assert (prediction.model, prediction.version, prediction.classes) == (trained.name, number, tuple(CLASSES))
    checkpoint = server.client.get(f"/models/{trained.name}/versions/{number}").json["checkpoint"]
    expected = forward(server.data / "checkpoints" / f"{checkpoint}.h5", ROWS)
    np.testing.assert_allclose(prediction.probabilities, expected, rtol=1e-5, atol=1e-7)
    assert prediction.labels() == [CLASSES[place] for place in expected.argmax(axis=1)]


def test_no_version_means_the_default_and_an_alias_its_version(
    server: Server, trained: Trained, serving: Serving
) -> None:
    assert serving.version(trained.name, None).number == 3
    assert serving.version(trained.name, "latest").number == 3
    with pytest.raises(MissingError):
        serving.version(trained.name, 4)
    with pytest.raises(MissingError):
        serving.version("no-such-model", None)


def test_a_version_stays_loaded(trained: Trained, serving: Serving) -> None:
    assert serving.version(trained.name, 2).network is serving.version(trained.name, 2).network


def test_the_first_row_that_overflows_is_named(trained: Trained, serving: Serving) -> None:
    rows = ROWS.copy()
    rows[[5, 9]] = 3e38
    with pytest.raises(RowOverflowError) as refusal:
        infer(serving.version(trained.name, 1), rows)
    assert refusal.value.row == 5
    moved = refusal.value.moved("", "/instances")
    assert [(problem.pointer, problem.detail) for problem in moved.problems] == [
        ("/instances/5", "is so large that the model's float32 numbers overflow")
    ]


def tensors(prediction: Prediction) -> dict[str, Any]:
    """Another protocol: named tensors with flat data, after the Open Inference Protocol."""
    shape = list(prediction.probabilities.shape)
    flat = prediction.probabilities.astype(np.float32).ravel().tolist()
    labels = [str(label) for label in prediction.labels()]
    return {
        "model_name": prediction.model,
        "model_version": str(prediction.version),
        "outputs": [
            {"name": "probabilities", "datatype": "FP32", "shape": shape, "data": flat},
            {"name": "label", "datatype": "BYTES", "shape": shape[:1], "data": labels},
        ],
    }


def test_another_protocol_needs_the_prediction_alone(server: Server, trained: Trained, serving: Serving) -> None:
    """Its answer, and the one of ``POST /predict``, show the same numbers."""
    native = server.client.post("/predict", {"model": trained.name, "version": 2, "inputs": ROWS.tolist()}).json
    other = json.loads(json.dumps(tensors(infer(serving.version(trained.name, 2), ROWS))))
    assert (other["model_name"], other["model_version"]) == (native["model"], str(native["version"]))
    probabilities, label = other["outputs"]
    found = np.array(probabilities["data"], np.float32).reshape(probabilities["shape"])
    # Rows go through the same products; JSON shows the shortest text of each float32.
    np.testing.assert_array_equal(found, np.array(native["probabilities"], np.float32))
    assert label["data"] == native["predictions"]


@pytest.mark.processes
def test_nothing_of_the_wire_is_loaded() -> None:
    """``service.serving`` works without Flask and without an encoder."""
    found = subprocess.run(
        [sys.executable, "-c", "import sys, service.serving.inference; print(*sys.modules)"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout.split()
    assert "service.serving.inference" in found
    wire = ("flask", "werkzeug", "orjson", "service.web")
    assert [name for name in found if name.startswith(wire)] == []


@given(st.data())
def test_the_most_probable_classes(data: st.DataObject) -> None:
    """Against sorting each row in plain Python; equal probabilities are frequent here."""
    width = data.draw(st.integers(2, 6))
    row = st.lists(st.integers(0, 3).map(float), min_size=width, max_size=width)
    rows = data.draw(st.lists(row, min_size=1, max_size=5))
    count = data.draw(st.integers(1, width))
    prediction = Prediction("m", 1, tuple(range(width)), np.array(rows))
    places, probabilities = prediction.top(count)
    for values, place, probability in zip(rows, places.tolist(), probabilities.tolist(), strict=True):
        assert place == sorted(range(width), key=lambda index: (-values[index], index))[:count]
        assert probability == [values[index] for index in place]
    assert prediction.labels() == places[:, 0].tolist()


def test_more_classes_than_there_are_cannot_be_asked_for() -> None:
    require_top_k(2, ["a", "b"])
    with pytest.raises(InvalidError, match=r"must be at most 2, the classes\. Received: 3") as refusal:
        require_top_k(3, ["a", "b"])
    assert refusal.value.problems[0].pointer == "/top_k"
