"""The Open Inference Protocol V2 over HTTP: metadata, readiness, inference, the repository and statistics."""

from __future__ import annotations

import gzip
import http.client
import json
import struct
import zlib
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest

from models.version import VERSION
from testing.harness import Answer, Client, eventually
from testing.samples import CLASSES, ROWS, a_model, a_training, fresh
from tests.service.conftest import Trained
from tests.service.web.protocols.conftest import Tabled

pytestmark = pytest.mark.processes

LENGTH = "Inference-Header-Content-Length"


def rows_tensor(rows: Any = ROWS) -> dict[str, Any]:
    return {"name": "inputs", "shape": [len(rows), 2], "datatype": "FP32", "data": rows}


def raw_request(rows: Any = ROWS, **members: Any) -> tuple[bytes, int]:
    """A body with raw bytes, and the length of its JSON."""
    raw = np.array(rows, "<f4").tobytes()
    given = rows_tensor(rows) | {"parameters": {"binary_data_size": len(raw)}}
    del given["data"]
    head = json.dumps({"inputs": [given], **members}).encode()
    return head + raw, len(head)


def infer(client: Client, address: str, body: Any, **headers: str) -> Answer:
    answer = client.post(
        f"/v2/models/{address}/infer", body, headers={k.replace("_", "-"): v for k, v in headers.items()}
    )
    assert answer.status == 200, answer
    return answer


def probabilities(answer: Answer) -> list[list[float]]:
    (found,) = (output for output in answer.json["outputs"] if output["name"] == "probabilities")
    return np.reshape(found["data"], found["shape"]).tolist()


def predict(client: Client, model: str, rows: Any = ROWS, **members: Any) -> list[list[float]]:
    answer = client.post("/predict", {"model": model, "inputs": rows, **members})
    assert answer.status == 200, answer
    found: list[list[float]] = answer.json["probabilities"]
    return found


def refused(answer: Answer, status: int = 400) -> str:
    """The sentence of an error, which is its only member."""
    assert answer.status == status, answer
    assert answer.headers["content-type"] == "application/json"
    assert answer.json.keys() == {"error"}
    return str(answer.json["error"])


@pytest.fixture(scope="module")
def defined(server: Any) -> str:
    """A model without a version."""
    name = fresh("defined")
    server.client.define(a_model(name))
    return name


