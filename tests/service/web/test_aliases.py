"""Aliases that name several versions: what is accepted and shown, which version answers, and that it stays the same."""

from __future__ import annotations

import http.client
import json
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flask import Flask

from models.formats.model_file import model_file_image
from models.registry.callers import SERVICE
from models.registry.snapshots import model_file
from models.registry.tables import VERSIONS
from models.registry.traffic import Share, Traffic
from service.settings import Settings
from service.store.database import Database
from service.store.files import FileKind, FileStore
from service.upkeep.reindex import reindex
from service.upkeep.verify import verify
from service.web.app import create_app
from service.web.front import ServiceFront
from service.web.gate import CALLER
from service.web.worker.front import Batchable
from testing.databases import lose_database
from testing.harness import Client, Server, eventually
from testing.published import publish_runs

ROWS = [[0.5, -1.0], [2.0, 1.0], [-3.0, 0.25]]
CANARY = {"versions": [{"version": 1, "weight": 0.7}, {"version": 2, "weight": 0.3}]}
TRAFFIC = Traffic((Share(1, 0.7), Share(2, 0.3)))
TEXTS = [f"customer {number}" for number in range(60)]


def application(data: Path) -> Flask:
    return create_app(Settings.read({"TRAINYARD_DATA": str(data), "TRAINYARD_TRAINER": "external"}))


@pytest.fixture
def app(tmp_path: Path) -> Flask:
    """A service in this process, whose model has three versions."""
    publish_runs(tmp_path, (1, 2, 3))
    return application(tmp_path)


def put(app: Flask, body: Any, alias: str = "canary", status: int = 200) -> Any:
    answer = app.test_client().put(f"/models/small/aliases/{alias}", json=body)
    assert answer.status_code == status, answer.json
    return answer.json


def get(app: Flask, path: str) -> Any:
    answer = app.test_client().get(path)
    assert answer.status_code == 200, answer.json
    return answer.json


def predict(app: Flask, headers: dict[str, str] | None = None, **members: Any) -> Any:
    body = {"model": "small", "inputs": ROWS, "version": "canary", **members}
    return app.test_client().post("/predict", json=body, headers=headers)


def at_once(app: Flask, **members: Any) -> Any:
    """The answer on the worker's loop."""
    front: ServiceFront = app.front  # type: ignore[attr-defined]
    content = json.dumps({"model": "small", "inputs": ROWS, "version": "canary", **members}).encode()
    asked = {"REQUEST_METHOD": "POST", "PATH_INFO": "/predict", "QUERY_STRING": "", CALLER: SERVICE}
    quick = front.at_once({**asked, "CONTENT_TYPE": "application/json"}, content)
    if isinstance(quick, Batchable):
        (quick,) = front.batch([quick.request])
    return None if quick is None else json.loads(quick.body)


def test_what_is_put_is_shown_everywhere(app: Flask) -> None:
    wanted = {"versions": [CANARY["versions"][1], CANARY["versions"][0]], "shadow": {"version": 3}}
    found = put(app, wanted)
    shadow = {"version": 3, "share": 1.0, "log": False}
    assert found == {"model": "small", "alias": "canary", "version": 1, **CANARY, "shadow": shadow}
    assert get(app, "/models/small/aliases")["data"] == [found]
    assert get(app, "/models/small/versions/canary")["version"] == 1
    shown = get(app, "/models/small/aliases/canary")
    assert [each["metrics"]["loss"] for each in (*shown["versions"], shown["shadow"])] == [1, 1 / 2, 1 / 3]
    # What was put is what a client may put again.
    assert put(app, {name: found[name] for name in ("versions", "shadow")}) == found


def test_one_version_is_shown_as_before(app: Flask) -> None:
    assert put(app, {"version": 2}, "best") == {
        "model": "small",
        "alias": "best",
        "version": 2,
        "versions": [{"version": 2, "weight": 1.0}],
        "shadow": None,
    }
    assert get(app, "/models/small/aliases/latest")["version"] == 3
    assert [each["version"] for each in get(app, "/models/small/aliases/default")["versions"]] == [3]


