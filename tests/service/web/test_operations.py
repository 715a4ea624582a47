"""Health, metrics, version."""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic

import h5py
import numpy as np
import pytest
import sqlalchemy as sa
import sqlalchemy.event
from flask.testing import FlaskClient

import nncore
from service.settings import Settings
from service.store.database import Database
from service.store.tables import TRAINERS
from service.web.app import create_app
from testing.filesystems import mounts_are_permitted, remount, tmpfs
from testing.harness import Client, Server, eventually
from testing.metrics import samples
from testing.samples import DATA, PROBLEM, ROWS, a_model, a_training, fresh
from tests.service.conftest import Trained


def test_live(client: Client) -> None:
    assert client.get("/health/live").json == {"status": "live"}


def test_ready(client: Client) -> None:
    answer = client.get("/health/ready")
    assert answer.status == 200
    assert answer.json == {"status": "ready", "database": "ok", "storage": "ok", "trainer": "ok"}


def test_version(client: Client) -> None:
    document = client.get("/version").json
    assert document["trainyard"] == nncore.__version__
    assert document["nncore"] == nncore.__version__
    assert (document["numpy"], document["h5py"]) == (np.__version__, h5py.__version__)


def metrics(client: Client) -> dict[str, float]:
    """All samples by name and labels, as Prometheus' own parser reads them."""
    answer = client.get("/metrics")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    return samples(answer.body)


def gauges(client: Client) -> dict[str, float]:
    """The samples that do not change by being asked for."""
    changing = ("trainyard_disk", "trainyard_request", "trainyard_model_cache", "trainyard_rows_predicted")
    return {name: value for name, value in metrics(client).items() if not name.startswith(changing)}


def test_metrics_count_what_is_there(client: Client, trained: Trained) -> None:
    before = gauges(client)
    assert before[f'trainyard_info{{version="{nncore.__version__}"}}'] == 1
    assert before["trainyard_trainer_up"] == 1
    name = client.define(a_model(fresh("metered")))["name"]
    job = client.run(a_training(name, epochs=1))
    after = gauges(client)
    grown = {series: after[series] - before[series] for series in after if after[series] != before[series]}
    size = sum(one["bytes"] for one in client.get(f"/jobs/{job['id']}/checkpoints").json["data"])
    for series in ("trainyard_datasets", "trainyard_dataset_bytes"):  # the rows of ended jobs go in their own time
        grown.pop(series, None)
    for series in ("trainyard_queue_wait_seconds_sum", "trainyard_checkpoint_seconds_total"):
        assert 0 < grown.pop(series) < 30
    assert grown == {
        "trainyard_models": 1,
        "trainyard_versions": 1,
        "trainyard_checkpoints": 2,
        "trainyard_checkpoint_bytes": size,
        'trainyard_jobs{state="succeeded"}': 1,
        'trainyard_jobs_ended_total{state="succeeded"}': 1,
        "trainyard_checkpoints_saved_total": 2,
        "trainyard_checkpoint_saved_bytes_total": size,
        "trainyard_epochs_total": 1,
        "trainyard_rows_trained_total": len(ROWS),
        "trainyard_queue_wait_seconds_count": 1,
    }
    states = {"queued", "running", "paused", "succeeded", "failed", "cancelled"}
    assert {f'trainyard_jobs{{state="{state}"}}' for state in states} <= after.keys()


def test_an_absent_trainer_is_shown_and_jobs_are_queued(make_server: Callable[..., Server]) -> None:
    server = make_server(TRAINER="external", WORKERS=1)
    client = server.start()
    answer = client.get("/health/ready")
    assert answer.status == 200
    assert answer.json["trainer"].startswith("absent")
    assert gauges(client)["trainyard_trainer_up"] == 0
    client.define(a_model("waiting"))
    job = client.train(a_training("waiting"))["id"]
    assert gauges(client)['trainyard_jobs{state="queued"}'] == 1
    trainer = server.run_beside("trainer")
    assert client.wait(job)["state"] == "succeeded"
    assert client.get("/health/ready").json["trainer"] == "ok"
    trainer.terminate()
    assert trainer.wait(30) == 0
    eventually(lambda: client.get("/health/ready").json["trainer"].startswith("absent"), what="its absence is shown")
    assert client.post("/predict", {"model": "waiting", "inputs": [[0, 1]]}).status == 200


