"""Files and the database: faults found at the start, what clients see of them, and files that are cleared away."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import pytest
import sqlalchemy as sa

from models.identifiers import new_id
from models.registry.tables import CHECKPOINTS
from service.store.files import FileStore
from service.store.locks import LockTakenError
from testing.databases import copy_data, rows_of
from testing.harness import Client, Server, eventually, serving
from testing.metrics import samples
from testing.samples import CSV, ROWS, a_model, a_training
from tests.service.upkeep.test_reindex import command


def flip(path: Path) -> None:
    """Change one bit of the first weight or value: the file still opens, but its content is another."""
    with h5py.File(path, "r") as file:
        place = file["parameters/0_dense/weights" if "parameters" in file else "columns/0"].id.get_offset()
    with path.open("r+b") as raw:
        raw.seek(place)
        byte = raw.read(1)[0]
        raw.seek(place)
        raw.write(bytes([byte ^ 0x40]))


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


#: A kind of damage to a file, and its name.
DAMAGES: dict[str, tuple[Callable[[Path], None], str]] = {
    "flipped": (flip, "wrong_digest"),
    "cut": (truncate, "wrong_size"),
    "deleted": (Path.unlink, "missing"),
}


def ask(client: Client, **members: Any) -> Any:
    return client.post("/predict", {"model": "served", "inputs": ROWS, **members})


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, Any]]]:
    """The data directory of a service that was stopped, with three versions of a model; and their jobs."""
    data = tmp_path_factory.mktemp("made") / "data"
    with serving(data, WORKERS=1) as server:
        client = server.client
        client.define(a_model("served"))
        jobs = [client.run(a_training("served", seed=seed)) for seed in (1, 2, 3)]
        for version, job in enumerate(jobs, start=1):
            job["answer"] = ask(client, version=version).json
        assert server.terminate() == 0
        server.wait_until_gone()
    return data, jobs


@pytest.fixture
def stopped(
    made: tuple[Path, list[dict[str, Any]]], make_server: Callable[..., Server]
) -> tuple[Server, list[dict[str, Any]]]:
    """A model with three versions, the oldest first, and its service, which is stopped."""
    data, jobs = made
    server = make_server()
    copy_data(data, server.data)  # with its files' times, by which damage is seen
    return server, jobs


@pytest.fixture(scope="module")
def at_work(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A service that reports often; each test has models of its own there, and leaves no job running."""
    with serving(tmp_path_factory.mktemp("at-work") / "data", WORKERS=1, REPORT_SECONDS=0.01) as server:
        yield server


def file_of(server: Server, job: dict[str, Any]) -> Path:
    return server.data / "checkpoints" / f"{job['checkpoint']}.h5"


def files_at_fault(client: Client) -> float:
    return samples(client.get("/metrics").body)["trainyard_files_at_fault"]