def test_all_faults_are_reported_together(app: Flask) -> None:
    """And nothing is changed."""
    bad = {
        "versions": [{"version": 1, "weight": 0}, {"version": 1, "weight": 2}, {"version": 2}],
        "shadow": {"version": 1, "share": 1.5, "logs": True},
    }
    found = put(app, bad, status=422)["errors"]
    assert {each["pointer"]: each["detail"] for each in found} == {
        "/versions/0/weight": "must be greater than 0. Received: 0",
        "/versions/1/version": "must not be repeated. Received: 1",
        "/versions/2/weight": "is required",
        "/shadow/version": "must be a version that the alias does not name. Received: 1",
        "/shadow/share": "must be at most 1. Received: 1.5",
        "/shadow/logs": "is not a known field; did you mean 'log'? known are log, share, version",
    }
    assert get(app, "/models/small/aliases")["data"] == []


@pytest.mark.parametrize(
    ("body", "place"),
    [
        ({}, "/version"),
        ({"version": 1, "versions": [{"version": 2, "weight": 1}]}, "/version"),
        ({"versions": []}, "/versions"),
        ({"versions": [{"version": number, "weight": 1} for number in range(1, 18)]}, "/versions"),
        ({"versions": {"1": 0.9}}, "/versions"),
        ({"versions": [{"version": 1, "weight": True}]}, "/versions/0/weight"),
        ({"versions": [{"version": 1, "weight": 1e10}]}, "/versions/0/weight"),
        ({"version": 1, "shadow": {"version": 2, "share": 0}}, "/shadow/share"),
        ({"version": 1, "shadow": {}}, "/shadow/version"),
    ],
)
def test_a_target_that_makes_no_sense_is_refused(app: Flask, body: Any, place: str) -> None:
    assert [each["pointer"] for each in put(app, body, status=422)["errors"]] == [place]


def test_versions_that_do_not_exist_are_named(app: Flask) -> None:
    body = {"versions": [{"version": 1, "weight": 1}, {"version": 9, "weight": 1}], "shadow": {"version": 2**40}}
    assert put(app, body, status=404)["detail"] == f"model 'small' has no versions 9, {2**40}"


@pytest.mark.parametrize("text", ["", "x" * 257])
def test_a_text_that_cannot_be_sticky_is_refused(app: Flask, text: str) -> None:
    put(app, CANARY)
    answer = predict(app, sticky=text)
    assert (answer.status_code, answer.json["errors"][0]["pointer"]) == (422, "/sticky")
    answer = predict(app, {"Trainyard-Sticky": text})
    assert answer.status_code == 422
    assert "Trainyard-Sticky must have 1 to 256 characters" in answer.json["detail"]
    assert predict(app, sticky=5).status_code == 422


def test_member_and_header_are_the_same_to_every_way_of_answering(app: Flask) -> None:
    """The first request of a version loads it, so the loop leaves it to a thread; after that both agree."""
    put(app, CANARY)
    for text in (*TEXTS, "Zoë", "客"):
        expected = TRAFFIC.drawn("small\0canary", text)
        header = {"Trainyard-Sticky": text.encode().decode("latin-1")}
        answers = [predict(app, sticky=text), predict(app, header), predict(app, header, top_k=1)]
        assert [answer.json["version"] for answer in answers] == [expected] * 3
        assert at_once(app, sticky=text)["version"] == expected
        assert at_once(app, sticky=text, top_k=1)["version"] == expected
    assert predict(app, {"Trainyard-Sticky": TEXTS[0]}, sticky=TEXTS[1]).json["version"] == TRAFFIC.drawn(
        "small\0canary", TEXTS[1]
    )


def test_each_answer_is_that_of_the_version_that_it_names(app: Flask) -> None:
    put(app, CANARY, "default")
    of_version = {number: predict(app, version=number).json["probabilities"] for number in (1, 2)}
    assert of_version[1] != of_version[2]
    seen = set()
    for text in TEXTS:
        assert predict(app, version=None, sticky=text).status_code == 200  # So what it names is known.
        found = at_once(app, version=None, sticky=text)
        np.testing.assert_allclose(found["probabilities"], of_version[found["version"]], rtol=1e-6)
        seen.add(found["version"])
    assert seen == {1, 2}
    assert get(app, "/models/small")["default"] == 1


