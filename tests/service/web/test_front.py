"""What the application gives to the front door."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from models.registry.callers import SERVICE
from service.access.limits import Limits
from service.settings import Settings
from service.web.app import create_app
from service.web.front import ServiceFront
from service.web.gate import CALLER, LIMITS
from service.web.worker.front import Batchable
from testing.harness import Client, Server
from tests.service.conftest import Trained


@pytest.fixture(scope="module")
def app(server: Server) -> Flask:
    """The application of the shared server, in this process."""
    return create_app(Settings.read({"TRAINYARD_DATA": str(server.data), "TRAINYARD_TRAINER": "external"}))


@pytest.fixture
def front(app: Flask) -> ServiceFront:
    found: ServiceFront = app.front  # type: ignore[attr-defined]
    return found


def environ(method: str, path: str, query: str = "") -> dict[str, Any]:
    asked = {"REQUEST_METHOD": method, "PATH_INFO": path, "QUERY_STRING": query, "CONTENT_TYPE": "application/json"}
    return {**asked, CALLER: SERVICE}


def asked(client: Client, app: Flask, front: ServiceFront, body: dict[str, Any]) -> bool:
    """Whether a prediction is answered at once; it is then what the service answers."""
    content = json.dumps(body).encode()
    assert app.test_client().post("/predict", data=content).status_code == 200  # So the version is loaded.
    quick = front.at_once(environ("POST", "/predict"), content)
    if isinstance(quick, Batchable):
        (quick,) = front.batch([quick.request])
    if quick is None:
        return False
    answer = client.post("/predict", content)
    assert (quick.status, quick.body) == ("200 OK", answer.body)
    assert dict(quick.headers)["Content-Type"] == answer.headers["content-type"]
    return True


@pytest.mark.parametrize("more", [{}, {"top_k": 1}, {"top_k": 3}, {"version": "latest"}])
def test_few_rows_are_answered_at_once_and_many_are_not(
    client: Client, app: Flask, front: ServiceFront, trained: Trained, more: dict[str, Any]
) -> None:
    """However many there are, and whatever is asked for, nothing but an answer or none comes of it."""
    found = [
        asked(client, app, front, {"model": trained.name, "inputs": [[0.25, 0.5]] * rows, **more})
        for rows in (1, 10, 50, 100, 200, 400, 800, 1600, 3200)
    ]
    assert found[0]
    assert not found[-1]
    assert found == sorted(found, reverse=True)


def test_what_is_refused_or_takes_long_is_left_to_the_application(
    app: Flask, front: ServiceFront, trained: Trained
) -> None:
    good = {"model": trained.name, "inputs": [[0.25, 0.5]]}
    assert app.test_client().post("/predict", json=good).status_code == 200
    bodies = [
        *(b"", b"{", b"[]", b" " * (app.config["MAX_CONTENT_LENGTH"] + 1)),
        *(
            json.dumps({**good, **other}).encode()
            for other in ({"model": "none"}, {"inputs": [["x"]]}, {"version": 1}, {"explain": True})
        ),
    ]
    for body in bodies:
        assert front.at_once(environ("POST", "/predict"), body) is None
    assert front.at_once(environ("POST", "/predict", "model=a"), json.dumps(good).encode()) is None


def test_kinds_are_those_of_routes(front: ServiceFront) -> None:
    assert front.kind(environ("GET", "/jobs/job_1/history")) == front.kind(environ("GET", "/jobs")) == "GET /jobs"
    assert front.kind(environ("POST", "/train")) == "POST /train"
    assert front.kind(environ("GET", "/")) == "GET /"
    for method, path in (("GET", "/made-up"), ("FROBNICATE", "/jobs"), ("GET", "/jobless"), ("POST", "/health/live")):
        assert front.kind(environ(method, path)) == "none"


def test_limits_of_bodies(app: Flask, front: ServiceFront) -> None:
    settings: Settings = app.extensions["trainyard"].settings
    assert front.body_limit(environ("POST", "/datasets")) == settings.max_dataset_bytes
    assert front.body_limit(environ("POST", "/models/a/checkpoints")) == settings.max_import_bytes
    assert front.body_limit(environ("POST", "/predict", "model=a")) == settings.max_dataset_bytes
    # A caller's own limit holds for files if it is smaller than that of the service.
    for own, more in ((2048, 2048), (2**40, settings.max_dataset_bytes)):
        limits = {LIMITS: Limits.of(settings).with_overrides({"body_bytes": own})}
        assert front.body_limit({**environ("POST", "/datasets"), **limits}) == more
        assert front.body_limit({**environ("POST", "/predict", "model=a"), **limits}) == more
        assert front.body_limit({**environ("POST", "/models/a/checkpoints"), **limits}) == min(own, 2**31)
        assert front.body_limit({**environ("POST", "/train"), **limits}) == own
    for method, path in (("POST", "/predict"), ("POST", "/train"), ("POST", "/none"), ("PUT", "/datasets")):
        assert front.body_limit(environ(method, path)) == settings.max_body_bytes


def test_a_body_that_unpacks_to_more_than_a_request_may_hold_is_refused(tmp_path: Path) -> None:
    app = create_app(
        Settings.read(
            {"TRAINYARD_DATA": str(tmp_path), "TRAINYARD_TRAINER": "external", "TRAINYARD_MEMORY_BYTES": str(2**21)}
        )
    )
    bomb = gzip.compress(b" " * 2**25)
    client = app.test_client()
    with client.post("/models", data=bomb, headers={"Content-Encoding": "gzip"}) as answer:
        assert (answer.status_code, answer.get_json()["code"]) == (413, "too_large")
    # What nothing reads is not unpacked.
    assert client.post("/none", data=b"no gzip", headers={"Content-Encoding": "gzip"}).status_code == 404
    assert app.extensions["trainyard"].memory.used == 0
