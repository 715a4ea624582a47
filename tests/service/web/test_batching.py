"""The setting that decides whether requests share a pass."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from models.registry.callers import SERVICE
from service.settings import Settings
from service.web.app import create_app
from service.web.gate import CALLER
from service.web.protocols import server
from service.web.worker.front import Batchable, QuickAnswer
from testing.published import publish_runs

BODY = json.dumps({"model": "small", "inputs": [[0.25, 0.5]]}).encode()


def at_once(data: Path, batching: str) -> Any:
    """What the loop gets for a request of a loaded version."""
    settings = {"TRAINYARD_DATA": str(data), "TRAINYARD_TRAINER": "external", "TRAINYARD_BATCHING": batching}
    app = create_app(Settings.read(settings))
    assert app.test_client().post("/predict", data=BODY).status_code == 200
    asked = {"REQUEST_METHOD": "POST", "PATH_INFO": "/predict", "QUERY_STRING": "", CALLER: SERVICE}
    return app.front.at_once(asked, BODY)  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("batching") / "data"
    publish_runs(folder, [1])
    return folder


def test_what_is_quick_is_computed_alone_only_if_batching_is_off(data: Path) -> None:
    assert isinstance(at_once(data, "off"), QuickAnswer)
    assert isinstance(at_once(data, "on"), Batchable)


def test_what_takes_long_waits_for_others_only_if_batching_is_on(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "AT_ONCE_BYTES", 1)
    assert at_once(data, "off") is None
    found = at_once(data, "on")
    assert isinstance(found, Batchable)
    assert found.cost > 1
