"""Importing ONNX and skops files: one request makes a model that predicts as before, and bad files leave nothing."""

from __future__ import annotations

import io
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import skops.io
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from models.errors import InvalidError, MissingExtraError, UnreadableError
from models.imports.kinds import Kind
from models.imports.network import version_of
from service.settings import Settings
from service.uploads import parser as parser_module
from service.uploads.parser import UploadParser
from testing.bad_files import GOOD
from testing.harness import Answer, Client, Server
from testing.samples import fresh
from tests.models.imports.cases import CASES, a_model, keras_like, node, torch_like
from tests.models.imports.refused import REFUSED
from tests.models.imports.support import by_runtime
from tests.models.imports.test_sklearn_network import HOSTILE, ROWS, THREE, TWO, fitted, mlp
from trainyard import Trainyard
from trainyard.requests import request_for

pytestmark = pytest.mark.processes

SKOPS, ONNX = {"Content-Type": "application/zip"}, {"Content-Type": "application/x-onnx"}


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server whose models have few parameters."""
    running = Server(tmp_path_factory.mktemp("networks") / "data", WORKERS=1, MAX_PARAMETERS=500)
    try:
        running.start_ready()
        yield running
    finally:
        running.close()


@pytest.fixture
def client(own: Server) -> Client:
    return own.client


def kept(server: Server) -> dict[str, int]:
    """Everything that an import could add to."""
    stored = server.stored()
    return {name: stored[name] for name in ("models", "versions", "checkpoints", "checkpoints files")}


@pytest.fixture
def unchanged(own: Server) -> Iterator[Client]:
    """A client; checks that nothing of what it sends is kept, and that no child failed."""
    before, logged = kept(own), len(own.log)
    yield own.client
    assert kept(own) == before
    assert "a child failed" not in own.log[logged:]


def send(client: Client, name: str, content: bytes, kind: dict[str, str] = SKOPS, query: str = "") -> Answer:
    return client.post(f"/models/{name}/checkpoints{query}", content, headers=kind)


def made(client: Client, name: str, content: bytes, kind: dict[str, str] = SKOPS, query: str = "") -> dict[str, Any]:
    answer = send(client, name, content, kind, query)
    assert answer.status == 201, answer
    version: dict[str, Any] = answer.json
    assert answer.headers["location"] == f"/models/{name}/versions/{version['version']}"
    return version


def first_problem(answer: Answer, status: int = 422) -> tuple[str, str]:
    assert answer.status == status, answer
    problem = answer.json["errors"][0]
    return problem["pointer"], problem["detail"]


def predict(client: Client, name: str, rows: Any, version: int | None = None) -> Any:
    request = {"model": name, "inputs": np.asarray(rows).tolist(), **({} if version is None else {"version": version})}
    answer = client.post("/predict", request)
    assert answer.status == 200, answer
    return answer.json


class TestGood:
    """Files of other programs."""

    @pytest.mark.parametrize("labels", [THREE, TWO, TWO.astype(int)], ids=["texts", "booleans", "numbers"])
    @pytest.mark.parametrize("activation", ["identity", "logistic", "tanh", "relu"])
    def test_a_classifier_of_scikit_learn(self, client: Client, activation: str, labels: Any) -> None:
        model = fitted(make_pipeline(StandardScaler(), mlp(activation=activation)), ROWS, labels)
        name = fresh("sklearn")
        version = made(client, name, skops.io.dumps(model))
        assert (version["version"], version["job"], version["metrics"]) == (1, None, {})
        answer = predict(client, name, ROWS)
        np.testing.assert_allclose(answer["probabilities"], model.predict_proba(ROWS), rtol=0, atol=1e-6)
        assert answer["predictions"] == model.predict(ROWS).tolist()
        shown = client.get(f"/models/{name}").json
        assert (shown["inputs"], shown["classes"], shown["dtype"]) == (4, model.classes_.tolist(), "float64")
        assert shown["default"] == 1

    @pytest.mark.parametrize("kind", ["application/x-onnx", "application/onnx", "application/octet-stream", ""])
    def test_an_onnx_file(self, client: Client, kind: str) -> None:
        content = CASES["three classes of skl2onnx"]()
        name = fresh("onnx")
        made(client, name, content, {"Content-Type": kind})
        rows = np.random.default_rng(1).normal(size=(20, 4)).astype("f4")
        labels, probabilities = by_runtime(content, rows)
        answer = predict(client, name, rows)
        np.testing.assert_allclose(answer["probabilities"], probabilities, rtol=0, atol=1e-6)
        assert answer["predictions"] == labels.tolist()

    def test_names_of_columns_are_shown(self, client: Client) -> None:
        frame = pd.DataFrame(ROWS, columns=list("abcd"))
        name = fresh("named")
        made(client, name, skops.io.dumps(fitted(mlp(), frame, THREE)))
        assert client.get(f"/models/{name}").json["metadata"] == {"feature_names": ["a", "b", "c", "d"]}

    def test_classes_may_be_named(self, client: Client) -> None:
        for text, classes in (("no,yes, é ", ["no", "yes", "é"]), ("3,-1,2", [3, -1, 2])):
            name = fresh("classes")
            made(client, name, torch_like(), ONNX, f"?classes={text.replace('é', '%C3%A9').replace(' ', '%20')}")
            assert client.get(f"/models/{name}").json["classes"] == classes
        name = fresh("classes")
        made(client, name, CASES["one logistic unit"](), ONNX, "?classes=false,true")
        assert client.get(f"/models/{name}").json["classes"] == [False, True]

    def test_a_file_without_classes_takes_those_of_its_model(self, client: Client) -> None:
        name = fresh("theirs")
        client.define({"name": name, "inputs": 4, "classes": ["x", "y", "z"], "hidden": [5]})
        version = made(client, name, torch_like(), ONNX)
        assert set(predict(client, name, ROWS)["predictions"]) <= {"x", "y", "z"}
        assert version["definition"] == client.get(f"/models/{name}/versions/1").json["definition"]

    def test_a_network_that_fits_has_the_definition_of_its_model(self, client: Client) -> None:
        """Dropout, which a file from elsewhere lacks, and what only training reads, are the model's; a run goes on."""
        name = fresh("fits")
        layers: list[Any] = [{"type": "dense", "units": 5, "l2": 0.01}, "relu", {"type": "dropout", "rate": 0.2}]
        definition = {
            "name": name,
            "inputs": 4,
            "classes": 3,
            "layers": [*layers, {"type": "dense", "units": 3}, "softmax"],
            "optimizer": {"type": "sgd", "learning_rate": 0.1},
        }
        client.define(definition)
        version = made(client, name, torch_like(), ONNX)
        shown = client.get(f"/models/{name}").json
        assert [version["definition"][each] for each in ("layers", "optimizer")] == [
            shown[each] for each in ("layers", "optimizer")
        ]
        assert [layer["type"] for layer in version["definition"]["layers"]][2] == "dropout"
        rows = ROWS.tolist()
        data = {"inputs": rows, "labels": [index % 3 for index in range(len(rows))]}
        job = client.run({"model": name, "data": data, "epochs": 1, "start_from": version["checkpoint"]})
        assert job["version"] == 2
        first, second = (np.array(predict(client, name, ROWS, number)["probabilities"]) for number in (1, 2))
        assert 0 < np.abs(first - second).max() < 1

    def test_another_network_has_a_definition_of_its_own(self, client: Client) -> None:
        """The model's stays, so that its next jobs train what they were to train."""
        name = fresh("retrained")
        made(client, name, skops.io.dumps(fitted(mlp(5), ROWS, THREE)))
        before = client.get(f"/models/{name}").json
        model = fitted(mlp(7, 3, activation="tanh"), ROWS, THREE)
        version = made(client, name, skops.io.dumps(model))
        assert version["version"] == 2
        assert len(version["definition"]["layers"]) == len(before["layers"]) + 2
        after = client.get(f"/models/{name}").json
        assert (after["layers"], after["default"]) == (before["layers"], 2)
        np.testing.assert_allclose(
            predict(client, name, ROWS)["probabilities"], model.predict_proba(ROWS), rtol=0, atol=1e-6
        )
        assert predict(client, name, ROWS, 1)["version"] == 1

    def test_a_repeated_request_is_answered_with_the_first_version(self, client: Client) -> None:
        name, content = fresh("again"), torch_like()
        headers = {**ONNX, "Idempotency-Key": "one"}
        first, second = (send(client, name, content, headers) for _ in range(2))
        assert first.status == second.status == 201
        assert first.body == second.body
        assert second.headers["idempotent-replayed"] == "true"
        assert len(client.get(f"/models/{name}/versions").json["data"]) == 1
        other = send(client, name, CASES["softmax"](), headers)
        assert (other.status, other.json["code"]) == (422, "idempotency_key_reused")

    def test_several_at_once_are_versions_of_one_model(self, client: Client) -> None:
        name, answers = fresh("many"), list[Answer]()
        threads = [
            threading.Thread(target=lambda: answers.append(send(client, name, torch_like(), ONNX))) for _ in "abc"
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(answer.json["version"] for answer in answers) == [1, 2, 3]

    def test_an_exported_version_comes_back(self, client: Client) -> None:
        """As ONNX, under another name."""
        name, again = fresh("here"), fresh("there")
        made(client, name, skops.io.dumps(fitted(make_pipeline(StandardScaler(), mlp()), ROWS, THREE)))
        exported = client.get(f"/models/{name}/versions/1/export?format=onnx")
        assert exported.status == 200, exported
        made(client, again, exported.body, ONNX)
        assert client.get(f"/models/{again}").json["classes"] == sorted(set(THREE.tolist()))
        first, second = (predict(client, each, ROWS)["probabilities"] for each in (name, again))
        np.testing.assert_allclose(first, second, rtol=0, atol=1e-9)


class TestClients:
    """The client and the command, which see no kinds."""

    def test_the_client(self, own: Server, tmp_path: Path) -> None:
        place, name = tmp_path / "file.bin", fresh("client")
        place.write_bytes(CASES["one logistic unit"]())
        with Trainyard(own.client.base) as ty:
            version = ty.import_model(name, place, classes=[False, True])
            assert (version.number, ty.model(name).classes) == (1, (False, True))
            assert ty.model(name).import_checkpoint(place).number == 2
            assert set(ty.predict(name, ROWS.tolist()).labels) <= {False, True}
            # A lost answer to a repeated request would be the same version.
            assert "Idempotency-Key" in request_for("POST", f"/models/{name}/checkpoints", b"").headers

    def test_the_command(self, own: Server, tmp_path: Path) -> None:
        place, name = tmp_path / "spam.onnx", fresh("command")
        place.write_bytes(torch_like())
        words = ["model", "import", name, str(place), "--classes"]
        command = [sys.executable, "-m", "trainyard", "--url", own.client.base, *words]
        done = subprocess.run([*command, "a,b,c"], capture_output=True, text=True)
        assert (done.returncode, done.stdout) == (0, f"{name}@1\n"), done.stderr
        refused = subprocess.run([*command, "a,b"], capture_output=True, text=True)
        assert refused.returncode == 4
        assert "--classes" in refused.stderr
        assert "must be 3 labels" in refused.stderr


class TestBad:
    """Other files are refused with their place, and nothing is stored."""

    @pytest.mark.parametrize("name", HOSTILE)
    def test_a_hostile_skops_file(self, unchanged: Client, name: str) -> None:
        answer = send(unchanged, fresh("bad"), HOSTILE[name]())
        assert answer.status in (400, 422), answer
        if answer.status == 400:
            assert answer.json["code"] == "invalid_network_file"

    def test_an_operator_that_is_not_known(self, unchanged: Client) -> None:
        answer = send(unchanged, fresh("bad"), torch_like(node("Conv", "h w1", "a")), ONNX)
        place, detail = first_problem(answer)
        assert place == "/graph/node/1"
        assert "'Conv a' must be an operator of a multilayer perceptron: Abs, Add" in detail
        assert detail.endswith("Received: Conv")

    def test_other_inputs_and_classes_than_those_of_the_model(self, client: Client, own: Server) -> None:
        name = fresh("model")
        client.define({"name": name, "inputs": 3, "classes": ["a", "b", "c"], "hidden": [5]})
        assert first_problem(send(client, name, torch_like(), ONNX))[0] == "/inputs"
        name = fresh("model")
        client.define({"name": name, "inputs": 4, "classes": ["c", "b", "a"], "hidden": [5]})
        content = keras_like(
            node("ZipMap", "z", "maps", domain="ai.onnx.ml", classlabels_strings=["a", "b", "c"]), outputs="maps"
        )
        place, detail = first_problem(send(client, name, content, ONNX))
        assert (place, '["c", "b", "a"] in this order' in detail) == ("/classes", True)
        name = fresh("model")
        client.define({"name": name, "features": [{"column": "x", "type": "number"}], "classes": 3, "hidden": [5]})
        assert first_problem(send(client, name, torch_like(), ONNX))[0] == "/features"
        assert own.stored()["models"] >= 3

    @pytest.mark.parametrize(
        ("query", "wanted"),
        [
            ("?classes=a,b", "must be 3 labels"),
            ("?classes=a,b,a", "repeated"),
            ("?classes=", "must have 1 to 8192 characters"),
        ],
    )
    def test_classes_that_do_not_fit(self, unchanged: Client, query: str, wanted: str) -> None:
        place, detail = first_problem(send(unchanged, fresh("bad"), torch_like(), ONNX, query))
        assert place.startswith("/classes")
        assert wanted in detail

    def test_classes_of_a_checkpoint(self, client: Client) -> None:
        name = fresh("model")
        client.define({"name": name, "inputs": 2, "classes": 3, "hidden": [4]})
        kind = {"Content-Type": "application/x-hdf5"}
        assert first_problem(send(client, name, GOOD, kind, "?classes=a,b,c"))[0] == "/classes"

    def test_a_checkpoint_of_no_model(self, unchanged: Client) -> None:
        assert send(unchanged, fresh("none"), GOOD).json["code"] == "not_found"

    @pytest.mark.parametrize("content", [b"", b"\x80\x04\x95", b"a,b\n1,2\n"])
    def test_another_file_of_no_model(self, unchanged: Client, content: bytes) -> None:
        """A pickle, for example."""
        answer = send(unchanged, fresh("none"), content)
        assert (answer.status, answer.json["code"]) == (400, "invalid_network_file")
        assert answer.json["detail"].endswith(f"Received: the bytes {content[:8].hex(' ')}")

    def test_a_name_that_no_model_may_have(self, unchanged: Client) -> None:
        place, _ = first_problem(send(unchanged, "a%20b", torch_like(), ONNX))
        assert place == "/name"

    def test_more_parameters_than_may_be(self, unchanged: Client) -> None:
        answer = send(unchanged, fresh("large"), skops.io.dumps(fitted(mlp(100), ROWS, THREE)))
        assert (answer.status, answer.json["code"]) == (422, "too_many_parameters")

    def test_more_models_than_may_be(self, make_server: Callable[..., Server]) -> None:
        server = make_server(MAX_MODELS=1)
        client = server.start()
        made(client, "first", torch_like(), ONNX)
        answer = send(client, "second", torch_like(), ONNX)
        assert (answer.status, answer.json["code"]) == (429, "too_many_models")
        assert made(client, "first", torch_like(), ONNX)["version"] == 2
        stored = server.stored()
        assert (stored["models"], stored["checkpoints files"]) == (1, 2)


def a_tree() -> bytes:
    """A file of which little is a tree of five million nodes."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("schema.json", b'{"__loader__": [' + b"{}," * (5 * 2**20) + b"{}]}")
    return archive.getvalue()


def a_graph(field: bytes) -> bytes:
    """A graph of sixteen million empty messages in one of its fields, in 32 MB."""
    return b"\x08\x09\x3a\x80\x80\x80\x10" + (field + b"\x00") * 2**24


LARGE: dict[str, tuple[Kind, Callable[[], bytes]]] = {
    "many nodes": (Kind.ONNX, lambda: a_graph(b"\x0a")),
    "many constants": (Kind.ONNX, lambda: a_graph(b"\x2a")),
    "many members": (Kind.SKOPS, lambda: b"PK\x03\x04" + b"PK\x01\x02" * 2**22),
    "zeros": (Kind.ONNX, lambda: b"\x08" + bytes(2**20)),
    "a tree of many nodes": (Kind.SKOPS, a_tree),
}


@pytest.fixture(scope="module")
def parser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[UploadParser]:
    parser = UploadParser(Settings.read({"TRAINYARD_DATA": str(tmp_path_factory.mktemp("parser"))}))
    yield parser
    parser.close()


class TestParser:
    """The process that reads."""

    def ask(self, parser: UploadParser, content: bytes, kind: Kind, folder: Path) -> Any:
        with (folder / "upload").open("w+b") as upload, (folder / "exchange").open("w+b") as exchange:
            upload.write(content)
            network = parser.network(upload, exchange, kind)
            return version_of(network, "m", None, None)

    @pytest.mark.parametrize("name", LARGE)
    def test_what_would_take_too_much_ends_the_child_alone(
        self, parser: UploadParser, name: str, tmp_path: Path
    ) -> None:
        """Whichever limit it meets first."""
        kind, make = LARGE[name]
        with pytest.raises(UnreadableError) as raised:
            self.ask(parser, make(), kind, tmp_path)
        assert raised.value.code == "invalid_network_file"
        process = parser._networks._process
        assert process is not None
        assert self.ask(parser, torch_like(), Kind.ONNX, tmp_path).definition.inputs == 4
        assert parser._networks._process is process

    @pytest.mark.parametrize("name", REFUSED)
    def test_a_child_says_why_it_refuses_a_graph(self, parser: UploadParser, name: str, tmp_path: Path) -> None:
        """It can import no module for that."""
        make, place, detail = REFUSED[name]
        with pytest.raises(InvalidError) as raised:
            self.ask(parser, make(), Kind.ONNX, tmp_path)
        assert raised.value.problems[0].pointer == place
        assert detail in raised.value.problems[0].detail

    def test_a_large_network_fits(self, parser: UploadParser, tmp_path: Path) -> None:
        """The limits leave room for what is good: 40 MB of weights."""
        large = np.random.default_rng(0).normal(size=(4000, 2500)).astype("f4")
        nodes = [node("MatMul", "x w", "h"), node("MatMul", "h v", "y")]
        constants = {"w": large, "v": np.zeros((2500, 2), "f4")}
        found = self.ask(parser, a_model(nodes, constants, shape=(None, 4000)), Kind.ONNX, tmp_path)
        assert np.array_equal(found.parameters["0_dense/weights"], large)

    def test_without_the_package_an_extra_is_missing(
        self, parser: UploadParser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(parser_module.importlib.util, "find_spec", lambda name: None)
        with pytest.raises(MissingExtraError) as raised:
            self.ask(parser, torch_like(), Kind.ONNX, tmp_path)
        assert 'pip install "trainyard-server[onnx]"' in raised.value.detail
        assert self.ask(parser, skops.io.dumps(fitted(mlp(), ROWS, THREE)), Kind.SKOPS, tmp_path).definition.inputs == 4
