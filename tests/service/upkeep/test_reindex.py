"""``python -m service reindex`` and ``verify``, on the files of a service that has worked."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import h5py
import pytest

from testing import databases
from testing.harness import Client, Server, eventually
from testing.samples import CSV, ROWS, a_model, a_training, without_jobs


def command(server: Server, *arguments: str) -> subprocess.CompletedProcess[str]:
    """``python -m service …`` with the settings of a server."""
    return server.run_to_end(sys.executable, "-m", "service", *arguments, seconds=60.0)


def registry_of(client: Client) -> dict[str, Any]:
    """Everything that reindexing must restore, as clients see it."""
    models = without_jobs(client.pages("/models", 100))
    names = [model["name"] for model in models]
    return {
        "models": models,
        "versions": {name: client.pages(f"/models/{name}/versions", 100) for name in names},
        "definitions": {
            (name, version["version"]): client.get(f"/models/{name}/versions/{version['version']}").json["definition"]
            for name in names
            for version in client.pages(f"/models/{name}/versions", 100)
        },
        "aliases": {name: client.get(f"/models/{name}/aliases").json for name in names},
        "checkpoints": {name: client.pages(f"/models/{name}/checkpoints", 100) for name in names},
        "datasets": client.pages("/datasets", 100),
        "profiles": {
            row["name"]: client.get(f"/datasets/{row['id']}/profile").json for row in client.pages("/datasets", 100)
        },
        "predictions": {
            (name, version["version"]): client.post(
                "/predict", {"model": name, "inputs": ROWS, "version": version["version"]}
            ).json
            for name in names
            for version in client.pages(f"/models/{name}/versions", 100)
        },
        "defaults": {
            model["name"]: client.post("/predict", {"model": model["name"], "inputs": ROWS}).json
            for model in models
            if model["default"] is not None
        },
    }


def fill(client: Client) -> None:
    """Models with versions, aliases and checkpoints of all kinds, one without any, one deleted, and datasets."""
    for name in ("first", "second", "empty", "gone"):
        client.define(a_model(name, metadata={"of": name}))
    client.run(a_training("gone"))
    assert client.delete("/models/gone").status == 204
    for seed in (1, 2, 3):
        client.run(a_training("first", seed=seed, checkpoint={"every_epochs": 1, "keep": 2}))
    best = {"publish": "best", "optimizer": {"type": "sgd", "learning_rate": 0.5, "momentum": 0.9}}
    client.run(a_training("second", **best))
    client.run(a_training("second", publish=False))
    start = client.pages("/models/first/checkpoints", 10)[0]["id"]
    client.run(a_training("second", start_from=start))
    # Versions, and checkpoints between the first and the last one, of an earlier definition than the newest.
    client.define(a_model("many", metadata={"of": "many"}))
    client.run(a_training("many", checkpoint={"every_epochs": 1, "keep": 2}))
    assert client.post("/models", a_model("many", dtype="float64")).status == 200
    client.run(a_training("many", checkpoint={"every_epochs": 1, "keep": 2}))
    client.run(a_training({"name": "many", "hidden": [3]}, publish=False))
    assert client.put("/models/first/aliases/stable", {"version": 1}).status == 200
    assert client.put("/models/first/aliases/default", {"version": 2}).status == 200
    assert client.post("/datasets?name=colours&label=colour", CSV.encode(), headers={"Content-Type": "text/csv"})
    assert client.post("/datasets?name=away&label=colour", CSV.encode(), headers={"Content-Type": "text/csv"})
    assert client.delete("/datasets/away").status == 204
    people = [
        {
            "age": age,
            "name": f"Name {age}",
            "since": "2024-05-17",
            "member": age % 3 == 0,
            "left": [None, "no", "yes"][age % 3],
        }
        for age in range(90)
    ]
    assert client.post("/datasets", {"name": "people", "label": "left", "rows": people}).json["warnings"]
    assert client.post("/datasets", {"name": "open", "rows": people, "ignore": ["age"]}).json["label"] is None
    assert client.post(
        "/datasets", {"name": "matrix", "inputs": ROWS, "labels": [[0, 1, 0]] * 6 + [[1, 0, 0]] * 6}
    ).json


class Worked:
    """The directory of a stopped service, and what clients saw."""

    def __init__(self, server: Server) -> None:
        self.server = server
        client = server.start_ready()
        fill(client)
        self.seen = registry_of(client)
        assert server.terminate() == 0
        server.wait_until_gone()


@pytest.fixture(scope="module")
def worked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worked]:
    server = Server(tmp_path_factory.mktemp("worked") / "data", WORKERS=1)
    try:
        yield Worked(server)
    finally:
        server.close()


@pytest.fixture
def copy(worked: Worked, make_server: Callable[..., Server]) -> Server:
    """A copy of the same directory."""
    server = make_server(WORKERS=1)
    databases.copy_data(worked.server.data, server.data)
    return server


def lose_database(server: Server) -> None:
    databases.lose_database(server.data)


class TestReindex:
    """A lost and rebuilt database."""

    def test_all_that_is_promised_comes_back(self, worked: Worked, copy: Server) -> None:
        lose_database(copy)
        done = command(copy, "reindex")
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.endswith(" 4 datasets are in the database\n")
        assert done.stdout.startswith("4 models with 7 versions,")
        client = copy.start_ready()
        assert registry_of(client) == worked.seen
        assert client.run(a_training("first"))["version"] == 4
        assert command(copy, "verify").returncode == 0
        assert not (copy.data / "orphans").exists()

    def test_a_database_with_rows_is_refused(self, copy: Server) -> None:
        done = command(copy, "reindex")
        assert done.returncode == 1
        assert "the database has 4 models already; reindex fills an empty one only" in done.stderr

    def test_a_directory_in_use_is_refused(self, make_server: Callable[..., Server]) -> None:
        server = make_server(WORKERS=1)
        server.start_ready()
        done = command(server, "reindex")
        assert done.returncode == 1
        assert "stop it first" in done.stderr

    def test_without_the_files_of_models(self, worked: Worked, copy: Server) -> None:
        """From checkpoints alone: models and versions; new numbers and lost aliases are reported."""
        lose_database(copy)
        shutil.rmtree(copy.data / "models")
        done = command(copy, "reindex")
        assert done.returncode == 1
        assert "the file of model first is missing or damaged: the model has 3 versions again" in done.stdout
        client = copy.start_ready()
        seen = registry_of(client)
        names = {"first", "second", "many"}
        assert {model["name"] for model in seen["models"]} == names
        assert seen["checkpoints"] == {name: worked.seen["checkpoints"][name] for name in names}
        assert (
            seen["definitions"].items()
            >= {key: definition for key, definition in worked.seen["definitions"].items() if key[0] != "second"}.items()
        )
        of_first = {key: answer for key, answer in worked.seen["predictions"].items() if key[0] == "first"}
        assert {key: answer for key, answer in seen["predictions"].items() if key[0] == "first"} == of_first

    def test_a_damaged_version_keeps_its_number_and_is_not_served(self, worked: Worked, copy: Server) -> None:
        lose_database(copy)
        newest = worked.seen["versions"]["second"][0]
        path = copy.data / "checkpoints" / f"{newest['checkpoint']}.h5"
        with h5py.File(path, "r") as file:
            place = file["parameters/0_dense/weights"].id.get_offset()
        content = bytearray(path.read_bytes())
        content[place] ^= 1
        path.write_bytes(content)
        done = command(copy, "reindex")
        assert done.returncode == 1
        assert f"version 2 of second: {newest['checkpoint']}.h5 is not what was written" in done.stdout
        client = copy.start_ready()
        assert client.pages("/models/second/versions", 100) == worked.seen["versions"]["second"]
        assert (
            client.post("/predict", {"model": "second", "inputs": ROWS}).json
            == worked.seen["predictions"][("second", 1)]
        )
        refused = client.post("/predict", {"model": "second", "inputs": ROWS, "version": 2})
        assert (refused.status, refused.json["code"]) == (500, "checkpoint_unreadable")

    def test_a_service_on_an_empty_database_leaves_the_files(self, worked: Worked, copy: Server) -> None:
        """A service that was started by mistake, and even used, does not harm a later reindexing."""
        before = {folder: copy.files(folder) for folder in ("checkpoints", "models", "datasets")}
        lose_database(copy)
        client = copy.start_ready()
        eventually(lambda: "trainyard reindex" in copy.log, what="the advice in the log")
        client.define(a_model("first", metadata={"of": "another"}))
        found = command(copy, "verify")
        assert found.returncode == 1
        assert "not_ours" in found.stdout
        assert copy.terminate() == 0
        copy.wait_until_gone()
        assert {folder: copy.files(folder) for folder in before} == before
        lose_database(copy)
        assert command(copy, "reindex").returncode == 0
        assert registry_of(copy.start_ready()) == worked.seen