def test_a_trainer_that_gives_no_sign_is_shown_as_absent(tmp_path: Path) -> None:
    settings = Settings.read({"TRAINYARD_DATA": str(tmp_path), "TRAINYARD_TRAINER": "external"})
    client = create_app(settings).test_client()
    database = Database(settings)
    with database.write() as connection:
        connection.execute(sa.insert(TRAINERS).values(id="dead", started_at="", seen_at=1.0))
    assert client.get("/health/ready").get_json()["trainer"].startswith("absent")
    database.dispose()


@pytest.mark.parametrize(("lease", "absent_after"), [(1, 5.0), (10, 10.0), (60, 60.0)])
def test_a_trainer_counts_as_absent_after_a_lease(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lease: int, absent_after: float
) -> None:
    """It writes a heartbeat in each quarter of a lease."""
    data = {"TRAINYARD_DATA": str(tmp_path), "TRAINYARD_LEASE_SECONDS": str(lease)}
    settings = Settings.read({**data, "TRAINYARD_TRAINER": "external"})
    client = create_app(settings).test_client()
    database = Database(settings)
    with database.write() as connection:
        connection.execute(sa.insert(TRAINERS).values(id="one", started_at="", seen_at=1e9))
    # If the clock is set back by more than that, nobody can say when the trainer was seen last.
    for silent, up in ((0.0, True), (absent_after - 0.001, True), (absent_after, False), (-3600.0, False)):
        monkeypatch.setattr(Database, "now", lambda *_, silent=silent: 1e9 + silent)
        assert (client.get("/health/ready").get_json()["trainer"] == "ok") is up
        assert (b"trainyard_trainer_up 1" in client.get("/metrics").data) is up
    database.dispose()


@pytest.mark.processes
@pytest.mark.skipif(not mounts_are_permitted(), reason="mounting a filesystem is not permitted here")
def test_storage_that_cannot_be_written_is_not_ready(tmp_path: Path) -> None:
    with tmpfs(tmp_path / "place", "16m") as place:
        data = {"TRAINYARD_DATA": str(place / "data"), "TRAINYARD_MIN_FREE_BYTES": "0"}
        app = create_app(Settings.read({**data, "TRAINYARD_TRAINER": "external"}))
        client = app.test_client()
        assert client.get("/health/ready").get_json()["storage"] == "ok"
        app.extensions["trainyard"].database.dispose()  # A file that is open for writing forbids it.
        remount(place, "ro")
        answer = client.get("/health/ready")
        app.extensions["trainyard"].database.dispose()
    assert answer.status_code == 503
    assert answer.content_type == "application/problem+json"
    document = answer.get_json()
    assert document.keys() == PROBLEM | {"database", "storage", "trainer"}
    assert (document["status"], document["code"], document["storage"]) == (503, "not_ready", "not writable")
    assert "storage is not writable" in document["detail"]


