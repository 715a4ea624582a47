"""Shadows: they predict after the answer, agree or not, log what is asked for, and never delay or fail an answer."""

from __future__ import annotations

import csv
import io
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flask import Flask

from models.data.dataset import from_rows
from models.registry.callers import SERVICE
from service.settings import Settings
from service.store.files import FileStore
from service.web import shadows
from service.web.app import create_app
from service.web.context import Context
from service.web.front import ServiceFront
from service.web.gate import CALLER
from service.web.worker.front import Batchable
from service.web.worker.records import SHADOWED, Record
from testing.harness import Client, Server, eventually
from testing.published import publish_runs
from testing.runs import a_definition

ROWS = [[0.5, -1.0], [2.0, 1.0], [-3.0, 0.25]]
ALIAS = "/models/small/aliases/canary"


def target(**shadow: Any) -> dict[str, Any]:
    return {"version": 1, "shadow": {"version": 3, **shadow}}


class Service:
    """The application in this process, and what its worker does around it."""

    def __init__(self, data: Path, **settings: object) -> None:
        given = {f"TRAINYARD_{name}": str(value) for name, value in {"ACCESS_LOG": "off", **settings}.items()}
        self.app: Flask = create_app(Settings.read({"TRAINYARD_DATA": str(data), **given}))
        self.front: ServiceFront = self.app.front  # type: ignore[attr-defined]
        self.parts: Context = self.app.extensions["trainyard"]

    def put(self, body: Any) -> None:
        answer = self.app.test_client().put(ALIAS, json=body)
        assert answer.status_code == 200, answer.json

    def environ(self, **members: Any) -> dict[str, Any]:
        """What is left of a request that the loop has answered."""
        body = json.dumps({"model": "small", "inputs": ROWS, "version": "canary", **members}).encode()
        environ = {"REQUEST_METHOD": "POST", "PATH_INFO": "/predict", "QUERY_STRING": "", CALLER: SERVICE}
        environ |= {"CONTENT_TYPE": "application/json", "CONTENT_LENGTH": str(len(body)), "trainyard.request_id": "r"}
        quick = self.at_once(environ, body)
        if isinstance(quick, Batchable):
            (quick,) = self.front.batch([quick.request])
        assert quick is not None
        return environ

    def at_once(self, environ: dict[str, Any], body: bytes) -> Any:
        """What the loop answers, once the version is loaded and what the alias names is known."""
        path = f"{environ['PATH_INFO']}?{environ['QUERY_STRING']}"

        def answer() -> Any:
            answered = self.app.test_client().post(path, data=body, content_type="application/json")
            assert answered.status_code == 200, answered.data
            return self.front.at_once(environ, body)

        return eventually(answer, what="an answer at once")

    def ask(self, **members: Any) -> None:
        """A request that is answered and recorded."""
        self.front.record(Record.of(self.environ(**members), 200, 0.001, 100, False))

    @property
    def shown(self) -> dict[str, Any]:
        """The shadow as the API shows it."""
        found: dict[str, Any] = self.app.test_client().get(ALIAS).json["shadow"]
        return found

    def until(self, **counts: int) -> dict[str, Any]:
        """The shadow once it has these counts."""

        def reached() -> dict[str, Any] | None:
            shown = self.shown
            return shown if {name: shown["predicted"][name] for name in counts} == counts else None

        found = eventually(reached, what=f"{counts} in {self.shown}")
        assert found is not None
        return found

    def lines(self) -> list[dict[str, Any]]:
        answer = self.app.test_client().get(f"{ALIAS}/shadow")
        assert answer.status_code == 200
        return [json.loads(line) for line in answer.data.splitlines()]

    def predicted(self, version: int, rows: Any = ROWS) -> dict[str, Any]:
        body = {"model": "small", "inputs": rows, "version": version}
        found: dict[str, Any] = self.app.test_client().post("/predict", json=body).json
        return found


@pytest.fixture
def service(tmp_path: Path) -> Service:
    publish_runs(tmp_path, (1, 2, 3))
    return Service(tmp_path)