class TestMetadata:
    """What the server and its models say of themselves."""

    def test_the_server(self, client: Client) -> None:
        found = client.get("/v2").json
        extensions = ["binary_tensor_data", "classification", "model_repository", "statistics"]
        assert found == {"name": "trainyard", "version": VERSION, "extensions": extensions}

    def test_health(self, client: Client) -> None:
        assert client.get("/v2/health/live").json == {"live": True}
        assert client.get("/v2/health/ready").json == {"ready": True, "live": True}

    @pytest.mark.parametrize("version", ["", "/versions/1", "/versions/latest"])
    def test_a_model(self, client: Client, trained: Trained, version: str) -> None:
        assert client.get(f"/v2/models/{trained.name}{version}").json == {
            "name": trained.name,
            "versions": ["3", "2", "1"],
            "platform": "trainyard",
            "inputs": [{"name": "inputs", "datatype": "FP32", "shape": [-1, 2]}],
            "outputs": [
                {"name": "probabilities", "datatype": "FP32", "shape": [-1, 3]},
                {"name": "predictions", "datatype": "BYTES", "shape": [-1]},
            ],
        }

    def test_a_model_of_a_table(self, client: Client, visits: Tabled, sizes: Tabled) -> None:
        found = client.get(f"/v2/models/{visits.name}").json["inputs"]
        datatypes = {"age": "FP64", "sex": "BYTES", "member": "BOOL", "day": "BYTES", "notes": "BYTES"}
        assert {each["name"]: each["datatype"] for each in found} == datatypes
        assert all(each["shape"] == [-1, 1] for each in found)
        found = client.get(f"/v2/models/{sizes.name}").json["outputs"]
        assert [each["datatype"] for each in found] == ["FP32", "INT64"]

    @pytest.mark.parametrize("version", ["", "/versions/2", "/versions/latest"])
    def test_a_model_is_ready(self, client: Client, trained: Trained, version: str) -> None:
        found = client.get(f"/v2/models/{trained.name}{version}/ready").json
        assert found == {"name": trained.name, "ready": True, "live": True}

    def test_a_model_without_a_version_is_not_ready(self, client: Client, defined: str) -> None:
        answer = client.get(f"/v2/models/{defined}/ready")
        assert answer.status == 404
        assert {**answer.json, "error": ""} == {"name": defined, "ready": False, "live": True, "error": ""}
        assert "has no version yet" in answer.json["error"]
        assert "has no version yet" in refused(client.get(f"/v2/models/{defined}"), 404)
        assert "has no version yet" in refused(
            client.post(f"/v2/models/{defined}/infer", {"inputs": [rows_tensor()]}), 404
        )

    @pytest.mark.parametrize("what", ["", "/ready", "/stats", "/infer"])
    def test_what_does_not_exist(self, client: Client, trained: Trained, what: str) -> None:
        method, body = ("POST", {"inputs": [rows_tensor()]}) if what == "/infer" else ("GET", None)
        for model, said in (("none", "'none'"), (f"{trained.name}/versions/9", "version 9")):
            assert said in refused(client.request(method, f"/v2/models/{model}{what}", body), 404)

    def test_other_paths_and_methods_have_errors_of_the_same_shape(self, client: Client) -> None:
        assert "nothing at /v2/nothing" in refused(client.get("/v2/nothing"), 404)
        assert "not allowed" in refused(client.post("/v2", {}), 405)


