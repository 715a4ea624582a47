"""Answers of predictions: those in blocks are as those in one piece, and all are bounded before they are computed."""

from __future__ import annotations

import json
import random
from typing import Any, NamedTuple

import pytest
from flask import Flask

from service.settings import Settings
from service.web import predictions
from service.web.app import create_app
from service.web.context import Context
from service.web.protocols import native
from testing.harness import Server
from testing.samples import fresh
from tests.service.conftest import Trained

COUNT = 90


@pytest.fixture(scope="module")
def members(server: Server) -> str:
    """A model of several members, of a table with numbers and words."""
    name, draw = fresh("members"), random.Random(3)
    rows = [
        {
            "x": draw.gauss(0, 1),
            "y": draw.gauss(0, 1),
            "word": draw.choice("abc"),
            "label": draw.choice(["no", "yes", "é"]),
        }
        for _ in range(COUNT)
    ]
    server.client.run(
        {"model": {"name": name, "hidden": [8]}, "data": {"rows": rows, "label": "label"}, "epochs": 2, "folds": 3}
    )
    return name


@pytest.fixture(scope="module")
def local(server: Server) -> Flask:
    """The application over the shared server's data, in this process; one request may hold 8 MiB."""
    settings = {"TRAINYARD_DATA": str(server.data), "TRAINYARD_TRAINER": "external"}
    return create_app(Settings.read({**settings, "TRAINYARD_MEMORY_BYTES": str(8 * 2**20)}))


@pytest.fixture
def in_blocks(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Every answer is sent in blocks of few rows."""
    monkeypatch.setattr(native, "SMALL", 0)
    monkeypatch.setattr(predictions, "SMALL", 0)
    monkeypatch.setattr(predictions, "BLOCK", 8_000)
    return monkeypatch


def held(application: Flask) -> int:
    parts: Context = application.extensions["trainyard"]
    return parts.memory.used


def alike(one: Any, other: Any) -> bool:
    """Equal in everything but the last digits of numbers, which depend on how many rows are multiplied together."""
    if isinstance(one, dict):
        return isinstance(other, dict) and [*one] == [*other] and all(alike(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return isinstance(other, list) and len(one) == len(other) and all(map(alike, one, other))
    if isinstance(one, float):
        return isinstance(other, float) and abs(one - other) <= 1e-5 * (1 + abs(one))
    return bool(one == other) and type(one) is type(other)


class Reply(NamedTuple):
    """An answer that was read to its end."""

    status: int
    headers: Any
    data: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.data)


def post(application: Flask, body: dict[str, Any]) -> Reply:
    """Ask for a prediction, and close the connection."""
    with application.test_client().post("/predict", json=body) as answer:
        return Reply(answer.status_code, answer.headers, answer.get_data())


ASKED: tuple[dict[str, Any], ...] = (
    {},
    {"top_k": 2},
    {"coverage": 0.9},
    {"coverage": 0.8, "by_class": True, "uncertainty": True},
    {"uncertainty": True, "report": True},
    {"explain": True},
    {"explain": {"class": "é"}, "top_k": 3, "coverage": 0.5, "report": True, "uncertainty": True},
)


@pytest.mark.parametrize("asked", ASKED, ids=lambda asked: "-".join(asked) or "nothing")
def test_an_answer_in_blocks_is_that_as_a_whole(
    members: str, local: Flask, in_blocks: pytest.MonkeyPatch, asked: dict[str, Any]
) -> None:
    draw = random.Random(5)
    rows = [{"x": draw.gauss(0, 2), "y": draw.gauss(0, 2), "word": draw.choice("abcd")} for _ in range(COUNT)]
    body = {"model": members, "rows": rows, **asked}
    with local.test_client().post("/predict", json=body) as blocks:
        assert blocks.status_code == 200, blocks.get_data()
        assert "Content-Length" not in blocks.headers
        pieces = [*blocks.iter_encoded()]
    assert len(pieces) > 5
    in_blocks.undo()
    whole = post(local, body)
    assert whole.headers["Content-Length"] == str(len(whole.data))
    assert alike(json.loads(b"".join(pieces)), whole.json)
    assert held(local) == 0


@pytest.mark.usefixtures("in_blocks")
@pytest.mark.parametrize(
    ("members_of_body", "pointer"),
    [
        ({"inputs": [[0.0, 0.0]] * 70 + [[3.4e38, -3.4e38]]}, "/inputs/70"),
        ({"inputs": [[0.0, 0.0]] * 70, "top_k": 4}, "/top_k"),
        ({"inputs": [[0.0, 0.0]] * 70, "coverage": 0.9}, "/coverage"),
        ({"inputs": [[0.0, 0.0]] * 101, "explain": True}, "/explain"),
        ({"inputs": [[0.0, 0.0]] * 70, "explain": {"class": "none"}}, "/explain/class"),
    ],
)
def test_faults_are_found_before_the_first_block(
    trained: Trained, local: Flask, members_of_body: dict[str, Any], pointer: str
) -> None:
    answer = post(local, {"model": trained.name, **members_of_body})
    assert (answer.status, answer.json["errors"][0]["pointer"]) == (422, pointer)
    assert held(local) == 0


def test_an_answer_that_would_be_too_long_is_refused_with_the_rows_that_would_do(
    trained: Trained, local: Flask
) -> None:
    body = {"model": trained.name, "inputs": [[0, 1]] * 60_000, "top_k": 3}
    answer = post(local, body)
    problem = answer.json
    assert (answer.status, problem["errors"][0]["pointer"]) == (422, "/inputs"), problem
    most = int(problem["detail"].partition("at most ")[2].partition(" rows")[0])
    assert 10_000 < most < 60_000
    good = post(local, {**body, "inputs": [[0, 1]] * most})
    assert good.status == 200, good.data[:300]
    assert len(good.data) <= 8 * 2**20
    assert len(good.json["top"]) == most
    assert held(local) == 0


def test_a_client_that_leaves_gives_back_what_it_held(trained: Trained, local: Flask) -> None:
    body = json.dumps({"model": trained.name, "inputs": [[0, 1]] * 20_000, "top_k": 3}).encode()
    answer = local.test_client().post("/predict", data=body, buffered=False)
    assert held(local) > 2**20
    answer.close()
    assert held(local) == 0


def test_a_large_body_of_rows_is_answered_as_small_ones(trained: Trained, local: Flask) -> None:
    draw = random.Random(1)
    rows = [[draw.gauss(0, 1), draw.gauss(0, 1)] for _ in range(6_000)]
    large = post(local, {"model": trained.name, "inputs": rows}).json
    found = []
    for start in range(0, 6_000, 500):
        found += post(local, {"model": trained.name, "inputs": rows[start : start + 500]}).json["probabilities"]
    assert alike(large["probabilities"], found)


def test_others_get_503_while_the_memory_is_taken(trained: Trained, local: Flask) -> None:
    parts: Context = local.extensions["trainyard"]
    large = {"model": trained.name, "inputs": [[0, 1]] * 30_000}
    with parts.memory.hold(4 * 2**20):
        refused = post(local, large)
        assert (refused.status, refused.json["code"], refused.headers["Retry-After"]) == (503, "busy", "1")
        assert post(local, {**large, "inputs": [[0, 1]]}).status == 200
    assert post(local, large).status == 200