def test_a_shadow_is_compared_and_logged(service: Service) -> None:
    service.put(target(log=True))
    service.ask(sticky="customer 7")
    shown = service.until(requests=1)
    one, other = service.predicted(1), service.predicted(3)
    same = [a == b for a, b in zip(one["predictions"], other["predictions"], strict=True)]
    difference = np.abs(np.subtract(one["probabilities"], other["probabilities"])).mean()
    assert shown["predicted"]["rows"] == 3
    assert shown["predicted"]["agreement"] == pytest.approx(np.mean(same))
    assert shown["predicted"]["difference"] == pytest.approx(difference, rel=1e-5)
    lines = eventually(service.lines, what="lines")
    assert [line.pop("at")[-1] for line in lines] == ["Z"] * 3
    assert lines == [
        {
            "request_id": "r",
            "index": index,
            "sticky": "customer 7",
            "model": "small",
            "alias": "canary",
            "version": 1,
            "shadow_version": 3,
            "row": ROWS[index],
            "prediction": one["predictions"][index],
            "probabilities": pytest.approx(one["probabilities"][index]),
            "shadow_prediction": other["predictions"][index],
            "shadow_probabilities": pytest.approx(other["probabilities"][index]),
        }
        for index in range(3)
    ]
    assert service.shown["log_bytes"] > 0


def test_nothing_is_logged_unless_it_is_asked_for(service: Service) -> None:
    service.put(target())
    service.ask()
    assert service.until(requests=1)["log_bytes"] == 0
    assert service.lines() == []


@pytest.mark.parametrize("more", [{"top_k": 2}, {"report": False}, {"inputs": ROWS[0]}])
def test_whatever_else_a_request_asks_for(service: Service, more: dict[str, Any]) -> None:
    service.put(target(log=True))
    service.ask(**more)
    rows = len(ROWS) if "inputs" not in more else 1
    assert service.until(requests=1)["predicted"]["rows"] == rows
    found = eventually(service.lines, what="lines")
    assert [line["row"] for line in found] == ROWS[:rows]
    expected = service.predicted(1)["probabilities"][:rows]
    np.testing.assert_allclose([line["probabilities"] for line in found], expected, rtol=1e-6)


FLAT = [number for row in ROWS for number in row]
TENSOR = {"name": "inputs", "shape": [3, 2], "datatype": "FP32", "data": FLAT}
NAMED = [dict(zip("xy", row, strict=True)) for row in ROWS]


@pytest.mark.parametrize(
    ("path", "body", "rows"),
    [
        ("/v1/models/small/labels/canary:predict", {"instances": ROWS}, ROWS),
        ("/v1/models/small:predict", {"inputs": {"inputs": ROWS}}, ROWS),
        ("/v2/models/small/infer", {"inputs": [TENSOR]}, ROWS),
        ("/invocations?model=small", {"dataframe_records": NAMED}, NAMED),
        ("/invocations?model=small", {"dataframe_split": {"columns": ["x", "y"], "data": ROWS}}, NAMED),
    ],
)
def test_rows_of_all_protocols_are_logged_as_they_came(service: Service, path: str, body: Any, rows: Any) -> None:
    """Through the alias, or through the default one."""
    service.put(target(log=True))
    default = service.app.test_client().put("/models/small/aliases/default", json=target(log=True))
    assert default.status_code == 200
    alias = "canary" if "canary" in path else "default"
    content, place = json.dumps(body).encode(), path.partition("?")
    environ: dict[str, Any] = {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": place[0],
        "QUERY_STRING": place[2],
        CALLER: SERVICE,
    }
    environ |= {"CONTENT_TYPE": "application/json", "CONTENT_LENGTH": str(len(content)), "trainyard.request_id": "r"}
    client = service.app.test_client()
    quick = service.at_once(environ, content)
    assert isinstance(quick, Batchable)
    assert service.front.batch([quick.request])[0] is not None
    service.front.record(Record.of(environ, 200, 0.001, 100, False))
    service.parts.requests.drain()

    def lines() -> list[Any]:
        answer = client.get(f"/models/small/aliases/{alias}/shadow")
        return [json.loads(line) for line in answer.data.splitlines()]

    assert [line["row"] for line in eventually(lines, what="lines")] == rows


def test_a_share_of_the_requests(service: Service) -> None:
    service.put(target(share=0.25))
    noted = sum(SHADOWED in service.environ() for _ in range(400))
    assert abs(noted - 100) < 5 * np.sqrt(400 * 0.25 * 0.75)


def test_other_names_of_the_version_have_no_shadow(service: Service) -> None:
    service.put(target())
    for version in (1, None):
        service.app.test_client().post("/predict", json={"model": "small", "inputs": ROWS, "version": version})
        assert SHADOWED not in service.environ(version=version)
    assert SHADOWED in service.environ()


def test_nothing_is_predicted_before_the_answer_was_sent(service: Service) -> None:
    """What the answer leaves to the shadow waits in the request until that has its record, at its end."""
    service.put(target())
    environ = service.environ()
    service.parts.requests.drain()
    assert service.shown["predicted"]["requests"] == 0
    assert environ[SHADOWED].shadow.version == 3
    service.front.record(Record.of(environ, 200, 0.001, 100, False))
    service.until(requests=1)


