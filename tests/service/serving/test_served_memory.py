"""Memory of versions that are served: their parameters are those of the file, and at most so many stay loaded."""

from __future__ import annotations

import json
from collections.abc import Iterator

import numpy as np
import pytest

from models.data.dataset import from_rows
from testing.harness import Server, eventually, serving
from testing.resident import anonymous, of_files
from testing.runs import a_definition, a_run
from testing.saving import save_checkpoint
from testing.web_workers import ask_each, web_workers

pytestmark = pytest.mark.processes

INPUTS, UNITS, VERSIONS = 256, 4096, 4
NBYTES = 4 * ((INPUTS + 1) * UNITS + (UNITS + 1) * 3)
ROWS = np.random.default_rng(0).standard_normal((3, INPUTS)).round(3).tolist()


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with versions of several megabytes, of which three stay loaded. Each has weights of its own."""
    folder = tmp_path_factory.mktemp("large")
    definition = a_definition(name="large", inputs=INPUTS, units=UNITS)
    with serving(folder / "data", WORKERS=2, SERVED_BYTES=3 * NBYTES) as server:
        server.client.define(definition.document())
        for seed in range(VERSIONS):
            run = a_run(definition=definition, data=from_rows(ROWS, ["a", "b", "c"]), seed=seed)
            save_checkpoint(folder / "image.h5", run.checkpoint())
            file, kind = (folder / "image.h5").read_bytes(), {"Content-Type": "application/x-hdf5"}
            assert server.client.post("/models/large/checkpoints", file, headers=kind).status == 201
        yield server


def body(version: int) -> bytes:
    return json.dumps({"model": "large", "version": version, "inputs": ROWS}).encode()


def mapped(server: Server, worker: int) -> dict[str, int]:
    """The resident bytes of each checkpoint that a worker has mapped."""
    found = of_files(worker, server.data / "checkpoints")
    return {name.removesuffix(".h5"): size for name, size in found.items()}


def checkpoint(server: Server, version: int) -> str:
    return server.client.get(f"/models/large/versions/{version}").json["checkpoint"]


def test_workers_have_no_copies(large: Server) -> None:
    """Parameters are pages of the file, which all workers share; a worker's own memory does not grow."""
    ask_each(large, [body(1)], lambda worker: checkpoint(large, 1) in mapped(large, worker))
    before = {worker: anonymous(worker) for worker in web_workers(large)}
    files = [checkpoint(large, version) for version in (2, 3)]
    ask_each(large, [body(2), body(3)], lambda worker: all(file in mapped(large, worker) for file in files))
    for worker, own in before.items():
        for file in files:
            assert mapped(large, worker)[file] >= NBYTES
        assert anonymous(worker) - own < NBYTES / 2


def test_the_least_recently_used_one_is_dropped_and_comes_back(large: Server) -> None:
    """With room for three, the fourth takes the place of the one that was asked for the longest time ago."""
    files = {version: checkpoint(large, version) for version in range(1, VERSIONS + 1)}

    def holds(worker: int, *versions: int) -> bool:
        return mapped(large, worker).keys() == {files[version] for version in versions}

    first = large.client.post("/predict", body(1)).json
    ask_each(large, [body(1), body(2), body(3)], lambda worker: holds(worker, 1, 2, 3))
    ask_each(large, [body(4)], lambda worker: files[4] in mapped(large, worker))
    for worker in web_workers(large):
        eventually(lambda worker=worker: holds(worker, 2, 3, 4), what=f"{worker} without version 1")
    ask_each(large, [body(1)], lambda worker: files[1] in mapped(large, worker))
    assert large.client.post("/predict", body(1)).json == first
    for worker in web_workers(large):
        eventually(lambda worker=worker: holds(worker, 1, 3, 4), what=f"{worker} without version 2")