class TestInference:
    """``/infer``."""

    def test_answers_are_those_of_predict(self, client: Client, trained: Trained) -> None:
        for version, wanted in (("", None), ("/versions/1", 1), ("/versions/latest", "latest")):
            answer = infer(client, f"{trained.name}{version}", {"inputs": [rows_tensor()]})
            assert probabilities(answer) == predict(client, trained.name, version=wanted)
            assert answer.json["model_version"] == {None: "3", 1: "1", "latest": "3"}[wanted]

    def test_raw_bytes_both_ways(self, client: Client, trained: Trained) -> None:
        body, length = raw_request(id="7", parameters={"binary_data_output": True})
        for sent, header in ((body, str(length)), (body[length:], "0")):
            answer = client.request("POST", f"/v2/models/{trained.name}/infer", sent, {LENGTH: header})
            assert answer.status == 200, answer
            assert answer.headers["content-type"] == "application/octet-stream"
            end = int(answer.headers[LENGTH.lower()])
            document, rest = json.loads(answer.body[:end]), answer.body[end:]
            assert document.get("id") == (None if header == "0" else "7")
            first, second = document["outputs"]
            size = first["parameters"]["binary_data_size"]
            found = np.frombuffer(rest[:size], "<f4").reshape(first["shape"])
            assert np.array_equal(found, np.float32(predict(client, trained.name)))
            labels = [CLASSES[place] for place in found.argmax(axis=1)]
            encoded = b"".join(struct.pack("<I", len(label)) + label.encode() for label in labels)
            assert (rest[size:], second["parameters"]["binary_data_size"]) == (encoded, len(encoded))

    def test_a_client_that_names_no_types(self, client: Client, trained: Trained) -> None:
        """The stock client sends neither Content-Type nor Accept, and names of headers in lower case."""
        body, length = raw_request()
        connection = http.client.HTTPConnection(urlsplit(client.base).netloc, timeout=30)
        try:
            connection.putrequest("POST", f"/v2/models/{trained.name}/infer", skip_accept_encoding=True)
            connection.putheader("inference-header-content-length", str(length))
            connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body)
            response = connection.getresponse()
            assert response.status == 200
            assert json.loads(response.read())["model_name"] == trained.name
        finally:
            connection.close()

    @pytest.mark.parametrize(("coding", "compress"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
    def test_compressed_bodies(self, client: Client, trained: Trained, coding: str, compress: Any) -> None:
        """The header is the length of the JSON before it was compressed."""
        body, length = raw_request()
        headers = {"Content-Encoding": coding, LENGTH: str(length)}
        answer = client.request("POST", f"/v2/models/{trained.name}/infer", compress(body), headers)
        assert answer.status == 200, answer
        assert probabilities(answer) == predict(client, trained.name)
        refused(client.request("POST", f"/v2/models/{trained.name}/infer", b"no such data", headers))

    @pytest.mark.parametrize(("coding", "decompress"), [("gzip", gzip.decompress), ("deflate", zlib.decompress)])
    def test_compressed_answers(self, client: Client, trained: Trained, coding: str, decompress: Any) -> None:
        rows = np.random.default_rng(0).normal(size=(6000, 2)).tolist()
        answer = infer(client, trained.name, {"inputs": [rows_tensor(rows)]}, Accept_Encoding=coding)
        assert answer.headers["content-encoding"] == coding
        plain = infer(client, trained.name, {"inputs": [rows_tensor(rows)]})
        assert "content-encoding" not in plain.headers
        assert json.loads(decompress(answer.body)) == plain.json

    def test_columns(self, client: Client, visits: Tabled) -> None:
        rows = visits.rows[:9]
        datatypes = {each["name"]: each["datatype"] for each in client.get(f"/v2/models/{visits.name}").json["inputs"]}
        given = [
            {"name": name, "shape": [9, 1], "datatype": datatype, "data": [row[name] for row in rows]}
            for name, datatype in datatypes.items()
        ]
        answer = infer(client, visits.name, {"inputs": given})
        expected = client.post("/predict", {"model": visits.name, "rows": rows}).json
        assert probabilities(answer) == expected["probabilities"]
        assert answer.json["outputs"][1]["data"] == expected["predictions"]

    def test_errors_name_the_place(self, client: Client, trained: Trained) -> None:
        path = f"/v2/models/{trained.name}/infer"
        given = {**rows_tensor(), "datatype": "FP31"}
        said = refused(client.post(path, {"inputs": [given], "outputs": [{"nam": "x"}]}))
        for part in ("/inputs/0/datatype: must be one of", "Received: 'FP31'", "/outputs/0/nam: is not a known field"):
            assert part in said
        body, length = raw_request()
        said = refused(client.request("POST", path, body, {LENGTH: str(length + 3)}))
        assert said.startswith(f"the header {LENGTH} must be {length}, the length of the JSON")
        assert f"must be {length}" in refused(client.request("POST", path, body))
        assert "not valid JSON" in refused(client.post(path, b"{"))
        assert "row 1 is so large" in refused(client.post(path, {"inputs": [rows_tensor([[0, 0], [3e38, -3e38]])]}))


def test_no_bytes_make_the_server_fail(client: Client, trained: Trained, visits: Tabled) -> None:
    """Bodies that are cut, mixed up or have another length than the header says."""
    random = np.random.default_rng(5)
    connection = http.client.HTTPConnection(urlsplit(client.base).netloc, timeout=30)
    good, end = raw_request()
    statuses = set()
    for _ in range(150):
        body, length = bytearray(good), end
        for _ in range(random.integers(0, 4)):
            body[random.integers(len(body))] = random.integers(256)
        if random.random() < 0.5:
            del body[random.integers(len(body)) :]
        if random.random() < 0.5:
            length = int(random.choice([0, len(body), random.integers(len(good) + 9)]))
        model = random.choice([trained.name, visits.name])
        connection.request("POST", f"/v2/models/{model}/infer", bytes(body), {LENGTH: str(length)})
        response = connection.getresponse()
        document = response.read()
        statuses.add(response.status)
        if response.status != 200:
            assert response.status == 400, document
            assert json.loads(document).keys() == {"error"}
    connection.close()
    assert statuses == {200, 400}


class TestRepository:
    """Which models there are, and which a worker has loaded."""

    def test_the_index(self, client: Client, trained: Trained, defined: str) -> None:
        ready = {"name": trained.name, "version": "3", "state": "READY", "reason": ""}
        for body in (None, {}, {"ready": False}):
            found = client.post("/v2/repository/index", body).json
            assert ready in found
            (other,) = (each for each in found if each["name"] == defined)
            assert (other["state"], "version" in other) == ("UNAVAILABLE", False)
            assert "has no version yet" in other["reason"]
        found = client.post("/v2/repository/index", {"ready": True}).json
        assert ready in found
        assert defined not in [each["name"] for each in found]
        assert "/ready: must be true or false" in refused(client.post("/v2/repository/index", {"ready": 1}))

    def test_a_model_answers_whether_it_was_loaded_or_not(self, client: Client, trained: Trained) -> None:
        path, expected = f"/v2/repository/models/{trained.name}", predict(client, trained.name)
        for what, body in (("unload", {"parameters": {"unload_dependents": False}}), ("load", {}), ("unload", None)):
            for _ in range(3):
                assert client.post(f"{path}/{what}", body).json == {}
            assert predict(client, trained.name) == expected
            assert client.get(f"/v2/models/{trained.name}/ready").status == 200

    def test_what_cannot_be_loaded(self, client: Client, trained: Trained, defined: str) -> None:
        for what in ("load", "unload"):
            assert "'none'" in refused(client.post(f"/v2/repository/models/none/{what}", {}), 404)
        assert "no version yet" in refused(client.post(f"/v2/repository/models/{defined}/load", {}), 404)
        given = {"parameters": {"config": "{}"}}
        assert "/parameters/config" in refused(client.post(f"/v2/repository/models/{trained.name}/load", given))


class TestStatistics:
    """What was served, counted by all workers."""

    def test_counts_and_times(self, client: Client) -> None:
        name = fresh("counted")
        client.define(a_model(name))
        client.run(a_training(name))
        path = f"/v2/models/{name}/stats"
        (before,) = client.get(path).json["model_stats"]
        assert (before["inference_count"], before["last_inference"]) == (0, 0)
        for rows in (ROWS, ROWS[:1], ROWS[:5]):
            infer(client, name, {"inputs": [rows_tensor(rows)]})
        predict(client, name, ROWS[:2])
        refused(client.post(f"/v2/models/{name}/infer", {"inputs": [rows_tensor([[1e39, 0.0]])]}))

        def counted() -> dict[str, Any] | None:
            (found,) = client.get(path).json["model_stats"]
            stats = found["inference_stats"]
            return found if (stats["success"]["count"], stats["fail"]["count"]) == (4, 1) else None

        # Each worker counts every tenth of a second.
        found = eventually(counted, what="four answers and a refusal")
        assert found is not None
        assert (found["name"], found["version"]) == (name, "1")
        assert (found["inference_count"], found["execution_count"]) == (len(ROWS) + 1 + 5 + 2, 4)
        stats = found["inference_stats"]
        phases = ("queue", "compute_input", "compute_infer", "compute_output")
        assert all(stats[phase]["count"] == 4 for phase in phases)
        assert abs(stats["success"]["ns"] - sum(stats[phase]["ns"] for phase in phases)) <= 4
        assert all(stats[phase]["ns"] > 0 for phase in ("success", "fail", "compute_input", "compute_infer"))
        created = client.get(f"/models/{name}/versions/1").json["created_at"]
        assert found["last_inference"] >= np.datetime64(created.removesuffix("Z"), "ms").astype(int)
        assert client.get(f"/v2/models/{name}/versions/latest/stats").json == {"model_stats": [found]}
        assert found in client.get("/v2/models/stats").json["model_stats"]

    def test_all_versions_of_a_model(self, client: Client, trained: Trained) -> None:
        found = client.get(f"/v2/models/{trained.name}/stats").json["model_stats"]
        assert [each["version"] for each in found] == ["1", "2", "3"]
