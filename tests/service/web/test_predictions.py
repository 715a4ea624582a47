"""Predictions over HTTP: shapes, values, and agreement of all workers."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import h5py
import numpy as np
import pytest
from flask import Flask

from models.registry.callers import SERVICE
from service.settings import Settings
from service.web.app import create_app
from service.web.gate import CALLER
from service.web.protocols import native
from service.web.protocols.native import reader_of
from service.web.protocols.server import PredictionServer
from testing.harness import Client, Server
from testing.samples import CLASSES, ROWS, a_model, a_training, fresh
from tests.service.conftest import Trained


def predict(client: Client, model: str, inputs: Any, **options: Any) -> dict[str, Any]:
    answer = client.post("/predict", {"model": model, "inputs": inputs, **options})
    assert answer.status == 200, answer
    return dict(answer.json)


def by_hand(server: Server, checkpoint: str, rows: Any) -> np.ndarray:
    """Probabilities from the checkpoint's file alone, in double precision."""
    with h5py.File(server.data / "checkpoints" / f"{checkpoint}.h5") as file:
        w1, b1, w2, b2 = (
            file[f"parameters/{group}/{name}"][()].astype(float)
            for group in ("0_dense", "2_dense")
            for name in ("weights", "bias")
        )
    logits = np.maximum(0, np.array(rows) @ w1 + b1) @ w2 + b2
    exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(exponents / exponents.sum(axis=1, keepdims=True))


def test_the_answer_has_exactly_its_members(client: Client, server: Server, trained: Trained) -> None:
    answer = predict(client, trained.name, ROWS)
    expected = by_hand(server, trained.jobs[2]["checkpoint"], ROWS)
    assert answer.keys() == {"model", "version", "classes", "predictions", "probabilities"}
    assert (answer["model"], answer["version"], answer["classes"]) == (trained.name, 3, CLASSES)
    np.testing.assert_allclose(answer["probabilities"], expected, rtol=2e-6)
    assert answer["predictions"] == [CLASSES[place] for place in expected.argmax(axis=1)]


def test_rows_of_probabilities_sum_to_1(client: Client, trained: Trained) -> None:
    rows = np.random.default_rng(0).normal(scale=100.0, size=(300, 2)).tolist()
    probabilities = np.array(predict(client, trained.name, rows)["probabilities"])
    assert probabilities.shape == (300, 3)
    assert ((probabilities >= 0) & (probabilities <= 1)).all()
    assert np.abs(probabilities.sum(axis=1) - 1).max() < 1e-6


def test_more_rows_than_are_predicted_at_a_time(client: Client, trained: Trained) -> None:
    rows = np.random.default_rng(1).normal(size=(2500, 2)).tolist()
    whole = np.array(predict(client, trained.name, rows)["probabilities"])
    parts = [predict(client, trained.name, rows[at : at + 500])["probabilities"] for at in range(0, 2500, 500)]
    np.testing.assert_allclose(whole, np.concatenate(parts), rtol=1e-5)


@pytest.mark.parametrize("top_k", [1, 2, 3])
def test_the_likeliest_classes(client: Client, trained: Trained, top_k: int) -> None:
    answer = predict(client, trained.name, ROWS, top_k=top_k)
    assert answer.keys() == {"model", "version", "classes", "predictions", "probabilities", "top"}
    assert len(answer["top"]) == 12
    for row, top, predicted in zip(answer["probabilities"], answer["top"], answer["predictions"], strict=True):
        best = sorted(zip(row, CLASSES, strict=True), reverse=True)[:top_k]
        assert [(entry["probability"], entry["class"]) for entry in top] == best
        assert top[0]["class"] == predicted


