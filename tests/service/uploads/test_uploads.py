"""Importing checkpoint files: good ones become versions that predict the same, bad ones leave no trace."""

from __future__ import annotations

import http.client
import io
import json
import os
import re
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import h5py
import numpy as np
import pytest

from models.definition.definition import ModelDefinition
from service.settings import Settings
from service.uploads.parser import UploadParser
from testing import bad_files
from testing.bad_files import BAD, GOOD, MODEL, PARAMETERS, STATISTICS, image
from testing.harness import Answer, Client, Server, eventually, is_gone
from testing.samples import PROBLEM, ROWS, a_training, fresh

pytestmark = pytest.mark.processes

LIMIT = 8 * 2**20
FILE = {"Content-Type": "application/x-hdf5"}


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with a low bound on imports, and the model of the bad files."""
    running = Server(tmp_path_factory.mktemp("imports") / "data", MAX_IMPORT_BYTES=LIMIT)
    try:
        running.start_ready()
        running.client.define(MODEL)
        yield running
    finally:
        running.close()


@pytest.fixture
def client(own: Server) -> Client:
    return own.client


def kept(server: Server) -> dict[str, int]:
    """Everything that an import could add to; rows of ended jobs are left out, because a trainer deletes them."""
    stored = server.stored()
    return {name: stored[name] for name in ("models", "versions", "checkpoints", "checkpoints files")}


@pytest.fixture
def unchanged(own: Server) -> Iterator[Client]:
    """A client of that server; checks that nothing of what it sends is kept, and that the service met no fault."""
    before, logged = kept(own), len(own.log)
    yield own.client
    assert kept(own) == before
    assert not re.search(r"request failed|Error handling request|a child failed", own.log[logged:])


def send(client: Client, content: bytes, model: str = "target", **headers: str) -> Answer:
    return client.post(f"/models/{model}/checkpoints", content, headers={**FILE, **headers})


def problem(answer: Answer, status: int) -> dict[str, Any]:
    assert answer.status == status, answer
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json.keys() == PROBLEM
    assert answer.json["detail"]
    return answer.json


def probabilities(client: Client, model: str, version: int) -> Any:
    answer = client.post("/predict", {"model": model, "inputs": ROWS, "version": version})
    assert answer.status == 200, answer
    return answer.json["probabilities"]


def minimal(file: h5py.File) -> None:
    """Remove everything that is optional."""
    for name in ("optimizer", "training", "history"):
        del file[name]
    for name in ("definition", "classes"):
        del file.attrs[name]


class TestGood:
    """Files with the documented layout."""

    def test_a_file_becomes_the_next_version(self, client: Client) -> None:
        name = fresh("imported")
        client.define({**MODEL, "name": name})
        answer = send(client, GOOD, name)
        assert answer.status == 201
        assert answer.headers["location"] == f"/models/{name}/versions/1"
        version = answer.json
        assert (version["model"], version["version"], version["job"]) == (name, 1, None)
        with h5py.File(io.BytesIO(GOOD)) as file:
            last = {column: file[f"history/{column}"][-1] for column in version["metrics"]}
        assert version["metrics"] == last
        assert client.get(answer.headers["location"]).json == version
        checkpoint = client.get(f"/checkpoints/{version['checkpoint']}").json
        assert (checkpoint["job"], checkpoint["epoch"], checkpoint["step"]) == (None, 3, 6)
        assert client.get(f"/models/{name}").json["default"] == 1
        assert client.get(f"/models/{name}/checkpoints").json["data"] == [checkpoint]

    def test_what_was_taken_is_what_was_sent(self, client: Client) -> None:
        version = send(client, GOOD).json
        content = client.get(f"/checkpoints/{version['checkpoint']}/file").body
        assert content != GOOD
        with h5py.File(io.BytesIO(GOOD)) as given, h5py.File(io.BytesIO(content)) as kept:
            names = [f"parameters/{name}" for name in PARAMETERS] + [f"statistics/{name}" for name in STATISTICS]
            names += [f"optimizer/{vector}/{name}" for vector in given["optimizer"] for name in PARAMETERS]
            names += [f"history/{column}" for column in given["history"]]
            for name in names:
                assert np.array_equal(given[name][()], kept[name][()]), name
            assert kept["optimizer"].attrs["iterations"] == 6
            assert json.loads(kept["optimizer"].attrs["hyperparameters"])["beta1"] == 0.8

    @pytest.mark.parametrize("libver", ["earliest", "v108", "latest"])
    def test_parameters_and_statistics_are_enough(self, client: Client, libver: str) -> None:
        version = send(client, image(minimal, libver=libver)).json
        assert version["metrics"] == {}
        whole = send(client, GOOD).json
        assert probabilities(client, "target", version["version"]) == probabilities(client, "target", whole["version"])

    def test_a_history_of_an_earlier_release_has_no_log_loss(self, client: Client) -> None:
        def earlier(file: h5py.File) -> None:
            del file["history/validation_log_loss"]

        metrics = send(client, image(earlier)).json["metrics"]
        assert metrics["validation_log_loss"] is None
        assert metrics == {**send(client, GOOD).json["metrics"], "validation_log_loss": None}

    def test_what_is_not_asked_for_is_not_looked_at(self, client: Client) -> None:
        def more(file: h5py.File) -> None:
            file.attrs["author"] = "somebody"
            file["notes"] = h5py.ExternalLink("/etc/passwd", "/")
            file["training/rows"] = h5py.SoftLink("/nowhere")

        assert send(client, image(more)).status == 201

    @pytest.mark.parametrize("average", [None, 0.9])
    @pytest.mark.parametrize("dtype", ["float32", "float64"])
    def test_a_downloaded_checkpoint_serves_and_trains_on_alike(
        self, client: Client, dtype: str, average: float | None
    ) -> None:
        first, second = fresh("here"), fresh("there")
        optimizer = {"type": "adam", "average": average}
        for name in (first, second):
            client.define({**MODEL, "name": name, "dtype": dtype, "optimizer": optimizer})
        job = client.run(a_training(first))
        answer = send(client, client.get(f"/checkpoints/{job['checkpoint']}/file").body, second)
        assert answer.status == 201, answer
        assert probabilities(client, first, 1) == probabilities(client, second, 1)
        client.run(a_training(first, start_from=job["checkpoint"]))
        client.run(a_training(second, start_from=answer.json["checkpoint"]))
        assert probabilities(client, first, 2) == probabilities(client, second, 2)
        assert probabilities(client, first, 1) != probabilities(client, first, 2)

    def test_without_the_state_of_an_optimizer_a_run_starts_afresh(self, client: Client) -> None:
        name = fresh("afresh")
        client.define({**MODEL, "name": name, "optimizer": {"type": "nadam", "average": 0.9, "accumulate": 2}})
        version = send(client, image(minimal), name).json
        job = client.run(a_training(name, start_from=version["checkpoint"]))
        assert job["version"] == 2

    def test_another_model_of_the_same_network_may_take_it(self, client: Client) -> None:
        name = fresh("other")
        client.define({**MODEL, "name": name, "metadata": {"a": 1}, "optimizer": {"type": "sgd"}})
        assert send(client, GOOD, name).status == 201

    @pytest.mark.parametrize("kind", ["application/octet-stream", "application/x-www-form-urlencoded"])
    def test_content_types_of_clients_that_know_no_better(self, client: Client, kind: str) -> None:
        assert send(client, GOOD, **{"Content-Type": kind}).status == 201

    def test_a_chunked_body(self, client: Client) -> None:
        assert chunked(client, [GOOD[:5000], GOOD[5000:]]).status == 201

    def test_a_deleted_model_takes_its_imports_along(self, own: Server) -> None:
        name, before = fresh("gone"), kept(own)
        own.client.define({**MODEL, "name": name})
        assert send(own.client, GOOD, name).status == 201
        assert own.client.delete(f"/models/{name}").status == 204
        assert kept(own) == before


def chunked(client: Client, chunks: list[bytes]) -> Answer:
    connection = http.client.HTTPConnection(urlsplit(client.base).netloc, timeout=30)
    try:
        connection.request("POST", "/models/target/checkpoints", iter(chunks), FILE, encode_chunked=True)
        response = connection.getresponse()
        return Answer(response.status, {k.lower(): v for k, v in response.headers.items()}, response.read())
    finally:
        connection.close()


class TestBad:
    """All other files are refused with the place, the expected and the received content, and nothing is stored."""

    @pytest.mark.parametrize("name", BAD)
    def test_a_bad_file(self, unchanged: Client, name: str) -> None:
        case = BAD[name]
        document = problem(send(unchanged, case.make()), case.status)
        if case.pointer is None:
            assert document["code"] == "invalid_hdf5"
            assert document["errors"] == []
        else:
            assert document["code"] == "validation_failed"
            assert document["errors"][0]["pointer"] == case.pointer
            # Marshmallow's messages do not include the value received.
            assert case.pointer.startswith("/definition") or "Received: " in document["errors"][0]["detail"]

    def test_cut_at_every_kilobyte(self, unchanged: Client) -> None:
        cuts = list(bad_files.truncated(GOOD))
        assert len(cuts) > 25
        for content in cuts:
            assert problem(send(unchanged, content), 400)["code"] == "invalid_hdf5"

    def test_every_difference_of_the_definition_is_named(self, unchanged: Client) -> None:
        layers = [{"type": "dense", "units": 5, "l2": 0.5}, *MODEL["layers"][1:]]
        other = {**MODEL, "inputs": 3, "layers": layers, "name": "b", "metadata": {"a": 1}}

        def change(file: h5py.File) -> None:
            file.attrs["definition"] = json.dumps(other)

        errors = problem(send(unchanged, image(change)), 422)["errors"]
        places = ["/definition/inputs", "/definition/layers/0/l2", "/definition/layers/0/units"]
        assert [error["pointer"] for error in errors] == places
        assert errors[0]["detail"] == "must be 2, as in the model. Received: 3"

    def test_no_such_model(self, unchanged: Client) -> None:
        assert problem(send(unchanged, GOOD, "none"), 404)["code"] == "not_found"

    @pytest.mark.parametrize("kind", ["application/json", "text/csv", "multipart/form-data; boundary=x"])
    def test_another_type_of_body(self, unchanged: Client, kind: str) -> None:
        document = problem(send(unchanged, GOOD, **{"Content-Type": kind}), 415)
        assert document["code"] == "unsupported_media_type"

    def test_too_large(self, unchanged: Client) -> None:
        document = problem(send(unchanged, GOOD + bytes(LIMIT)), 413)
        assert document["code"] == "too_large"
        assert str(LIMIT) in document["detail"]

    def test_too_large_in_chunks(self, unchanged: Client) -> None:
        document = problem(chunked(unchanged, [bytes(2**16)] * (LIMIT // 2**16) + [b"x"]), 413)
        assert str(LIMIT) in document["detail"]

    def test_cut_short(self, unchanged: Client) -> None:
        place = urlsplit(unchanged.base)
        with socket.create_connection((place.hostname, place.port), timeout=30) as connection:
            head = f"POST /models/target/checkpoints HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(GOOD)}\r\n\r\n"
            connection.sendall(head.encode() + GOOD[:9000])
            connection.shutdown(socket.SHUT_WR)
            response = http.client.HTTPResponse(connection)
            response.begin()
            assert (response.status, json.loads(response.read())["code"]) == (400, "invalid_body")


class TestParser:
    """The process that reads."""

    @pytest.fixture
    def parser(self, tmp_path: Path) -> Iterator[UploadParser]:
        parser = UploadParser(Settings.read({"TRAINYARD_DATA": str(tmp_path)}))
        yield parser
        parser.close()

    def ask(self, parser: UploadParser, content: bytes, folder: Path) -> Any:
        with (folder / "upload").open("w+b") as upload, (folder / "exchange").open("w+b") as exchange:
            upload.write(content)
            return parser.checkpoint(upload, exchange, ModelDefinition.load(MODEL))

    def test_it_is_there_for_many_files_and_ends_with_its_owner(self, parser: UploadParser, tmp_path: Path) -> None:
        self.ask(parser, GOOD, tmp_path)
        process = parser._checkpoints._process
        assert process is not None
        assert self.ask(parser, GOOD, tmp_path).state.updates == 6
        assert parser._checkpoints._process is process
        assert parser._checkpoints._control is not None
        parser._checkpoints._control.close()
        assert process.wait(20) == 0

    def test_a_file_that_comes_as_it_ends_is_read_by_the_next(self, parser: UploadParser, tmp_path: Path) -> None:
        self.ask(parser, GOOD, tmp_path)
        ending = parser._checkpoints._process
        assert parser._checkpoints._control is not None
        # It ends as if nothing had been sent for a minute.
        parser._checkpoints._control.shutdown(socket.SHUT_WR)
        assert self.ask(parser, GOOD, tmp_path).state.updates == 6
        assert ending is not None
        assert parser._checkpoints._process is not ending

    def test_no_variable_of_hdf5_reaches_it(
        self, parser: UploadParser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HDF5_PLUGIN_PATH", str(tmp_path))
        self.ask(parser, GOOD, tmp_path)
        assert parser._checkpoints._process is not None
        environment = Path(f"/proc/{parser._checkpoints._process.pid}/environ").read_bytes().split(b"\0")
        assert [each for each in environment if each.startswith(b"HDF5")] == [b"HDF5_PLUGIN_PRELOAD=::"]

    def test_a_lost_parser_is_reported_and_replaced(self, own: Server) -> None:
        assert send(own.client, GOOD).status == 201
        parsers = [process.pid for process in own.processes("service parser")]
        for pid in parsers:
            os.kill(pid, signal.SIGKILL)
        eventually(lambda: all(is_gone(pid) for pid in parsers), what="the end of the parsers")
        assert send(own.client, GOOD).status == 201

    def test_a_service_that_is_killed_leaves_no_file_and_no_parser(
        self, make_server: Callable[..., Server], tmp_path: Path
    ) -> None:
        server = make_server(WORKERS=1)
        client = server.start()
        client.define(MODEL)
        place = urlsplit(client.base)
        with socket.create_connection((place.hostname, place.port), timeout=30) as connection:
            head = f"POST /models/target/checkpoints HTTP/1.1\r\nHost: localhost\r\nContent-Length: {2**20}\r\n\r\n"
            connection.sendall(head.encode() + GOOD)
            assert send(client, GOOD).status == 201
            assert len(server.files("checkpoints")) == 1
            parser = server.processes("service parser")
            assert len(parser) == 1
            for process in server.processes("gunicorn"):
                os.kill(process.pid, signal.SIGKILL)
            eventually(lambda: not server.processes("service parser"), what="the end of the parser")
        assert len(server.files("checkpoints")) == 1