def test_numbers_are_answered_at_once_too(app: Flask) -> None:
    assert predict(app, version=2).json["version"] == 2
    assert at_once(app, version=2)["version"] == 2
    assert at_once(app, version=1) is None  # It is not loaded.
    assert at_once(app, version=9) is None
    assert at_once(app, version=2**40) is None


def test_a_version_with_a_damaged_file_is_answered_for_by_the_others(tmp_path: Path, app: Flask) -> None:
    """Which is shown by the number in the answer; only if all are damaged is the request refused."""
    three = {"versions": [{"version": number, "weight": 1} for number in (1, 2, 3)]}
    put(app, three)
    traffic = Traffic(tuple(Share(number, 1.0) for number in (1, 2, 3)))

    def damage(number: int) -> None:
        checkpoint = get(app, f"/models/small/versions/{number}")["checkpoint"]
        path = tmp_path / "checkpoints" / f"{checkpoint}.h5"
        path.write_bytes(path.read_bytes()[:-50])

    damage(2)
    for text in TEXTS:
        answer = predict(app, sticky=text)
        assert answer.status_code == 200, answer.json
        assert answer.json["version"] == traffic.drawn("small\0canary", text, {2})
    assert at_once(app, sticky=next(text for text in TEXTS if traffic.drawn("small\0canary", text) == 2)) is None
    assert predict(app, version=2).json["code"] == "checkpoint_unreadable"
    damage(1)
    other = application(tmp_path)  # One that has loaded neither.
    assert {predict(other, sticky=text).json["version"] for text in TEXTS} == {3}
    damage(3)
    answer = predict(application(tmp_path), sticky="x")
    assert (answer.status_code, answer.json["code"]) == (500, "checkpoint_unreadable")


def test_an_evaluation_takes_the_version_with_the_greatest_weight(app: Flask) -> None:
    put(app, CANARY)
    body = {"model": "small", "version": "canary", "data": {"inputs": ROWS, "labels": ["a", "b", "c"]}}
    answers = [app.test_client().post("/evaluate", json=body) for _ in range(5)]
    assert [answer.json["version"] for answer in answers] == [1] * 5


def test_aliases_outlive_a_lost_database(tmp_path: Path, app: Flask) -> None:
    """The model's file has the weights and the shadow, and verify finds what they name and does not exist."""
    put(app, {**CANARY, "shadow": {"version": 3, "share": 0.5, "log": True}})
    put(app, {"version": 2}, "best")
    before = get(app, "/models/small/aliases")
    settings = Settings.read({"TRAINYARD_DATA": str(tmp_path)})
    database, files = Database(settings), FileStore(tmp_path)
    with database.read() as connection:
        content = model_file(connection, "small")
    files.put(FileKind.MODEL, "small", model_file_image(content))
    database.dispose()
    lose_database(tmp_path)
    settings = Settings.read({"TRAINYARD_DATA": str(tmp_path)})
    database = Database(settings)
    assert reindex(database, files).warnings == []
    assert get(application(tmp_path), "/models/small/aliases") == before
    assert verify(database, files).wrong == []
    with database.write() as connection:
        connection.execute(VERSIONS.delete().where(VERSIONS.c.version > 1))
    wrong = {(each.what, each.detail) for each in verify(database, files).wrong if each.fault == "no_version"}
    named = {("small alias canary", f"it names version {number}") for number in (2, 3)}
    assert wrong == named | {("small alias best", "it names version 2")}
    database.dispose()