class Gate:
    """Holds the thread of the shadows within ``infer_all``."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.entered, self.open = threading.Event(), threading.Event()
        real = shadows.infer_all

        def held(parts: Any) -> Any:
            self.entered.set()
            assert self.open.wait(30)
            return real(parts)

        monkeypatch.setattr(shadows, "infer_all", held)


def test_what_comes_too_fast_is_dropped_and_counted(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the shadow is busy, answers go on; as many requests wait as have room, in their order."""
    gate = Gate(monkeypatch)
    service.put(target(log=True))
    service.ask(sticky="00")
    service.parts.requests.drain()
    assert gate.entered.wait(30)
    size = service.environ(sticky="00")[SHADOWED].size
    monkeypatch.setattr(shadows, "WAITING_BYTES", 10 * size)
    for number in range(1, 31):
        service.ask(sticky=f"{number:02}")
    assert service.until(dropped=20)["predicted"]["requests"] == 0
    gate.open.set()
    service.until(requests=11, dropped=20, failed=0)
    lines = eventually(lambda: (found := service.lines()) and len(found) == 33 and found, what="33 lines")
    assert lines
    assert [line["sticky"] for line in lines[::3]] == [f"{number:02}" for number in range(11)]


def test_a_large_request_is_dropped(service: Service) -> None:
    service.put(target())
    inputs = [[0.25, 0.5]] * (shadows.REQUEST_BYTES // 8 + 1)
    environ: dict[str, Any] = {CALLER: SERVICE}
    served = service.parts.serving.of(SERVICE).version("small", "canary")
    shadows.note_shadowed(environ, served, service_exchange(inputs), np.array(inputs, np.float32), None)
    assert environ[SHADOWED].kept is None
    service.front.record(Record.of(environ, 200, 0.001, 100, False))
    service.until(dropped=1)


def service_exchange(inputs: Any) -> Any:
    from service.web.json_bodies import json_line
    from service.web.protocols.native import reader_of

    reader = reader_of("/predict")
    assert reader is not None
    body = json_line({"model": "small", "inputs": inputs, "version": "canary"})
    return reader.read({"CONTENT_TYPE": "application/json"}, body, None)


def test_a_shadow_that_cannot_predict_is_counted(service: Service, tmp_path: Path) -> None:
    """If its file is damaged, and if something breaks that nobody thought of; the next requests are predicted."""
    service.put(target())
    checkpoint = service.app.test_client().get("/models/small/versions/3").json["checkpoint"]
    path = tmp_path / "checkpoints" / f"{checkpoint}.h5"
    path.write_bytes(path.read_bytes()[:-50])
    other = Service(tmp_path)
    other.ask()
    other.until(failed=1, requests=0)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(shadows, "infer_all", lambda _parts: 1 // 0)
        service.ask()
        service.until(failed=1)
    # What a shadow does is none of what a version has served.
    served = service.parts.requests.metrics.served("small")
    assert served.keys() == {"1"}
    assert served["1"].failed == 0


def test_a_shadow_that_cannot_read_the_rows_is_counted(tmp_path: Path) -> None:
    """Here it has a third input; one with another network reads them."""
    wide = from_rows([[*row, 1.0] for row in ROWS], ["a", "b", "c"])
    publish_runs(tmp_path, (1,))
    publish_runs(tmp_path, (2,), definition=a_definition(inputs=3), rows=wide)
    publish_runs(tmp_path, (3,), definition=a_definition(units=9, dtype="float64"))
    service = Service(tmp_path)
    service.put({"version": 1, "shadow": {"version": 2}})
    service.ask()
    service.until(requests=0, failed=1)
    service.put({"version": 1, "shadow": {"version": 3}})
    service.ask()
    service.until(requests=1, failed=0)


def test_the_log_is_bounded_and_what_finds_no_room_is_counted(tmp_path: Path) -> None:
    publish_runs(tmp_path, (1, 2, 3))
    service = Service(tmp_path, SHADOW_BYTES=8_000)
    service.put(target(log=True))
    for number in range(60):
        service.ask(sticky=str(number))
        service.until(requests=number + 1)
    shown = service.until(unlogged=0)
    assert 0 < shown["log_bytes"] <= 8_000
    stickies = [int(line["sticky"]) for line in service.lines()]
    assert stickies == sorted(stickies)
    assert stickies[-1] == 59
    none = Service(tmp_path, SHADOW_BYTES=0)
    before = service.shown["log_bytes"]
    none.ask()
    none.until(unlogged=1)
    assert none.shown["log_bytes"] == before


def test_what_is_kept_of_the_disk_is_kept(tmp_path: Path) -> None:
    publish_runs(tmp_path, (1, 2, 3))
    service = Service(tmp_path, MIN_FREE_BYTES=2**60)
    service.put(target(log=True))
    service.ask()
    service.until(requests=1, unlogged=1)
    assert service.lines() == []


def test_the_log_goes_with_its_alias_and_with_its_model(service: Service, tmp_path: Path) -> None:
    client, log = service.app.test_client(), FileStore(tmp_path).shadows

    def logged(count: int) -> None:
        service.ask()
        service.until(requests=count)
        eventually(lambda: log.size(1, "canary"), what="a log")

    service.put(target(log=True))
    logged(1)
    assert client.delete(f"{ALIAS}/shadow").status_code == 204
    assert service.lines() == []
    logged(2)
    assert client.put(ALIAS, json={"version": 2}).status_code == 200
    assert service.lines()  # It is still to be evaluated.
    assert client.delete(ALIAS).status_code == 204
    assert client.get(f"{ALIAS}/shadow").status_code == client.delete(f"{ALIAS}/shadow").status_code == 404
    assert log.size(1, "canary") == 0
    service.put(target(log=True))
    logged(3)
    assert client.delete("/models/small").status_code == 204
    assert not list((tmp_path / "shadows").rglob("*.ndjson"))


def test_what_is_logged_after_the_alias_has_changed_is_not_kept(
    service: Service, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    gate = Gate(monkeypatch)
    service.put(target(log=True))
    service.ask()
    service.parts.requests.drain()
    assert gate.entered.wait(30)
    assert service.app.test_client().delete(ALIAS).status_code == 204
    gate.open.set()
    shadowed = service.parts.requests.metrics.shadows
    eventually(lambda: shadowed.of("small", "canary", 3).rows == 3, what="a comparison")
    service.put(target(log=True))
    service.ask()
    service.until(requests=2)
    assert len(eventually(service.lines, what="lines")) == 3


# In real processes.


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Two workers and no trainer."""
    data = tmp_path_factory.mktemp("shadows") / "data"
    data.mkdir()
    publish_runs(data, (1, 2, 3))
    server = Server(data, TRAINER="external", WORKERS=2)
    try:
        server.start()
        yield server
    finally:
        server.close()


def asked(client: Client, count: int) -> None:
    for number in range(count):
        body = {"model": "small", "inputs": ROWS, "version": "canary", "sticky": f"customer {number}"}
        assert client.post("/predict", body).status == 200


@pytest.mark.processes
def test_what_all_workers_have_seen_is_in_one_log_and_can_be_evaluated(running: Server) -> None:
    """As docs/rollout.md does it: labels are joined by what was sticky, and both versions are evaluated on the rows."""
    client = running.client
    assert client.put(ALIAS, target(log=True)).status == 200
    asked(client, 40)
    assert eventually(
        lambda: (shown := client.get(ALIAS).json["shadow"])["predicted"]["requests"] == 40 and shown, what="40 requests"
    )

    def lines() -> list[dict[str, Any]]:
        answer = client.get(f"{ALIAS}/shadow")
        assert (answer.status, answer.headers["content-type"]) == (200, "application/x-ndjson")
        return [json.loads(line) for line in answer.body.splitlines()]

    found = eventually(lambda: len(rows := lines()) == 120 and rows, what="120 lines")
    assert isinstance(found, list)
    assert {line["sticky"] for line in found} == {f"customer {number}" for number in range(40)}
    assert [line["at"] for line in found] == sorted(line["at"] for line in found)
    labels = {f"customer {number}": "abc"[number % 3] for number in range(40)}
    text = io.StringIO()
    table = csv.writer(text)
    table.writerow(["x", "y", "label"])
    table.writerows([*line["row"], labels[line["sticky"]]] for line in found)
    answer = client.post(
        "/datasets?name=seen&label=label", text.getvalue().encode(), headers={"Content-Type": "text/csv"}
    )
    assert answer.status == 201, answer
    right = {
        name: np.mean([line[name] == labels[line["sticky"]] for line in found])
        for name in ("prediction", "shadow_prediction")
    }
    for version, name in ((1, "prediction"), (3, "shadow_prediction")):
        scored = client.post("/evaluate", {"model": "small", "version": version, "data": {"dataset": "seen"}})
        assert scored.status == 200, scored
        assert scored.json["accuracy"] == pytest.approx(right[name])
    assert client.delete(f"{ALIAS}/shadow").status == 204


@pytest.mark.processes
def test_other_owners_see_no_log(running: Server) -> None:
    assert running.client.put(ALIAS, target(log=True)).status == 200
    for path in ("/models/other/aliases/canary/shadow", "/models/small/aliases/other/shadow"):
        assert [running.client.get(path).status, running.client.delete(path).status] == [404, 404]