class TestDamagedVersion:
    """A version with a damaged file."""

    @pytest.mark.parametrize("damage", DAMAGES)
    def test_the_newest_good_one_is_the_default(
        self, stopped: tuple[Server, list[dict[str, Any]]], damage: str
    ) -> None:
        server, jobs = stopped
        apply, fault = DAMAGES[damage]
        apply(file_of(server, jobs[2]))
        client = server.start()
        # At once, before the check at the start can have reached this file.
        assert ask(client).json == jobs[1]["answer"]
        assert client.get("/models/served").json["default"] == 2
        for wanted in (3, "latest"):
            refused = ask(client, version=wanted)
            assert (refused.status, refused.json["code"]) == (500, "checkpoint_unreadable")
            assert f"{jobs[2]['checkpoint']}.h5" in refused.json["detail"]
            assert "trainyard verify" in refused.json["detail"]
            assert str(server.data) not in refused.json["detail"]
        assert client.get(f"/checkpoints/{jobs[2]['checkpoint']}").json["fault"] == fault
        assert "fault" not in client.get(f"/checkpoints/{jobs[1]['checkpoint']}").json
        assert files_at_fault(client) == 1
        assert client.get(f"/checkpoints/{jobs[2]['checkpoint']}/file").status in (404, 500)

    def test_a_version_that_was_asked_for_is_never_replaced(self, stopped: tuple[Server, list[dict[str, Any]]]) -> None:
        server, jobs = stopped
        client = server.start()
        client.put("/models/served/aliases/default", {"version": 2})
        client.put("/models/served/aliases/stable", {"version": 2})
        flip(file_of(server, jobs[1]))
        for wanted in (None, "default", "stable", 2):
            assert ask(client, version=wanted).json["code"] == "checkpoint_unreadable"
        assert ask(client, version=3).json == jobs[2]["answer"]

    def test_the_start_finds_it_without_being_asked(self, stopped: tuple[Server, list[dict[str, Any]]]) -> None:
        server, jobs = stopped
        flip(file_of(server, jobs[0]))
        file_of(server, jobs[1]).unlink()
        client = server.start_ready()
        eventually(lambda: files_at_fault(client) == 2, what="two faults")
        server.until_logged(f"{jobs[0]['checkpoint']}.h5: wrong_digest; it is not used")
        server.until_logged(f"{jobs[1]['checkpoint']}.h5: missing; it is not used")

    def test_no_run_starts_from_it(self, stopped: tuple[Server, list[dict[str, Any]]]) -> None:
        server, jobs = stopped
        file_of(server, jobs[1]).unlink()
        refused = server.start().post("/train", a_training("served", start_from=jobs[1]["checkpoint"]))
        assert (refused.status, refused.json["code"]) == (500, "checkpoint_unreadable")

    def test_where_none_is_good_the_newest_is_reported(self, stopped: tuple[Server, list[dict[str, Any]]]) -> None:
        server, jobs = stopped
        for job in jobs:
            flip(file_of(server, job))
        refused = ask(server.start())
        assert (refused.status, refused.json["code"]) == (500, "checkpoint_unreadable")
        assert jobs[2]["checkpoint"] in refused.json["detail"]

    def test_a_file_that_was_put_back_is_served_again(self, stopped: tuple[Server, list[dict[str, Any]]]) -> None:
        """Also by workers that have the damaged one mapped."""
        server, jobs = stopped
        server.settings["WORKERS"] = 2
        path, kept = file_of(server, jobs[2]), server.data / "kept"
        shutil.copyfile(path, kept)
        client = server.start_ready()
        for _ in range(20):  # so that both workers have loaded it
            assert ask(client).json == jobs[2]["answer"]
        flip(path)
        assert command(server, "verify").returncode == 1
        for _ in range(20):
            assert ask(client).json == jobs[1]["answer"]
        kept.rename(path)
        assert command(server, "verify").returncode == 0
        for _ in range(20):
            assert ask(client).json == jobs[2]["answer"]

    def test_a_start_from_it_fails_with_its_name(self, stopped: tuple[Server, list[dict[str, Any]]]) -> None:
        server, jobs = stopped
        client = server.start_ready()
        flip(file_of(server, jobs[0]))
        job = client.wait(client.train(a_training("served", start_from=jobs[0]["checkpoint"]))["id"])
        assert (job["state"], job["error"]["code"]) == ("failed", "checkpoint_unreadable")
        assert jobs[0]["checkpoint"] in job["error"]["detail"]


def test_a_damaged_dataset_trains_and_evaluates_nothing(make_server: Callable[..., Server]) -> None:
    server = make_server(WORKERS=1)
    client = server.start_ready()
    client.define(a_model("fed"))
    client.run(a_training("fed"))
    kept = client.post("/datasets?name=rows&label=colour", CSV.encode(), headers={"Content-Type": "text/csv"}).json
    flip(server.data / "datasets" / f"{kept['id']}.h5")
    job = client.wait(client.train({**a_training("fed"), "data": {"dataset": "rows"}})["id"])
    assert (job["state"], job["error"]["code"]) == ("failed", "storage_error")
    assert f"{kept['id']}.h5" in job["error"]["detail"]
    assert client.get("/datasets/rows").json["fault"] == "wrong_digest"
    for answer in (
        client.post("/evaluate", {"model": "fed", "data": {"dataset": "rows"}}),
        client.get("/datasets/rows/rows"),
        client.get("/datasets/rows/file"),
    ):
        assert (answer.status, answer.json["code"]) == (500, "storage_error")
        assert f"{kept['id']}.h5" in answer.json["detail"]