# In real processes.


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Two workers and no trainer."""
    data = tmp_path_factory.mktemp("aliases") / "data"
    data.mkdir()
    publish_runs(data, (1, 2, 3))
    server = Server(data, TRAINER="external", WORKERS=2)
    try:
        server.start()
        yield server
    finally:
        server.close()


class Connections:
    """Connections to a server in turn, so that all workers answer."""

    def __init__(self, client: Client, count: int = 6) -> None:
        place = client.base.removeprefix("http://")
        self._made = [http.client.HTTPConnection(place, timeout=60) for _ in range(count)]
        self._asked = 0

    def __enter__(self) -> Connections:
        return self

    def __exit__(self, *_: object) -> None:
        for connection in self._made:
            connection.close()

    def version(self, **members: Any) -> int:
        """The version that answers."""
        self._asked += 1
        connection = self._made[self._asked % len(self._made)]
        body = json.dumps({"model": "small", "inputs": ROWS[:1], "version": "canary", **members})
        connection.request("POST", "/predict", body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        found = json.loads(answer.read())
        assert answer.status == 200, found
        return int(found["version"])


@pytest.mark.processes
def test_a_text_stays_with_its_version_on_every_worker_and_after_a_restart(running: Server) -> None:
    assert running.client.put("/models/small/aliases/canary", CANARY).status == 200
    expected = {text: TRAFFIC.drawn("small\0canary", text) for text in TEXTS}
    for restarts in range(2):
        if restarts:
            running.terminate()
            running.start()
        with Connections(running.client) as asked:
            for _ in range(3):
                assert {text: asked.version(sticky=text) for text in TEXTS} == expected


@pytest.mark.processes
def test_without_a_text_chance_decides_for_each_request(running: Server) -> None:
    """Within five standard deviations, and not in the same order on both workers."""
    assert running.client.put("/models/small/aliases/canary", CANARY).status == 200
    count, parts = 600, 6
    with Connections(running.client, parts) as asked:
        drawn = [asked.version() for _ in range(count)]
    assert abs(Counter(drawn)[2] - 0.3 * count) < 5 * sqrt(count * 0.3 * 0.7)
    assert len({tuple(drawn[part::parts]) for part in range(parts)}) == parts


@pytest.mark.processes
def test_no_request_sees_half_of_a_change(running: Server) -> None:
    """While an alias changes to and fro, each answer is one that the old or the new target gives."""
    targets: list[dict[str, Any]] = [CANARY, {"version": 3}]
    text = next(text for text in TEXTS if TRAFFIC.drawn("small\0canary", text) == 2)
    asked: list[set[int]] = []
    assert running.client.put("/models/small/aliases/canary", CANARY).status == 200

    def ask(_: int) -> set[int]:
        with Connections(running.client, 2) as connections:
            return {connections.version(sticky=text) for _ in range(150)}

    with ThreadPoolExecutor(3) as pool:
        found = pool.map(ask, range(3))
        for change in range(30):
            assert running.client.put("/models/small/aliases/canary", targets[(change + 1) % 2]).status == 200
        asked = list(found)
    assert set.union(*asked) <= {2, 3}
    assert 3 in set.union(*asked)


@pytest.mark.processes
def test_what_each_version_has_served_is_counted_over_all_workers(tmp_path: Path) -> None:
    """On a service that has served nothing before, since counts are written some time after the answer."""
    publish_runs(tmp_path, (1, 2, 3))
    server = Server(tmp_path, TRAINER="external", WORKERS=2)
    try:
        server.start()
        count_over_all_workers(server)
    finally:
        server.close()


def count_over_all_workers(running: Server) -> None:
    name = "counted"
    body = {"versions": [{"version": 1, "weight": 1}, {"version": 3, "weight": 1}]}
    assert running.client.put(f"/models/small/aliases/{name}", body).status == 200

    def served() -> dict[int, dict[str, Any]]:
        shown = running.client.get(f"/models/small/aliases/{name}").json
        return {each["version"]: each["served"] for each in shown["versions"]}

    before = served()
    with Connections(running.client) as asked:
        drawn = Counter(asked.version(version=name, sticky=text) for text in TEXTS)

    def all_counted() -> bool:
        now = served()
        grown = {number: now[number]["requests"] - before[number]["requests"] for number in (1, 3)}
        rows = {number: now[number]["rows"] - before[number]["rows"] for number in (1, 3)}
        return grown == rows == dict(drawn) and all(each["mean_seconds"] > 0 for each in now.values())

    eventually(all_counted, what="counts of both workers")


@pytest.mark.processes
def test_a_file_of_rows_is_predicted_by_one_version(running: Server) -> None:
    assert running.client.put("/models/small/aliases/canary", CANARY).status == 200
    for text in TEXTS[:4]:
        headers = {"Content-Type": "text/csv", "Trainyard-Sticky": text}
        path = "/predict?model=small&version=canary&header=false"
        answer = running.client.post(path, b"1,2\n3,4\n", headers=headers)
        assert answer.status == 200, answer
        assert answer.headers["x-model-version"] == str(TRAFFIC.drawn("small\0canary", text))
