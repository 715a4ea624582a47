"""The benchmark of serving: requests and their answers in each format, and its floors."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
import pytest

from benchmarks import serving
from benchmarks.serving import GRANIAN, Loads
from benchmarks.serving_contestants.servers import CONTESTANTS
from benchmarks.serving_requests import BINARY, NPY, PREDICT, ROWS, V2, member, requests, tensor
from benchmarks.wrk import Load
from testing.harness import Answer, Server

X = np.random.default_rng(0).standard_normal((2, 30)).round(3)


@pytest.fixture(scope="module")
def trained(server: Server) -> Server:
    labels = ["a", "b", "c"] * 4
    x = np.random.default_rng(0).standard_normal((len(labels), 30)).round(3).tolist()
    rows = [{f"x{place}": value for place, value in enumerate(row)} for row in x]
    rows = [{**row, "label": label} for row, label in zip(rows, labels, strict=True)]
    for name, data in (
        ("serving-numbers", {"inputs": x, "labels": labels}),
        ("serving-table", {"rows": rows, "label": "label"}),
    ):
        server.client.run({"model": {"name": name, "hidden": [4]}, "data": data, "epochs": 1})
    return server


def test_every_request_has_the_same_answer(trained: Server) -> None:
    """All formats carry the same rows; those by name are of another model."""
    found = {}
    for name, request in requests("serving-numbers", "serving-table", X).items():
        answer = trained.client.post(request.path, request.body, headers=dict(request.headers))
        assert answer.status == 200, answer
        found[name] = request.read(answer)
        assert found[name].shape == (2, 3)
        np.testing.assert_allclose(found[name].sum(axis=1), 1, atol=1e-5)
    assert not np.allclose(found.pop(ROWS), found[PREDICT], atol=1e-5)
    for name, probabilities in found.items():
        np.testing.assert_allclose(probabilities, found[PREDICT], atol=1e-6, err_msg=name)


def test_raw_numbers_are_those_of_the_rows() -> None:
    asked = requests("m", "t", X)
    assert asked[NPY].body.endswith(X.astype("<f4").tobytes())
    length = int(asked[BINARY].headers["Inference-Header-Content-Length"])
    assert asked[BINARY].body[length:] == X.astype("<f4").tobytes()
    (described,) = json.loads(asked[V2].body)["inputs"]
    assert (described["shape"], described["data"]) == ([2, 30], X.ravel().tolist())


def test_answers_of_other_servers_are_read() -> None:
    answer = Answer(
        200, {}, b'{"outputs":[{"name":"predictions"},{"name":"probabilities","shape":[1,2],"data":[0.2,0.8]}]}'
    )
    assert tensor(answer).tolist() == [[0.2, 0.8]]
    nested = Answer(200, {}, b'{"predictions": {"probabilities": [[0.2, 0.8]]}}')
    assert member("predictions", "probabilities")(nested).tolist() == [[0.2, 0.8]]


def loads(rates: dict[str, Sequence[int]], p99: float) -> Loads:
    """Loads of a second with such rates with 1, 8 and 32 connections; all contestants not named have a rate of 1."""
    names = {*rates, PREDICT, ROWS, V2, BINARY, serving.BEFORE, GRANIAN, *CONTESTANTS}
    return {
        connections: {
            name: [Load(1.0, 0.1, 0.2, p99, 1.0, {200: rates.get(name, (1, 1, 1))[place]}, {})] for name in names
        }
        for place, connections in enumerate(serving.CONNECTIONS)
    }


def test_the_floors_of_one_row() -> None:
    """Each route against /predict at its worst, /predict against the fastest of the others."""
    rates = {
        PREDICT: (26, 54, 60),
        serving.BEFORE: (10, 10, 10),
        "MLServer": (2, 55, 2),
        GRANIAN: (20, 30, 30),
        ROWS: (25, 50, 40),
        V2: (25, 50, 55),
        BINARY: (26, 53, 59),
    }
    floors = {floor.what: floor for floor in serving._floors(loads(rates, p99=2.5))}
    missed = {what: round(floor.measured, 2) for what, floor in floors.items() if not floor.met}
    assert missed == {
        "/predict, times the one before, 8 connections": 5.4,
        "/predict, p99 in ms, 8 connections": 2.5,
        "/predict, times the fastest other server (MLServer), 8 connections": 0.98,
        "/predict, named rows, share of /predict, the least of all connections": 0.67,
    }
    assert floors[f"/predict, times the fastest other server ({GRANIAN}), 1 connections"].measured == 1.3


def test_the_table_has_a_row_for_each_contestant(capsys: pytest.CaptureFixture[str]) -> None:
    serving._print_table(loads({PREDICT: (4, 8000, 12), V2: (4, 4, 4)}, p99=1.5))
    lines = capsys.readouterr().out.splitlines()
    (row,) = (line for line in lines if line.startswith(f"| {PREDICT} "))
    cells = ["4", "0.10, 1.50", "8,000", "0.10, 1.50", "12", "0.10, 1.50"]
    assert [" ".join(cell.split()) for cell in row.strip("|").split("|")] == [PREDICT, *cells]
    assert sum(line.startswith("| ") for line in lines) == 1 + 6 + len(CONTESTANTS)
