"""``python -m service backup``: a complete copy, made while the service runs, that starts as a service."""

from __future__ import annotations

import contextlib
import re
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from models.formats.durable import sha256_of
from service.settings import Settings
from service.upkeep.backup import Backup, back_up
from testing.databases import copy_data
from testing.harness import ROOT, Server, eventually, serving
from testing.jobs import arrays, timeless
from testing.samples import DATA, ROWS, a_model, a_training, without_jobs


def backup(server: Server, target: Path, *, limit: str = "") -> subprocess.CompletedProcess[str]:
    """The command, optionally with a shell's limit on the size of files."""
    script = f'{limit}exec "$0" -W error -m service backup "$1"'
    return server.run_to_end("bash", "-c", script, sys.executable, target, seconds=60.0)


def in_this_process(server: Server, target: Path) -> Backup:
    return back_up(Settings.read({"TRAINYARD_DATA": str(server.data)}), target)


def assert_whole(copy: Path) -> dict[str, int]:
    """The files are exactly those that the copy's database names, and intact. Returns their number by kind."""
    counts = {}
    with contextlib.closing(sqlite3.connect(copy / "trainyard.db")) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        for table in ("checkpoints", "datasets"):
            rows = database.execute(f"SELECT id, bytes, sha256 FROM {table}").fetchall()
            assert {f"{name}.h5" for name, _, _ in rows} == {path.name for path in (copy / table).iterdir()}
            for name, size, digest in rows:
                path = copy / table / f"{name}.h5"
                assert (path.stat().st_size, sha256_of(path)) == (size, digest)
            counts[table] = len(rows)
    assert {path.name for path in copy.iterdir()} == {"trainyard.db", "checkpoints", "datasets"}
    return counts


def assert_clean(server: Server, target: Path) -> None:
    """A backup leaves nothing in the data directory, and a failed one leaves nothing beside its target."""
    assert [path.name for path in server.data.rglob(".backup")] == []
    assert [path.name for path in target.parent.iterdir() if path.name.startswith(f".{target.name}")] == []


@contextlib.contextmanager
def churning(server: Server) -> Iterator[Callable[[], int]]:
    """Files are created and deleted all the time: checkpoints of a job that keeps one, datasets, rows of requests.

    Yields a function that returns the number of rounds so far.
    """
    client, stop, rounds, faults = server.client, threading.Event(), [0], list[BaseException]()
    client.define(a_model("churn"))
    job = client.train(a_training("churn", epochs=10**7, checkpoint={"every_epochs": 1, "keep": 1}))["id"]
    client.until_epoch(job, 5)

    def turn(name: str) -> None:
        try:
            while not stop.is_set():
                assert client.post("/datasets", {"name": name, **DATA}).status == 201
                assert client.delete(f"/datasets/{name}").status == 204
                rounds[0] += 1
        except BaseException as error:  # noqa: BLE001 - raised by the thread that waits
            faults.append(error)

    threads = [threading.Thread(target=turn, args=(f"turn-{number}",)) for number in range(2)]
    for thread in threads:
        thread.start()
    try:
        yield lambda: rounds[0]
    finally:
        stop.set()
        for thread in threads:
            thread.join()
        client.post(f"/jobs/{job}/cancel")
    assert faults == []


def test_a_restored_service_is_the_service(make_server: Callable[..., Server], tmp_path: Path) -> None:
    """Predictions, models, datasets and jobs are the same, and the running job ends with the same bits."""
    server, target = make_server("original", REPORT_SECONDS=0.05), tmp_path / "copies" / "monday"
    client = server.start_ready()
    client.define(a_model("served"))
    client.run(a_training("served"))
    client.post("/datasets", {"name": "points", **DATA})
    question = {"model": "served", "inputs": ROWS}
    answer = client.post("/predict", question).body
    key = {"Idempotency-Key": "before-the-backup"}
    created = client.post("/models", a_model("keyed"), headers=key)
    client.define(a_model("long"))
    job = client.train(a_training("long", epochs=4_000, batch_size=2, checkpoint={"every_epochs": 200, "keep": 2}))[
        "id"
    ]
    client.until_epoch(job, 300)

    made = in_this_process(server, target)
    assert client.job(job)["state"] == "running"
    lists = {path: client.pages(path, 100) for path in ("/datasets", "/models/served/versions")}
    lists["models"] = without_jobs(client.pages("/models", 100))
    lists["finished"] = [one for one in client.pages("/jobs", 100) if one["id"] != job]
    whole = client.wait(job)
    counts = assert_whole(target)
    assert (made.files, made.faults) == (sum(counts.values()), [])
    assert counts["checkpoints"] >= 4
    assert_clean(server, target)

    restored = make_server("copies/monday", LEASE_SECONDS=1)
    copy = restored.start_ready()
    assert copy.post("/predict", question).body == answer
    assert lists == {
        **{path: copy.pages(path, 100) for path in ("/datasets", "/models/served/versions")},
        "models": without_jobs(copy.pages("/models", 100)),
        "finished": [one for one in copy.pages("/jobs", 100) if one["id"] != job],
    }
    again = copy.post("/models", a_model("keyed"), headers=key)
    assert (again.status, again.body, again.headers["idempotent-replayed"]) == (201, created.body, "true")
    resumed = copy.wait(job)
    assert (resumed["state"], resumed["attempt"]) == ("succeeded", 2)
    assert resumed["metrics"] == whole["metrics"]
    assert timeless(copy.history(job)) == timeless(client.history(job))
    ends = [
        arrays(folder / "checkpoints" / f"{one['checkpoint']}.h5", "parameters", "optimizer")
        for folder, one in ((server.data, whole), (target, resumed))
    ]
    assert ends[0] == ends[1]