def test_equal_classes_stand_in_the_models_order(client: Client) -> None:
    name = fresh("even")
    layers = [{"type": "dense", "units": 4, "initializer": "zeros"}, {"type": "softmax"}]
    client.define({"name": name, "inputs": 1, "classes": ["d", "a", "c", "b"], "layers": layers})
    # A step this small changes no bit, so all classes stay equally likely.
    optimizer = {"type": "sgd", "learning_rate": 1e-30}
    client.run(
        {
            "model": name,
            "data": {"inputs": [[0], [0], [0], [0]], "labels": ["a", "b", "c", "d"]},
            "epochs": 1,
            "optimizer": optimizer,
        }
    )
    answer = predict(client, name, [[7]], top_k=4)
    assert answer["probabilities"] == [[0.25] * 4]
    assert answer["predictions"] == ["d"]
    assert [entry["class"] for entry in answer["top"][0]] == ["d", "a", "c", "b"]


def test_one_row_may_be_flat(client: Client, trained: Trained) -> None:
    assert predict(client, trained.name, ROWS[3]) == predict(client, trained.name, [ROWS[3]])


def test_whole_numbers_are_numbers(client: Client, trained: Trained) -> None:
    assert predict(client, trained.name, [[1, -2]]) == predict(client, trained.name, [[1.0, -2.0]])


@pytest.mark.parametrize(("wanted", "number"), [(1, 1), (2, 2), (3, 3), ("latest", 3), ("default", 3), (None, 3)])
def test_a_version_by_number_or_alias(
    client: Client, server: Server, trained: Trained, wanted: Any, number: int
) -> None:
    answer = predict(client, trained.name, ROWS, version=wanted)
    assert answer["version"] == number
    expected = by_hand(server, trained.jobs[number - 1]["checkpoint"], ROWS)
    np.testing.assert_allclose(answer["probabilities"], expected, rtol=2e-6)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("classes", [2, [30, 10, 20], ["b", "a"]])
def test_classes_come_back_as_they_were_given(client: Client, dtype: str, classes: Any) -> None:
    name = fresh("typed")
    labels = list(range(classes)) if isinstance(classes, int) else classes
    client.define({"name": name, "inputs": 1, "classes": classes, "hidden": [8], "dtype": dtype})
    data = {"inputs": [[float(place)] for place in range(len(labels))] * 8, "labels": labels * 8}
    optimizer = {"type": "adam", "learning_rate": 0.05}
    client.run({"model": name, "data": data, "epochs": 300, "optimizer": optimizer})
    answer = predict(client, name, [[float(place)] for place in range(len(labels))])
    assert answer["classes"] == labels
    assert answer["predictions"] == labels
    assert np.abs(np.sum(answer["probabilities"], axis=1) - 1).max() < 1e-6


def test_double_precision_takes_numbers_that_single_does_not(client: Client, trained: Trained) -> None:
    name = fresh("double")
    client.define(a_model(name, dtype="float64"))
    client.run(a_training(name, epochs=1))
    assert np.isfinite(predict(client, name, [[1e39, 0]])["probabilities"]).all()
    assert client.post("/predict", {"model": trained.name, "inputs": [[1e39, 0]]}).status == 422


@pytest.mark.parametrize("row", [[3e38, 3e38], [-3e38, 3e38], [3.4e38, -3.4e38], [1e38, 0]], ids=str)
def test_numbers_near_the_end_of_the_range(client: Client, trained: Trained, row: list[float]) -> None:
    """Probabilities, or a refusal; never nulls and never a fault of the service."""
    answer = client.post("/predict", {"model": trained.name, "inputs": [[0, 1], row]})
    if answer.status == 422:
        assert [fault["pointer"] for fault in answer.json["errors"]] == ["/inputs/1"]
    else:
        assert answer.status == 200, answer
        probabilities = answer.json["probabilities"][1]
        assert None not in probabilities
        assert abs(sum(probabilities) - 1) < 1e-6