class TestVerify:
    """What ``python -m service verify`` prints."""

    def test_it_names_what_is_wrong_and_nothing_else(self, stopped: tuple[Server, list[dict[str, Any]]]) -> None:
        server, jobs = stopped
        good = command(server, "verify")
        assert (good.returncode, good.stderr) == (0, "")
        assert "nothing is wrong" in good.stdout
        expected = {}
        for job, (apply, fault) in zip(jobs, DAMAGES.values(), strict=True):
            apply(file_of(server, job))
            expected[f"{job['checkpoint']}.h5"] = fault
        orphan, stranger = new_id("ckpt"), "notes.txt"
        first = next(path for path in (server.data / "checkpoints").iterdir() if path.stem not in str(expected))
        shutil.copyfile(first, first.with_name(f"{orphan}.h5"))
        (server.data / "datasets" / stranger).write_text("mine")
        change_definition(server.data / "models" / "served.h5")
        with rows_of(server.data) as connection:
            lost = "SELECT number, 'lost', 9 FROM models WHERE name = 'served'"
            connection.exec_driver_sql(f"INSERT INTO aliases (model_number, alias, version) {lost}")
        expected |= {f"{orphan}.h5": "orphan", stranger: "unknown", "models/served.h5": "wrong_digest"}
        bad = command(server, "verify")
        assert bad.returncode == 1
        rows = [line.split()[:2] for line in bad.stdout.splitlines()[1:-1] if not line.startswith("served alias")]
        assert dict(rows) == expected
        assert "served alias lost" in bad.stdout
        assert bad.stdout.endswith(f"; {len(expected) + 1} things are wrong\n")

    def test_bits_that_changed_by_themselves_are_found(self, stopped: tuple[Server, list[dict[str, Any]]]) -> None:
        """The file's time has not changed: only the digest shows the damage."""
        server, jobs = stopped
        path = file_of(server, jobs[2])
        times = path.stat()
        flip(path)
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
        done = command(server, "verify")
        assert done.returncode == 1
        assert f"{path.name}  wrong_digest" in done.stdout
        assert ask(server.start()).json == jobs[1]["answer"]

    @pytest.mark.processes
    def test_beside_a_service_at_work_nothing_is_wrong(self, at_work: Server) -> None:
        server, client = at_work, at_work.client
        client.define(a_model("busy"))
        job = client.train(a_training("busy", epochs=10**6, checkpoint={"every_epochs": 1, "keep": 1}))["id"]
        client.until_epoch(job, 3)
        before = client.job(job)["checkpoint"]
        done = command(server, "verify")
        assert (done.returncode, done.stderr) == (0, ""), done
        assert client.job(job)["checkpoint"] != before, "checkpoints came and went meanwhile"
        client.post(f"/jobs/{job}/cancel")
        client.wait(job)


