"""Importing checkpoints of table models: good ones predict by name, bad ones leave no trace."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from typing import Any

import h5py
import pytest

from testing.bad_features import (
    BAD_FEATURES,
    GOOD_TABLE,
    LEARNED,
    ODD_FEATURES,
    TABLE_DATA,
    TABLE_MODEL,
    TABLE_ROWS,
    table_file,
)
from testing.bad_files import GOOD, MODEL, image
from testing.harness import Answer, Client, Server
from testing.samples import PROBLEM, fresh

pytestmark = pytest.mark.processes

FILE = {"Content-Type": "application/x-hdf5"}


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    running = Server(tmp_path_factory.mktemp("imports") / "data", WORKERS=1, MAX_IMPORT_BYTES=64 * 2**20)
    try:
        running.start_ready()
        running.client.define(TABLE_MODEL)
        yield running
    finally:
        running.close()


@pytest.fixture
def client(own: Server) -> Client:
    return own.client


def send(client: Client, content: bytes, model: str = TABLE_MODEL["name"]) -> Answer:
    return client.post(f"/models/{model}/checkpoints", content, headers=FILE)


def kept(server: Server) -> dict[str, int]:
    stored = server.stored()
    return {name: stored[name] for name in ("models", "versions", "checkpoints", "checkpoints files")}


@pytest.fixture
def unchanged(own: Server) -> Iterator[Client]:
    """A client; checks that nothing of what it sends is kept, and that the service met no fault."""
    before, logged = kept(own), len(own.log)
    yield own.client
    assert kept(own) == before
    assert not re.search(r"request failed|Error handling request|a child failed", own.log[logged:])


def predicted(client: Client, model: str, version: Any) -> Answer:
    return client.post("/predict", {"model": model, "version": version, "rows": TABLE_ROWS, "report": True})


@pytest.mark.parametrize("name", BAD_FEATURES)
def test_bad_features(unchanged: Client, name: str) -> None:
    case = BAD_FEATURES[name]
    answer = send(unchanged, case.make())
    assert answer.status == 422, answer
    assert answer.json.keys() == PROBLEM
    (error, *_) = answer.json["errors"]
    assert error["pointer"] == case.pointer
    assert "Received: " in error["detail"]


@pytest.mark.parametrize("name", ODD_FEATURES)
def test_numbers_at_the_ends_of_their_range(own: Server, client: Client, name: str) -> None:
    """Such a file is taken or refused, and if it is taken, everything that reads it answers."""
    logged = len(own.log)
    answer = send(client, ODD_FEATURES[name]())
    assert answer.status in (201, 422), answer
    if answer.status == 201:
        model, version = answer.json["model"], answer.json["version"]
        asked = [predicted(client, model, version)]
        asked += [client.post("/predict", {"model": model, "version": version, "rows": [row]}) for row in TABLE_ROWS]
        asked.append(client.post("/evaluate", {"model": model, "version": version, "data": TABLE_DATA}))
        asked += [client.get(f"/models/{model}"), client.get(f"/models/{model}/versions/{version}")]
        assert {each.status for each in asked} <= {200, 422}, asked
        assert [each.status for each in asked[-2:]] == [200, 200]
    assert not re.search(r"request failed|Error handling request", own.log[logged:])


def test_good_features_are_served_and_trained_on(client: Client) -> None:
    answer = send(client, GOOD_TABLE)
    assert answer.status == 201, answer
    version = answer.json
    assert predicted(client, version["model"], version["version"]).status in (200, 422)
    content = client.get(f"/checkpoints/{version['checkpoint']}/file").body
    with h5py.File(io.BytesIO(content)) as file:
        assert {name: file[f"features/{name}"][()].tobytes() for name in LEARNED} == {
            name: array.tobytes() for name, array in LEARNED.items()
        }
    start = {"model": version["model"], "start_from": version["checkpoint"], "data": TABLE_DATA, "epochs": 2}
    job = client.run(start)
    went_on = client.get(f"/checkpoints/{job['checkpoint']}/file").body
    with h5py.File(io.BytesIO(went_on)) as file:
        assert {name: file[f"features/{name}"][()].tobytes() for name in LEARNED} == {
            name: array.tobytes() for name, array in LEARNED.items()
        }


def test_a_downloaded_checkpoint_predicts_the_same_elsewhere(client: Client) -> None:
    first, second = fresh("here"), fresh("there")
    for name in (first, second):
        client.define({**TABLE_MODEL, "name": name})
    job = client.run({"model": first, "data": TABLE_DATA, "epochs": 3})
    answer = send(client, client.get(f"/checkpoints/{job['checkpoint']}/file").body, second)
    assert answer.status == 201, answer
    rows = [{name: value for name, value in row.items() if name != "colour"} for row in TABLE_DATA["rows"]]
    one, other = (
        client.post("/predict", {"model": name, "version": 1, "rows": rows, "report": True}).json
        for name in (first, second)
    )
    assert one["probabilities"] == other["probabilities"]
    assert one["report"] == other["report"]


@pytest.mark.parametrize("libver", ["earliest", "v108", "latest"])
def test_a_file_of_any_form_of_hdf5(client: Client, libver: str) -> None:
    assert send(client, table_file(libver=libver)).status == 201


def test_features_of_a_model_without_any(client: Client) -> None:
    """And a file without features, for a model that has them."""
    client.define({**MODEL, "name": "matrix"})

    def change(file: h5py.File) -> None:
        file["features/0_age/center"] = [0.0]

    answer = send(client, image(change), "matrix")
    assert answer.status == 422, answer
    assert answer.json["errors"][0]["pointer"] == "/features"
    answer = send(client, GOOD)
    assert answer.status == 422, answer
    assert answer.json["errors"][0]["pointer"].startswith("/definition")