def test_many_clients_at_once(client: Client, trained: Trained) -> None:
    expected = {version: predict(client, trained.name, ROWS, version=version) for version in (1, 2, 3)}

    def ask(number: int) -> bool:
        version = number % 3 + 1
        found, wanted = predict(client, trained.name, ROWS, version=version), expected[version]
        # Requests that share a pass may differ in the last bits.
        alike = np.allclose(found.pop("probabilities"), wanted["probabilities"], rtol=0, atol=1e-6)
        return alike and found == {name: value for name, value in wanted.items() if name in found}

    with ThreadPoolExecutor(12) as pool:
        assert all(pool.map(ask, range(120)))


def test_all_workers_serve_a_new_version_at_once(client: Client) -> None:
    """After the job is reported as succeeded, no worker answers from an older version."""
    name = client.define(a_model(fresh("agreed")))["name"]
    for version in (1, 2):
        job = client.run(a_training(name, seed=version))
        assert job["version"] == version
        served = [predict(client, name, [[0, 1]])["version"] for _ in range(50)]
        assert served == [version] * 50


class Beneath:
    """The application below a prediction server, which notes the requests that come through to it."""

    def __init__(self, app: Flask) -> None:
        self.received: list[dict[str, Any]] = []
        self.server = PredictionServer(self, app.extensions["trainyard"], reader_of)

    def __call__(self, environ: dict[str, Any], _start_response: Any) -> Iterable[bytes]:
        self.received.append(environ)
        return [b"beneath"]

    def ask(self, **members: Any) -> bytes:
        """The response to a request to ``/predict``, or b"beneath" if the middleware passed it on."""
        environ = {"PATH_INFO": "/predict", "REQUEST_METHOD": "POST", "CONTENT_TYPE": "application/json", **members}
        environ[CALLER] = SERVICE
        given = {name: value for name, value in environ.items() if value is not None}
        return b"".join(self.server(given, lambda *_: None))  # type: ignore[arg-type, return-value]


class Broken(io.BytesIO):
    """A body with a lost connection."""

    def read(self, *_: Any) -> bytes:
        raise OSError("gone")


@pytest.mark.parametrize(
    "members",
    [
        {"PATH_INFO": None},
        {"CONTENT_LENGTH": None},
        {"CONTENT_LENGTH": "9" * 5000},
        {"CONTENT_LENGTH": "-1"},
        {"CONTENT_LENGTH": "20", "wsgi.input": Broken()},
        {"CONTENT_LENGTH": "20", "wsgi.input": io.BytesIO(b"{}")},
        {"CONTENT_LENGTH": "2", "wsgi.input": io.BytesIO(b"{}"), "CONTENT_TYPE": "text/html; x=a+json"},
    ],
    ids=lambda members: str(members)[:60],
)
def test_what_the_middleware_cannot_answer_comes_through(app: Flask, members: dict[str, Any]) -> None:
    beneath = Beneath(app)
    assert beneath.ask(**members) == b"beneath"
    assert len(beneath.received) == 1


def test_a_refused_request_is_worked_through_once(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    parsed: list[bytes] = []

    def parse_json(body: bytes, _held: object = None) -> Any:
        parsed.append(body)
        return json.loads(body)

    monkeypatch.setattr(native, "parse_json", parse_json)
    answer = app.test_client().post("/predict", json={"model": "none", "inputs": [[1]]})
    assert (answer.status_code, answer.get_json()["code"]) == (404, "not_found")
    assert len(parsed) == 1


@pytest.mark.parametrize("kind", ["application/json", "application/json; charset=utf-8", "APPLICATION/JSON"])
def test_good_requests_take_the_fast_path(server: Server, trained: Trained, kind: str) -> None:
    settings = {"TRAINYARD_DATA": str(server.data), "TRAINYARD_TRAINER": "external"}
    beneath = Beneath(create_app(Settings.read(settings)))
    body = json.dumps({"model": trained.name, "version": 1, "inputs": [[0, 1]]}).encode()
    answer = beneath.ask(CONTENT_LENGTH=str(len(body)), CONTENT_TYPE=kind, **{"wsgi.input": io.BytesIO(body)})
    assert json.loads(answer) == predict(server.client, trained.name, [[0, 1]], version=1)
    assert beneath.received == []