def test_files_that_are_deleted_meanwhile_are_in_the_copy(make_server: Callable[..., Server], tmp_path: Path) -> None:
    server = make_server(WORKERS=2, REPORT_SECONDS=0.01)
    server.start_ready()
    with churning(server) as rounds:
        for number in range(12):
            before = rounds()
            target = tmp_path / f"copy-{number}"
            made = in_this_process(server, target)
            assert made.faults == []
            assert sum(assert_whole(target).values()) == made.files
            eventually(lambda known=before: rounds() > known + 1, what="files that come and go")
    assert_clean(server, tmp_path / "copy-0")


@pytest.fixture(scope="module")
def trained_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data directory of a stopped service that has trained one model."""
    with serving(tmp_path_factory.mktemp("backup") / "data", WORKERS=1) as server:
        server.client.define(a_model("m"))
        server.client.run(a_training("m"))
        server.terminate()
        server.wait_until_gone()
        return server.data


@pytest.fixture
def small(trained_data: Path, make_server: Callable[..., Server]) -> Server:
    """A copy of it for one test, not started."""
    server = make_server()
    copy_data(trained_data, server.data)
    return server


def test_an_empty_directory_is_filled(small: Server, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    done = backup(small, tmp_path / "empty")
    assert (done.returncode, done.stderr) == (0, "")
    assert assert_whole(tmp_path / "empty")["checkpoints"] == 2
    size = sum(path.stat().st_size for path in tmp_path.glob("empty/*/*.h5"))
    assert re.fullmatch(rf"\d files of {size} bytes and the database: {tmp_path}/empty\n", done.stdout)


@pytest.mark.parametrize("kind", ["file", "directory"])
def test_what_is_there_already_is_left_alone(small: Server, tmp_path: Path, kind: str) -> None:
    target = tmp_path / "there"
    mine = target
    if kind == "directory":
        target.mkdir()
        mine = target / "mine"
    mine.write_text("mine")
    done = backup(small, target)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"Error: {target} already exists; a backup needs a new or an empty directory\n"
    assert mine.read_text() == "mine"


def test_a_directory_without_a_service_is_reported(make_server: Callable[..., Server], tmp_path: Path) -> None:
    server = make_server("nothing")
    done = backup(server, tmp_path / "copy")
    assert done.returncode == 1
    assert done.stderr.startswith(
        f"Error: there is no database at {server.data}/trainyard.db; TRAINYARD_DATA must name"
    )
    assert not (server.data / "trainyard.db").exists()
    assert not (tmp_path / "copy").exists()


def test_what_is_damaged_or_missing_is_reported_and_the_rest_copied(small: Server, tmp_path: Path) -> None:
    first, second = small.files("checkpoints")
    path = small.data / "checkpoints" / first
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    (small.data / "checkpoints" / second).unlink()
    done = backup(small, tmp_path / "copy")
    assert done.returncode == 1
    assert f"checkpoints/{first} is damaged, and was copied as it is" in done.stderr
    assert f"checkpoints/{second} is missing" in done.stderr
    assert {one.name for one in (tmp_path / "copy" / "checkpoints").iterdir()} == {first}
    assert_clean(small, tmp_path / "copy")


def test_a_full_disk_leaves_nothing(small: Server, tmp_path: Path) -> None:
    """No file may have more than 8 KB; the database is larger."""
    done = backup(small, tmp_path / "copy", limit="ulimit -f 8; ")
    assert done.returncode == 1
    assert done.stderr.startswith(f"Error: nothing was copied to {tmp_path}/copy: ")
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "copy").exists()
    assert_clean(small, tmp_path / "copy")


#: A backup that hangs after it has pinned its files.
STUCK = """
import sys, time
from pathlib import Path
from service.store import directory
from service.upkeep import backup
from service.settings import Settings

def wait(*_):
    print("pinned", flush=True)
    time.sleep(600)

directory.copy_durably = wait
backup.back_up(Settings.read(), Path(sys.argv[1]))
"""


@contextlib.contextmanager
def stuck_backup(server: Server, target: Path) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", STUCK, target], cwd=ROOT, env=server.environment, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "pinned\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def test_one_backup_at_a_time(small: Server, tmp_path: Path) -> None:
    with stuck_backup(small, tmp_path / "first"):
        done = backup(small, tmp_path / "second")
        assert done.returncode == 1
        assert done.stderr == f"Error: another backup of {small.data} is under way\n"
        # A sweep does not remove the pins of a running backup.
        assert len(list((small.data / "checkpoints" / ".backup").iterdir())) == 2


@pytest.mark.parametrize("next_one", ["backup", "trainer"])
def test_what_a_killed_backup_has_pinned_goes(small: Server, tmp_path: Path, next_one: str) -> None:
    """With the next backup, or when a trainer starts."""
    with stuck_backup(small, tmp_path / "killed") as process:
        process.kill()
    assert len(list((small.data / "checkpoints" / ".backup").iterdir())) == 2
    if next_one == "backup":
        assert backup(small, tmp_path / "copy").returncode == 0
        assert_whole(tmp_path / "copy")
    else:
        assert small.start_ready().run(a_training("m"))["version"] == 2
    eventually(lambda: not list(small.data.rglob(".backup")), what="the end of the pins")
    assert not (tmp_path / "killed").exists()