def change_definition(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[content.index(b"dense")] ^= 1
    path.write_bytes(content)


class TestOrphans:
    """Files that no row names."""

    def test_what_is_superfluous_goes_and_the_rest_is_moved_aside(
        self, stopped: tuple[Server, list[dict[str, Any]]]
    ) -> None:
        server, jobs = stopped
        folder, datasets = server.data / "checkpoints", server.data / "datasets"
        with rows_of(server.data) as connection:
            first = connection.scalar(sa.select(sa.func.min(CHECKPOINTS.c.id)))
            connection.execute(
                sa.delete(CHECKPOINTS).where(CHECKPOINTS.c.id == first)
            )  # as retention does, killed before unlink
        unnamed = folder / f"{new_id('ckpt')}.h5"
        shutil.copyfile(file_of(server, jobs[2]), unnamed)  # as a save that was killed before it was named
        broken = folder / f"{new_id('ckpt')}.h5"
        broken.write_bytes(b"no HDF5")
        stranger = folder / "mine.h5"
        stranger.write_bytes(b"mine")
        inline = datasets / f"{new_id('ds')}.h5"
        with h5py.File(inline, "w") as file:
            file.attrs["name"], file.attrs["created_at"] = "", "2026-01-01T00:00:00.000Z"
        named = datasets / f"{new_id('ds')}.h5"
        with h5py.File(named, "w") as file:
            file.attrs["name"], file.attrs["created_at"] = "mine", "2026-01-01T00:00:00.000Z"
        server.start_ready()
        aside = {unnamed.name, broken.name, named.name}
        eventually(lambda: {path.name for path in server.data.glob("orphans/*")} == aside, what="orphans moved")
        assert not (folder / f"{first}.h5").exists()
        assert not inline.exists()
        assert stranger.exists()
        server.until_logged(f"removed {first}.h5")
        server.until_logged(f"moved {unnamed.name}")
        assert all(file_of(server, job).exists() for job in jobs)

    def test_a_file_whose_writer_lives_is_left_alone(self, stopped: tuple[Server, list[dict[str, Any]]]) -> None:
        """The writer has renamed the file and not named it in the database yet; it holds the lock meanwhile."""
        server, jobs = stopped
        written = server.data / "checkpoints" / f"{new_id('ckpt')}.h5"
        shutil.copyfile(file_of(server, jobs[2]), written)
        with FileStore(server.data).writing():
            server.start_ready()
            server.until_logged("cleared away afterwards")
            # A killed check is started again, and completes.
            os.kill(server.processes("upkeep check")[0].pid, signal.SIGKILL)
            assert written.exists()
        eventually(lambda: not written.exists(), what="the orphan cleared away")
        assert (server.data / "orphans" / written.name).exists()

    def test_whoever_writes_a_file_holds_the_lock_until_it_is_named(self, make_server: Callable[..., Server]) -> None:
        server = make_server(WORKERS=1)
        client = server.start_ready()
        client.define(a_model("held"))
        upload = partial(
            client.post, "/datasets?name=held&label=colour", CSV.encode(), headers={"Content-Type": "text/csv"}
        )
        with ThreadPoolExecutor(2) as threads:
            with eventually_alone(server):
                sent = [threads.submit(upload), threads.submit(client.train, a_training("held"))]
                assert server.process is not None
                master = server.process.pid
                (worker,) = (one.pid for one in server.processes("gunicorn") if one.parent == master)
                eventually(lambda: waiting_for_locks().count(worker) == 2, what="both writers wait")
                assert server.files("datasets") == []
            assert sent[0].result().status == 201
            client.wait(sent[1].result()["id"])
        before = server.files("checkpoints")
        job = client.train(a_training("held", epochs=10**6, checkpoint={"every_epochs": 1, "keep": 3}))["id"]
        client.until_epoch(job, 2)
        with eventually_alone(server):
            runner = server.busy_runner().pid
            eventually(lambda: runner in waiting_for_locks(), what="the runner waits")
            named = {f"{row['id']}.h5" for row in client.pages("/models/held/checkpoints", 100)}
            assert set(server.files("checkpoints")) == named
        assert set(before) < named
        client.post(f"/jobs/{job}/cancel")
        assert client.wait(job)["state"] == "cancelled"


def waiting_for_locks() -> list[int]:
    """The processes that wait for a lock on a file, one entry a lock (proc_locks(5))."""
    lines = Path("/proc/locks").read_text().splitlines()
    return [int(line.split()[5]) for line in lines if line.split()[1] == "->"]


@contextmanager
def eventually_alone(server: Server) -> Iterator[None]:
    """The lock that excludes all writers, as soon as it is free."""
    with ExitStack() as stack:

        def got() -> bool:
            try:
                stack.enter_context(FileStore(server.data).no_writers())
            except LockTakenError:
                return False
            return True

        eventually(got, what="a moment in which nobody writes")
        yield


class TestRetention:
    """Deleted and kept checkpoints, in the real service."""

    @pytest.mark.processes
    def test_what_queued_jobs_start_from_stays(self, at_work: Server) -> None:
        server, client = at_work, at_work.client
        client.define(a_model("from"))
        client.define(a_model("to"))
        policy = {"every_epochs": 1, "keep": 0}
        job = client.train(a_training("from", epochs=10**6, checkpoint=policy))["id"]
        client.until_epoch(job, 2)
        client.post(f"/jobs/{job}/pause")
        client.until_state(job, "paused")
        start = client.job(job)["checkpoint"]
        waiting = client.train(a_training("to", start_from=start))["id"]
        client.post(f"/jobs/{waiting}/pause")
        client.until_state(waiting, "paused", "succeeded")
        assert client.job(waiting)["state"] == "paused"
        client.post(f"/jobs/{job}/resume")
        epoch = client.job(job)["progress"]["epoch"]
        client.until_epoch(job, epoch + 5)
        assert client.get(f"/checkpoints/{start}").status == 200
        client.post(f"/jobs/{waiting}/cancel")
        client.until_epoch(job, client.job(job)["progress"]["epoch"] + 3)
        eventually(lambda: client.get(f"/checkpoints/{start}").status == 404, what="it is superfluous now")
        assert not (server.data / "checkpoints" / f"{start}.h5").exists()
        assert client.delete("/models/from?force=true").status == 204

    @pytest.mark.processes
    def test_the_best_between_stays(self, at_work: Server) -> None:
        """The learning rate makes the loss rise again, so the best checkpoint is not among the newest."""
        client = at_work.client
        client.define(a_model("best"))
        training = a_training(
            "best",
            epochs=30,
            checkpoint={"every_epochs": 1, "keep": 2},
            optimizer={"type": "sgd", "learning_rate": 6.0},
        )
        job = client.run(training)
        losses = {record["epoch"]: record["loss"] for record in client.history(job["id"])}
        best = min(losses, key=lambda epoch: (losses[epoch], epoch))
        assert best not in (28, 29, 30), "chosen so that the best is not kept for being new"
        kept = [row["epoch"] for row in client.get(f"/jobs/{job['id']}/checkpoints").json["data"]]
        assert kept == [30, 29, 28, best, 0]
