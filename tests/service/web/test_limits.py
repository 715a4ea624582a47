"""What is beyond a limit is refused, with the limit's code, its number, what was received, and its setting."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from service.access.keys import Scope, create_key
from service.access.limits import LIMITS
from service.settings import Settings
from service.web.app import create_app
from testing.samples import CSV, DATA, ROWS, a_model, a_training

#: Small values of all limits that a request is compared with.
SMALL = {
    "MAX_DATASET_ROWS": 12,
    "MAX_DATASET_COLUMNS": 3,
    "MAX_LAYERS": 6,
    "MAX_UNITS": 16,
    "MAX_PARAMETERS": 200,
    "MAX_TRAINING_BYTES": 2**20,
    "MAX_EPOCH_ROWS": 12_000,
    "MAX_QUEUED_JOBS": 2,
    "MAX_DATASETS": 1,
    "MAX_MODELS": 2,
    "MAX_STORED_BYTES": 2**20,
}


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FlaskClient]:
    """An application without a trainer, so that its jobs stay queued."""
    environment = {f"TRAINYARD_{name}": str(value) for name, value in SMALL.items()}
    data = {"TRAINYARD_DATA": str(tmp_path_factory.mktemp("limits")), "TRAINYARD_TRAINER": "external"}
    app = create_app(Settings.read({**environment, **data}))
    client = app.test_client()
    assert client.post("/models", json=a_model("here")).status_code == 201
    yield client
    app.extensions["trainyard"].parser.close()
    app.extensions["trainyard"].database.dispose()


def assert_refused(answer: TestResponse, name: str, received: str = "") -> None:
    limit = next(limit for limit in LIMITS if limit.name == name)
    document = answer.get_json()
    assert (answer.status_code, document["code"]) == (limit.status, limit.code), document
    said = " ".join([document["detail"], *(error["detail"] for error in document["errors"])])
    assert limit.setting.variable in said
    assert f"{SMALL[f'MAX_{name.upper()}']:,}" in said
    assert received in said
    assert ("Retry-After" in answer.headers) is (limit.status == 429)


def stacked(*units: int) -> list[dict[str, Any]]:
    layers = [each for number in units for each in ({"type": "dense", "units": number}, {"type": "relu"})]
    return [*layers, {"type": "dense", "units": 3}, {"type": "softmax"}]


class TestSizes:
    """Refused before anything is made of them; nothing is stored."""

    @pytest.mark.parametrize(
        ("layers", "name", "received"),
        [(stacked(2, 2, 2), "layers", "8"), (stacked(17), "units", "17"), (stacked(16, 16), "parameters", "371")],
    )
    @pytest.mark.parametrize("route", ["/models", "/train"])
    def test_networks(
        self, app: FlaskClient, route: str, layers: list[dict[str, Any]], name: str, received: str
    ) -> None:
        model = a_model("large", layers=layers)
        answer = app.post(route, json=model if route == "/models" else a_training(model))
        assert_refused(answer, name, f"Received: {received}")
        pointer = answer.get_json()["errors"][0]["pointer"]
        assert pointer == ("/layers" if route == "/models" else "/model/layers")
        assert app.get("/models/large").status_code == 404

    def test_all_faults_of_a_network_come_together(self, app: FlaskClient) -> None:
        answer = app.post("/models", json=a_model("large", layers=stacked(17, 17, 17)))
        assert len(answer.get_json()["errors"]) == 3
        assert_refused(answer, "layers")

    @pytest.mark.parametrize(
        "body",
        [
            {"inputs": [*ROWS, [0.0, 1.0]], "labels": ["a", "b"] * 6 + ["a"]},
            {"rows": [{"x": number, "y": "a"} for number in range(13)], "label": "y"},
            {"inputs": [*ROWS, [0.0, 1.0]], "features": ["a", "b"]},
        ],
    )
    def test_rows(self, app: FlaskClient, body: dict[str, Any]) -> None:
        assert_refused(app.post("/datasets", json={"name": "long", **body}), "dataset_rows", "13")
        if "features" not in body:
            assert_refused(app.post("/train", json={"model": "here", "data": body}), "dataset_rows", "13")

    @pytest.mark.parametrize(
        "body",
        [
            {"inputs": [[1, 2, 3, 4], [2, 3, 4, 5]], "labels": ["a", "b"]},
            {"rows": [{"x": number, "y": "a", "z": 1, "w": 2} for number in range(3)], "label": "y"},
        ],
    )
    def test_columns(self, app: FlaskClient, body: dict[str, Any]) -> None:
        assert_refused(app.post("/datasets", json={"name": "wide", **body}), "dataset_columns", "4")

    @pytest.mark.processes
    @pytest.mark.parametrize(
        ("content", "name"), [(CSV + "1,2,red\n", "dataset_rows"), ("a,b,c,d\n1,2,3,4\n", "dataset_columns")]
    )
    def test_files(self, app: FlaskClient, content: str, name: str) -> None:
        answer = app.post("/datasets?name=file", data=content, content_type="text/csv")
        assert_refused(answer, name)

    def test_work(self, app: FlaskClient) -> None:
        assert_refused(app.post("/train", json=a_training("here", epochs=1001)), "epoch_rows", "12,012")
        sweep = {"train": {**a_training("here", epochs=600), "validation": DATA}, "over": {"/seed": [1, 2]}}
        assert_refused(app.post("/sweeps", json={**sweep, "search": "grid"}), "epoch_rows", "14,400")
        dry = app.post("/train", json=a_training("here", epochs=1001, dry_run=True))
        assert_refused(dry, "epoch_rows")

    def test_memory(self, tmp_path: Path) -> None:
        """As it is predicted, before anything of it is allocated: a network of 65 million parameters."""
        environment = {"TRAINYARD_DATA": str(tmp_path), "TRAINYARD_MAX_TRAINING_BYTES": str(2**29)}
        app = create_app(Settings.read({**environment, "TRAINYARD_TRAINER": "external"}))
        answer = app.test_client().post("/train", json=a_training(a_model("wide", layers=stacked(8000, 8000))))
        document = answer.get_json()
        assert (answer.status_code, document["code"]) == (422, "training_too_large")
        assert "at most 536,870,912 bytes of memory for training (TRAINYARD_MAX_TRAINING_BYTES)" in document["detail"]
        app.extensions["trainyard"].database.dispose()


class TestQuotas:
    """Counted in the database; what was deleted or has ended makes room."""

    def test_models(self, app: FlaskClient) -> None:
        assert app.post("/models", json=a_model("second")).status_code == 201
        assert_refused(app.post("/models", json=a_model("third")), "models", "there are 2")
        assert_refused(app.post("/train", json=a_training(a_model("third"))), "models")
        # Another definition of one that exists is none more.
        assert app.post("/models", json=a_model("second", layers=stacked(4))).status_code == 200
        assert app.delete("/models/second").status_code == 204
        assert app.post("/models", json=a_model("third")).status_code == 201
        app.delete("/models/third")

    @pytest.mark.processes
    def test_datasets(self, app: FlaskClient) -> None:
        assert app.post("/datasets", json={"name": "first", **DATA}).status_code == 201
        assert_refused(app.post("/datasets", json={"name": "second", **DATA}), "datasets")
        assert_refused(app.post("/datasets?name=second", data=CSV, content_type="text/csv"), "datasets")
        assert app.delete("/datasets/first").status_code == 204
        assert app.post("/datasets?name=second&label=colour", data=CSV, content_type="text/csv").status_code == 201
        app.delete("/datasets/second")

    def test_jobs(self, app: FlaskClient) -> None:
        jobs = [app.post("/train", json=a_training("here")).get_json()["id"] for _ in range(2)]
        assert_refused(app.post("/train", json=a_training("here")), "queued_jobs", "there are 2")
        sweep = {"train": {**a_training("here"), "validation": DATA}, "over": {"/seed": [1, 2]}, "search": "grid"}
        assert_refused(app.post("/sweeps", json=sweep), "queued_jobs")
        # One that is paused holds its place: it may be queued again at any time.
        assert app.post(f"/jobs/{jobs[0]}/pause").status_code == 202
        assert_refused(app.post("/train", json=a_training("here")), "queued_jobs")
        for job in jobs:
            assert app.post(f"/jobs/{job}/cancel").status_code == 202
        answer = app.post("/train", json=a_training("here"))
        assert answer.status_code == 202
        app.post(f"/jobs/{answer.get_json()['id']}/cancel")

    def test_bytes_of_the_checkpoints_that_a_job_keeps(self, app: FlaskClient) -> None:
        policy = {"every_epochs": 1, "keep": 10_000}
        answer = app.post("/train", json=a_training("here", checkpoint=policy))
        assert_refused(answer, "stored_bytes", "more")
        answer = app.post("/train", json=a_training("here", checkpoint={**policy, "keep": 100}))
        assert answer.status_code == 202
        app.post(f"/jobs/{answer.get_json()['id']}/cancel")

    def test_bytes_of_datasets(self, app: FlaskClient) -> None:
        answer = app.post("/datasets?name=big", data=b"x,y\n" + b"1,a\n" * 300_000, content_type="text/csv")
        assert_refused(answer, "stored_bytes")
        assert app.get("/datasets").get_json()["data"] == []


def test_a_keys_own_limit_of_bodies_holds_for_files(tmp_path: Path) -> None:
    """Packed or not, wherever a file is taken; a limit beyond the service's holds for other bodies alone."""
    app = create_app(Settings.read({"TRAINYARD_DATA": str(tmp_path), "TRAINYARD_TRAINER": "external"}))
    parts, client = app.extensions["trainyard"], app.test_client()
    with parts.database.write() as connection:
        _, secret = create_key(connection, "alice", [Scope.TRAIN, Scope.PREDICT], limits={"body_bytes": 1024})
    own = {"Authorization": f"Bearer {secret}"}
    assert client.post("/models", json=a_model("here"), headers=own).status_code == 201
    for path, kind, content in (
        ("/datasets?name=a", "text/csv", b"x,colour\n" + b"1,red\n2,blue\n" * 200),
        ("/models/here/checkpoints", "application/x-hdf5", bytes(2000)),
    ):
        packed = {"Content-Encoding": "gzip"}
        for body, headers in ((content, {}), (gzip.compress(content), packed)):
            assert len(body) > 1024 or headers
            answer = client.post(path, data=body, content_type=kind, headers={**own, **headers})
            assert (answer.status_code, answer.get_json()["code"]) == (413, "too_large"), (path, headers)
            assert "at most 1024 bytes" in answer.get_json()["detail"]
    parts.parser.close()
    parts.database.dispose()


def test_an_import_may_be_as_large_as_its_model_can_need(make_server: Callable[..., Any]) -> None:
    """Refused by its length, before it comes; by chunks as soon as they are too many."""
    from tests.service.web.test_full_disk import begun

    server = make_server(WORKERS=1, TRAINER="external", MAX_BODY_BYTES=100_000, MAX_IMPORT_BYTES=2**31)
    client = server.start()
    client.define(a_model("tiny"))
    status, body = begun(client, "/models/tiny/checkpoints", 300_000_000, "application/x-hdf5")
    assert (status, b"at most 100000 bytes" in body) == (413, True)
    client.define(a_model("larger", layers=stacked(60, 60)))  # 4,023 parameters
    status, body = begun(client, "/models/larger/checkpoints", 600_000, "application/x-hdf5")
    assert (status, b"at most 514944 bytes" in body) == (413, True)
    small = client.post("/models/tiny/checkpoints", b"no HDF5" * 100, headers={"Content-Type": "application/x-hdf5"})
    assert (small.status, small.json["code"]) == (400, "invalid_hdf5")
