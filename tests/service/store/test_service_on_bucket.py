"""A service whose files are in a bucket: SeaweedFS keeps them, and each process reads copies."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from service.store.objects import Objects
from testing.databases import lose_database
from testing.harness import Answer, Client, Server, eventually
from testing.object_storage import Bucket, Door, careless, variables
from testing.samples import CSV, ROWS, a_model, a_training

pytestmark = pytest.mark.processes

MakeServer = Callable[..., Server]


@pytest.fixture
def door(seaweedfs_server: Bucket) -> Iterator[Door]:
    door = Door(seaweedfs_server.port)
    yield door
    door.close()


@pytest.fixture
def storage(seaweedfs_server: Bucket, door: Door, monkeypatch: pytest.MonkeyPatch) -> str:
    """A part of the bucket; the service reaches it through ``door``."""
    for name, value in variables(door.port).items():
        monkeypatch.setenv(name, value)
    return f"{seaweedfs_server.url}/{uuid4().hex}"


def predict(client: Client) -> Answer:
    return client.post("/predict", {"model": "small", "inputs": ROWS})


def train_two(client: Client) -> list[dict[str, Any]]:
    """Two jobs with what their versions answer."""
    client.define(a_model("small"))
    jobs = []
    for seed in (1, 2):
        job = client.run(a_training("small", seed=seed))
        jobs.append({**job, "answer": predict(client).json})
    assert jobs[0]["answer"] != jobs[1]["answer"]
    return jobs


def restart(server: Server, *, with_copies: bool = False) -> Client:
    assert server.terminate() == 0
    server.wait_until_gone()
    if not with_copies:
        shutil.rmtree(server.data / "cache")
    return server.start_ready()


def command(server: Server, *arguments: str) -> Any:
    return server.run_to_end(sys.executable, "-m", "service", *arguments, seconds=60.0)


def test_the_life_of_a_service(make_server: MakeServer, storage: str) -> None:
    """It trains and answers, also after a restart without copies; a lost object is reported, and passed over."""
    server = make_server(STORAGE=storage)
    client = server.start_ready()
    jobs = train_two(client)
    uploaded = client.post("/datasets?name=rows&label=colour", CSV.encode(), headers={"Content-Type": "text/csv"})
    assert uploaded.status == 201
    for folder in ("checkpoints", "datasets"):
        assert list(server.data.glob(f"{folder}/*.h5")) == []
    client = restart(server)
    assert predict(client).json == jobs[1]["answer"]
    assert client.get(f"/checkpoints/{jobs[1]['checkpoint']}/file").body[:4] == b"\x89HDF"
    assert client.get("/datasets/rows/rows").status == 200
    assert command(server, "verify").returncode == 0

    Objects(storage).delete([f"checkpoints/{jobs[1]['checkpoint']}.h5"])
    client = restart(server)
    assert predict(client).json == jobs[0]["answer"]
    server.until_logged(f"{jobs[1]['checkpoint']}.h5")
    reported = command(server, "verify")
    assert reported.returncode == 1
    assert [line.split()[:2] for line in reported.stdout.splitlines()[1:-1]] == [
        [f"{jobs[1]['checkpoint']}.h5", "missing"]
    ]


def test_a_silent_storage_stops_nothing_for_good(make_server: MakeServer, storage: str, door: Door) -> None:
    """What is loaded answers, other requests may come again, a job trains on, and no file is called damaged."""
    server = make_server(STORAGE=storage)
    client = server.start_ready()
    jobs = train_two(client)
    running = client.train(a_training("small", epochs=1_000_000, checkpoint={"every_seconds": 1}))["id"]
    client.until_epoch(running, 1)
    door.close()
    assert predict(client).json == jobs[1]["answer"]
    shutil.rmtree(server.data / "cache")
    refused = client.get(f"/checkpoints/{jobs[0]['checkpoint']}/file")
    assert (refused.status, refused.json["code"]) == (503, "storage_unavailable")
    assert int(refused.headers["retry-after"]) > 0
    troubled = eventually(lambda: (job := client.job(running))["error"] and job, what="an error of the save")
    assert (troubled["state"], troubled["error"]["code"]) == ("running", "storage_unavailable")
    client.until_epoch(running, troubled["progress"]["epoch"] + 1)
    door.open()
    eventually(lambda: client.job(running)["error"] is None, what="a save that succeeds")
    assert client.job(running)["attempt"] == 1
    client.post(f"/jobs/{running}/cancel")
    assert client.wait(running)["state"] == "cancelled"
    assert client.get(f"/checkpoints/{jobs[0]['checkpoint']}/file").status == 200
    assert command(server, "verify").returncode == 0


def test_backup_and_reindex(make_server: MakeServer, storage: str) -> None:
    """A backup is a data directory with files; a lost database is filled again from the bucket."""
    server = make_server(STORAGE=storage)
    jobs = train_two(server.start_ready())
    copy = server.data.with_name("copy")
    made = command(server, "backup", str(copy))
    assert made.returncode == 0, made.stderr
    assert server.terminate() == 0
    server.wait_until_gone()
    assert {path.stem for path in (copy / "checkpoints").glob("*.h5")} >= {job["checkpoint"] for job in jobs}
    restored = make_server("copy")
    assert predict(restored.start()).json == jobs[1]["answer"]

    lose_database(server.data)
    shutil.rmtree(server.data / "cache")
    rebuilt = command(server, "reindex")
    assert rebuilt.returncode == 0, rebuilt.stdout + rebuilt.stderr
    assert predict(server.start()).json == jobs[1]["answer"]


@pytest.mark.parametrize("kind", ["bucket", "folder"])
def test_two_machines_share_the_files(make_server: MakeServer, storage: str, kind: str, tmp_path: Path) -> None:
    """Each has a data directory of its own."""
    if kind == "folder":
        (tmp_path / "mount").mkdir()
        storage = f"file://{tmp_path}/mount"
    first = make_server("first", STORAGE=storage)
    jobs = train_two(first.start_ready())
    assert first.terminate() == 0
    first.wait_until_gone()
    second = make_server("second", STORAGE=storage)
    second.data.mkdir()
    shutil.copyfile(first.data / "trainyard.db", second.data / "trainyard.db")
    assert predict(second.start()).json == jobs[1]["answer"]


def test_a_storage_that_ignores_conditions_stops_the_start(
    make_server: MakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with careless() as (bucket, _):
        for name, value in bucket.variables.items():
            monkeypatch.setenv(name, value)
        server = make_server(STORAGE=bucket.url)
        server.data.mkdir()
        done = server.run_to_end(sys.executable, "-m", "gunicorn", "wsgi:app")
    assert done.returncode == 4
    assert done.stderr.startswith("trainyard: TRAINYARD_STORAGE must be a bucket of a server that keeps conditions")
    assert done.stderr.count("\n") == 1
