"""What large requests take of a web worker with a small budget: short forms of requests that once took all memory."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from testing.harness import Answer, Server, serving

pytestmark = pytest.mark.processes

MB = 2**20
#: The budget of the only worker. One request may hold twice of it.
BUDGET = 24 * MB
#: What the allocator and the threads take beside.
SLACK = 24 * MB


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with one worker and a small budget, and a model of four inputs."""
    with serving(tmp_path_factory.mktemp("memory") / "data", WORKERS=1, MEMORY_BYTES=BUDGET) as server:
        data = {"inputs": [[0, 1, 2, 3], [1, 0, 3, 2]], "labels": [0, 1]}
        server.client.run(
            {"model": {"name": "four", "inputs": 4, "classes": 2, "hidden": [8]}, "epochs": 1, "data": data}
        )
        yield server


class Worker:
    """The web worker: what memory of its own it takes at most, from now on."""

    def __init__(self, server: Server) -> None:
        assert server.process is not None
        (self.pid,) = (each.pid for each in server.processes("gunicorn") if each.parent == server.process.pid)
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")
        self._before = self._kilobytes("VmHWM")

    def _kilobytes(self, name: str) -> int:
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(status.partition(f"{name}:")[2].split()[0])

    @property
    def taken(self) -> int:
        """Bytes beyond what it had at the beginning."""
        return 1024 * (self._kilobytes("VmHWM") - self._before)


def at_once(server: Server, path: str, body: Any, count: int) -> list[Answer]:
    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(lambda _: server.client.post(path, body), range(count)))


def test_many_empty_lists_and_objects(small: Server) -> None:
    worker = Worker(small)
    lists = small.client.post("/predict", b'{"model":"four","inputs":[' + b"[]," * 5_000_000 + b"[]]}")
    assert (lists.status, lists.json["errors"][0]["pointer"]) == (422, "/inputs/0"), lists
    for member in ("inputs", "rows"):
        objects = small.client.post(
            "/predict", b'{"model":"four","%s":[' % member.encode() + b"{}," * 3_000_000 + b"{}]}"
        )
        assert (objects.status, objects.json["code"]) == (413, "too_large")
    assert worker.taken < 2 * BUDGET + SLACK
    assert Worker(small).pid == worker.pid


def test_a_colon_in_a_large_body(small: Server) -> None:
    """It once meant a second parser, in which no other request was served."""
    worker = Worker(small)
    body = b'{"model":"a:b","inputs":[' + b"[1.5,1.5,1.5,1.5]," * 300_000 + b"[1,1,1,1]]}"
    found = at_once(small, "/predict", body, 3)
    assert {answer.status for answer in found} <= {404, 503}
    assert 404 in {answer.status for answer in found}
    assert worker.taken < 2 * BUDGET + SLACK


def test_few_rows_into_many_classes(small: Server) -> None:
    wide = {"name": "wide", "inputs": 1, "classes": 20_000, "hidden": []}
    small.client.run({"model": wide, "epochs": 0, "data": {"inputs": [[0], [1]], "labels": [0, 1]}})
    worker = Worker(small)
    refused = small.client.post("/predict", {"model": "wide", "inputs": [[1]] * 2_000})
    assert (refused.status, refused.json["errors"][0]["pointer"]) == (422, "/inputs")
    good = small.client.post("/predict", {"model": "wide", "inputs": [[1]] * 150})
    assert (good.status, np.array(json.loads(good.body)["probabilities"]).shape) == (200, (150, 20_000))
    evaluated = {"inputs": [[1]] * 400, "labels": [0, 1] * 200}
    answer = small.client.post("/evaluate", {"model": "wide", "data": evaluated})
    assert (answer.status, answer.json["errors"][0]["pointer"]) == (422, "/data/inputs")
    assert worker.taken < 2 * BUDGET + SLACK


def test_many_requests_that_name_a_dataset(small: Server) -> None:
    numbers = np.random.default_rng(0).normal(size=(40_000, 4))
    rows = ",".join(f"[{','.join(f'{number:.3f}' for number in row)}]" for row in numbers.tolist())
    body = f'{{"name":"many","inputs":[{rows}],"labels":[{"0,1," * 19_999}0,1]}}'.encode()
    made = small.client.post("/datasets", body)
    assert (made.status, made.json["rows"]) == (201, 40_000), made
    worker = Worker(small)
    request = {"model": "four", "data": {"dataset": "many"}, "dry_run": True}
    found = at_once(small, "/train", request, 8)
    assert {answer.status for answer in found} <= {200, 503}
    assert 200 in {answer.status for answer in found}
    evaluated = small.client.post("/evaluate", {"model": "four", "data": {"dataset": "many"}})
    assert (evaluated.status, evaluated.json["rows"]) == (200, 40_000)
    inline = small.client.post("/evaluate", b'{"model":"four","data":' + body.replace(b'"name":"many",', b"") + b"}")
    assert inline.status == 200
    assert inline.json["accuracy"] == evaluated.json["accuracy"]
    assert worker.taken < 2 * BUDGET + SLACK