@pytest.mark.sqlite
class TestLockedDatabase:
    """Another program holds the lock of SQLite's file."""

    @pytest.fixture
    def held(self, tmp_path: Path) -> Iterator[tuple[FlaskClient, sqlite3.Connection]]:
        app = create_app(Settings.read({"TRAINYARD_DATA": str(tmp_path), "TRAINYARD_TRAINER": "external"}))
        with contextlib.closing(sqlite3.connect(tmp_path / "trainyard.db", isolation_level=None)) as other:
            yield app.test_client(), other
        app.extensions["trainyard"].database.dispose()

    @pytest.mark.parametrize("lock", ["IMMEDIATE", "EXCLUSIVE"])
    def test_it_is_not_ready(self, held: tuple[FlaskClient, sqlite3.Connection], lock: str) -> None:
        client, other = held
        other.execute(f"BEGIN {lock}")
        began = monotonic()
        answer = client.get("/health/ready")
        assert monotonic() - began < 3.0  # Both waits together take two seconds at most.
        assert answer.status_code == 503
        assert answer.get_json()["database"].startswith("locked: another program")
        assert answer.get_json()["storage"] == "ok"
        other.execute("ROLLBACK")
        assert client.get("/health/ready").get_json()["database"] == "ok"

    def test_many_short_transactions_are_no_lock(self, held: tuple[FlaskClient, sqlite3.Connection]) -> None:
        """The probe finds the lock taken by another transaction each time, as under a load of writes."""
        client, other = held
        refused = []

        def busy(connection: sa.Connection, _cursor: object, statement: str, *_rest: object) -> None:
            if statement == "BEGIN IMMEDIATE":
                other.execute("BEGIN IMMEDIATE")
                other.execute("PRAGMA user_version = 7")
                other.execute("COMMIT")
                other.execute("BEGIN IMMEDIATE")
                refused.append(connection)

        engine = client.application.extensions["trainyard"].database.probe.engine
        sqlalchemy.event.listen(engine, "before_cursor_execute", busy)
        answer = client.get("/health/ready")
        other.execute("ROLLBACK")
        assert len(refused) == 1
        assert answer.get_json()["database"] == "ok"


@pytest.mark.sqlite
def test_a_database_that_does_not_answer_is_reported_with_503(tmp_path: Path) -> None:
    settings = Settings.read({"TRAINYARD_DATA": str(tmp_path), "TRAINYARD_TRAINER": "external"})
    app = create_app(settings)
    client = app.test_client()
    app.extensions["trainyard"].database.dispose()
    for path in tmp_path.glob("trainyard.db*"):
        path.unlink()
    (tmp_path / "trainyard.db").mkdir()
    ready = client.get("/health/ready")
    assert ready.status_code == 503
    assert ready.get_json()["database"].startswith("unavailable")
    answer = client.get("/models")
    assert answer.status_code == 503
    assert answer.get_json()["code"] == "database_unavailable"
    assert answer.headers["Retry-After"] == "1"
    predicted = client.post("/predict", json={"model": "a", "inputs": [[1]]})
    assert (predicted.status_code, predicted.get_json()["code"]) == (503, "database_unavailable")


@pytest.mark.parametrize("damage", ["missing", "cut"])
def test_a_dataset_whose_file_is_damaged_is_reported_by_name(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    settings = Settings.read({"TRAINYARD_DATA": str(tmp_path), "TRAINYARD_TRAINER": "external"})
    client = create_app(settings).test_client()
    kept = client.post("/datasets", json={"name": "kept", **DATA}).get_json()["id"]
    path = tmp_path / "datasets" / f"{kept}.h5"
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:100])
    client.post("/models", json=a_model("model"))
    answer = client.post("/train", json=a_training("model", data={"dataset": "kept"}))
    assert (answer.status_code, answer.get_json()["code"]) == (500, "storage_error")
    assert answer.content_type == "application/problem+json"
    assert f"{kept}.h5" in answer.get_json()["detail"]
    assert str(tmp_path) not in answer.text
    assert str(path) in caplog.text


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
def test_a_file_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    settings = Settings.read({"TRAINYARD_DATA": str(tmp_path), "TRAINYARD_TRAINER": "external"})
    client = create_app(settings).test_client()

    def refuse(_descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("models.formats.durable.os.fsync", refuse)
    answer = client.post("/datasets", json={"name": "kept", **DATA})
    full = number != errno.EIO
    assert (answer.status_code, answer.get_json()["code"]) == (
        (503, "storage_full") if full else (500, "storage_error")
    )
    assert ("Retry-After" in answer.headers) is full
    assert client.get("/datasets").get_json()["data"] == list((tmp_path / "datasets").iterdir()) == []
