"""Killed processes, one or all: jobs continue without help, to the same bits, and nothing is lost."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from time import monotonic
from typing import Any

import pytest

from models.formats.durable import open_temporary
from models.identifiers import new_id
from models.training.checkpoint import CheckpointKind, Origin
from service.jobs.trainer import GRACE_SECONDS
from testing.harness import Client, Server, eventually, serving
from testing.jobs import arrays, timeless
from testing.runs import a_run
from testing.samples import CLASSES, ROWS, a_model, a_training
from testing.saving import save_checkpoint

pytestmark = pytest.mark.processes

EPOCHS = 8_000
#: Short leases, so that jobs of a dead trainer wait briefly; frequent reports, so that tests see a job in progress.
SETTINGS = {"LEASE_SECONDS": 1, "REPORT_SECONDS": 0.05}


def long_training(model: str, **members: Any) -> dict[str, Any]:
    """A second or two of work, with checkpoints on the way."""
    policy = {"every_epochs": 500, "keep": 2}
    return a_training(model, epochs=EPOCHS, batch_size=2, validation={"fraction": 0.25}, checkpoint=policy, **members)


class Whole:
    """The result of the job of ``long_training`` without disturbance."""

    def __init__(self, server: Server) -> None:
        client = server.client
        client.define(a_model("long"))
        job = client.run(long_training("long"))
        self.history = timeless(client.history(job["id"]))
        self.arrays = arrays(server.data / "checkpoints" / f"{job['checkpoint']}.h5", "parameters", "optimizer")
        self.answer = client.post("/predict", {"model": "long", "inputs": ROWS}).json["probabilities"]
        self.metrics = job["metrics"]

    def assert_same(self, server: Server, job_id: str) -> dict[str, Any]:
        """The job has succeeded with the same history and the same bits, and serves the same answers."""
        client = server.client
        job = client.wait(job_id)
        assert job["state"] == "succeeded", job
        assert job["progress"]["epoch"] == EPOCHS
        history = client.history(job_id)
        assert [epoch["epoch"] for epoch in history] == list(range(1, EPOCHS + 1))
        assert timeless(history) == self.history
        path = server.data / "checkpoints" / f"{job['checkpoint']}.h5"
        assert arrays(path, "parameters", "optimizer") == self.arrays
        assert client.post("/predict", {"model": job["model"], "inputs": ROWS}).json["probabilities"] == self.answer
        assert job["metrics"] == self.metrics
        assert job["version"] == 1
        return job


@pytest.fixture(scope="module")
def killable(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Whole]]:
    """A server whose runners and trainers may be killed, and the undisturbed run."""
    with serving(tmp_path_factory.mktemp("killable") / "data", **SETTINGS) as server:
        yield server, Whole(server)


def begin(server: Server, name: str) -> str:
    """A running job of ``long_training``, past its first checkpoints."""
    server.client.define(a_model(name))
    job = server.client.train(long_training(name))["id"]
    server.client.until_epoch(job, 600)
    return job


def logs(client: Client, job: str) -> list[str]:
    data = [event for event in client.pages(f"/jobs/{job}/events", 100) if event["type"] == "log"]
    return [event["data"]["message"] for event in data]


class TestRunner:
    """``kill -9`` of the process that trains."""

    def test_the_job_goes_on_by_itself(self, killable: tuple[Server, Whole]) -> None:
        server, whole = killable
        job = begin(server, "runner-killed")
        runner = server.busy_runner()
        assert runner.parent == server.trainer().pid
        os.kill(runner.pid, signal.SIGKILL)
        assert whole.assert_same(server, job)["attempt"] == 2
        assert logs(server.client, job) == ["worker lost: killed by SIGKILL"]
        states = [
            event["data"]["state"]
            for event in server.client.pages(f"/jobs/{job}/events", 100)[::-1]
            if event["type"] == "state"
        ]
        assert states == ["queued", "running", "queued", "running", "succeeded"]

    def test_again_and_again(self, killable: tuple[Server, Whole]) -> None:
        server, whole = killable
        job = begin(server, "runner-killed-thrice")
        for attempt in (2, 3, 4):
            os.kill(server.busy_runner().pid, signal.SIGKILL)
            eventually(lambda wanted=attempt: server.client.job(job)["attempt"] == wanted, what=f"attempt {attempt}")
            # A new checkpoint in between, so that it does not count as a job that kills its workers.
            before = server.client.job(job)["checkpoint"]
            eventually(lambda known=before: server.client.job(job)["checkpoint"] != known, what="a checkpoint")
        assert whole.assert_same(server, job)["attempt"] == 4

    def test_a_job_that_kills_every_worker_is_given_up(self, killable: tuple[Server, Whole]) -> None:
        server, _ = killable
        client = server.client
        client.define(a_model("poison"))
        job = client.train(a_training("poison", epochs=10**6))["id"]
        for attempt in (1, 2, 3):
            # Past its beginning, because the very first checkpoint resets the count of deaths.
            eventually(
                lambda wanted=attempt: (
                    (now := client.job(job))["attempt"] == wanted and now["state"] == "running" and now["checkpoint"]
                ),
                what=f"attempt {attempt}",
            )
            os.kill(server.busy_runner().pid, signal.SIGKILL)
            eventually(
                lambda wanted=attempt: (now := client.job(job))["attempt"] > wanted or now["state"] == "failed",
                what="the loss is noticed",
            )
        ended = client.wait(job)
        assert (ended["state"], ended["attempt"], ended["version"]) == ("failed", 3, None)
        assert ended["error"]["code"] == "worker_lost"
        assert "SIGKILL" in ended["error"]["detail"]

    def test_what_it_was_writing_goes_as_soon_as_it_is_dead(self, killable: tuple[Server, Whole]) -> None:
        server, _ = killable
        client, folder = server.client, server.data / "checkpoints"
        client.define({"name": "cut-saves", "inputs": 2, "classes": CLASSES, "hidden": [1500, 1500]})
        job = client.train(a_training("cut-saves", epochs=10**5, checkpoint={"every_epochs": 1, "keep": 1}))["id"]
        runner, trainer = server.busy_runner(), server.trainer().pid
        # This process is a living writer of another file.
        living, file = open_temporary(folder / f"{new_id('ckpt')}.h5")
        with file:

            def stopped_within_a_save() -> set[str]:
                os.kill(runner.pid, signal.SIGSTOP)
                found = {path.name for path in folder.glob(".*.partial")} - {living.name}
                if not found:
                    os.kill(runner.pid, signal.SIGCONT)
                return found

            partial = eventually(stopped_within_a_save, what="a save under way")
            os.kill(runner.pid, signal.SIGKILL)
            eventually(lambda: client.job(job)["attempt"] == 2, what="the loss is noticed")
            eventually(lambda: not partial & {path.name for path in folder.glob(".*")}, what="the cut file is gone")
            assert living.exists()
            assert server.trainer().pid == trainer
        client.delete("/models/cut-saves?force=true")
        eventually(lambda: len(server.processes("service runner")) == 1, what="its runner has ended")
        living.unlink(missing_ok=True)  # Once it is closed, it is as of a dead writer.

    def test_what_it_has_not_named_goes_too(self, killable: tuple[Server, Whole]) -> None:
        """Nobody has seen such a checkpoint, so that a model that is deleted by force leaves nothing."""
        server, _ = killable
        job = begin(server, "unnamed")
        checkpoint, ids = a_run().checkpoint(), [new_id("ckpt"), new_id("ckpt")]
        for checkpoint_id, origin in zip(ids, (job, "job_of_another_trainer"), strict=True):
            own = replace(checkpoint, origin=Origin(origin, CheckpointKind.BETWEEN, "{}"))
            save_checkpoint(server.data / "checkpoints" / f"{checkpoint_id}.h5", own)
        runner = server.busy_runner().pid
        assert server.client.delete("/models/unnamed?force=true").status == 204
        with suppress(ProcessLookupError):
            os.kill(runner, signal.SIGKILL)
        paths = [server.data / "checkpoints" / f"{checkpoint_id}.h5" for checkpoint_id in ids]
        eventually(lambda: not paths[0].exists(), what="the file without a row is gone")
        assert paths[1].exists()
        paths[1].unlink()

    def test_one_that_is_stopped_past_its_lease_is_replaced(self, killable: tuple[Server, Whole]) -> None:
        server, whole = killable
        job = begin(server, "runner-stopped")
        stopped = server.busy_runner().pid
        os.kill(stopped, signal.SIGSTOP)
        # If it was stopped within a commit, no process can read before it is killed.
        eventually(lambda: server.client.get(f"/jobs/{job}").json.get("attempt") == 2, 40.0, "it is taken over")
        assert whole.assert_same(server, job)["attempt"] == 2
        assert stopped not in {one.pid for one in server.processes()}
        assert logs(server.client, job) == ["worker lost: stopped by a signal for as long as a lease"]

    def test_one_that_is_continued_in_time_goes_on(self, killable: tuple[Server, Whole]) -> None:
        server, whole = killable
        job = begin(server, "runner-continued")
        runner = server.busy_runner().pid
        for _ in range(3):
            os.kill(runner, signal.SIGSTOP)
            os.kill(runner, signal.SIGCONT)
        assert whole.assert_same(server, job)["attempt"] == 1

    def test_one_that_only_waits_is_replaced(self, killable: tuple[Server, Whole]) -> None:
        server, _ = killable
        client = server.client
        waiting = eventually(lambda: server.processes("service runner"), what="a runner that waits")[-1]
        os.kill(waiting.pid, signal.SIGKILL)
        client.define(a_model("idle-killed"))
        job = client.run(a_training("idle-killed"))
        assert job["version"] == 1


class TestTrainer:
    """``kill -9`` of the supervisor."""

    def test_it_comes_back_and_the_job_succeeds(self, killable: tuple[Server, Whole]) -> None:
        server, whole = killable
        job = begin(server, "trainer-killed")
        old = server.trainer()
        os.kill(old.pid, signal.SIGKILL)
        assert whole.assert_same(server, job)["attempt"] == 2
        assert server.trainer().pid != old.pid
        eventually(
            lambda: not [one for one in server.processes("service runner") if one.parent != server.trainer().pid],
            what="runners of the dead trainer have left",
        )

    def test_predictions_are_answered_meanwhile(self, killable: tuple[Server, Whole]) -> None:
        server, whole = killable
        old = server.trainer().pid
        os.kill(old, signal.SIGKILL)
        for _ in range(10):
            answer = server.client.post("/predict", {"model": "long", "inputs": ROWS})
            assert answer.json["probabilities"] == whole.answer
        assert server.client.get("/health/ready").status == 200
        assert server.trainer().pid != old

    def test_terminating_it_saves_and_hands_over(self, killable: tuple[Server, Whole]) -> None:
        server, whole = killable
        job = begin(server, "trainer-terminated")
        os.kill(server.trainer().pid, signal.SIGTERM)
        assert whole.assert_same(server, job)["attempt"] == 1

    def test_a_second_one_is_sent_away(self, killable: tuple[Server, Whole]) -> None:
        server, _ = killable
        first = server.trainer().pid
        done = server.run_to_end(sys.executable, "-m", "service", "trainer")
        assert done.returncode == 1
        assert f"another trainer runs in {server.data}" in done.stderr
        assert "Traceback" not in done.stderr
        assert server.trainer().pid == first


class TestWorkers:
    """``kill -9`` of a web worker."""

    def test_another_takes_its_place(self, killable: tuple[Server, Whole]) -> None:
        server, whole = killable
        assert server.process is not None
        workers = [one for one in server.processes("gunicorn") if one.parent == server.process.pid]
        assert len(workers) == 2
        trainer = server.trainer().pid
        for worker in workers:
            os.kill(worker.pid, signal.SIGKILL)

        def replaced() -> bool:
            now = {one.pid for one in server.processes("gunicorn")} - {worker.pid for worker in workers}
            return len(now) == 3

        eventually(replaced, what="two new workers")
        answer = server.client.post("/predict", {"model": "long", "inputs": ROWS})
        assert answer.json["probabilities"] == whole.answer
        assert server.trainer().pid == trainer


class TestEverything:
    """All processes at once, and a start on the same data."""

    @pytest.fixture
    def server(self, make_server: Callable[..., Server]) -> Server:
        server = make_server(WORKERS=2, **SETTINGS)
        server.start_ready()
        return server

    def test_after_kill_9_of_everything_nothing_is_lost(self, server: Server, killable: tuple[Server, Whole]) -> None:
        _, whole = killable
        client = server.client
        client.define(a_model("before"))
        done = client.run(a_training("before"))
        assert client.put("/models/before/aliases/best", {"version": 1}).status == 200
        kept = client.post("/datasets", {"name": "kept", "inputs": ROWS, "labels": [0, 1, 2] * 4}).json
        answer = client.post("/predict", {"model": "before", "inputs": ROWS}).body
        job = begin(server, "all-killed")
        waiting = client.train(a_training("before"))["id"]
        server.kill_everything()
        assert server.processes() == []

        client = server.start()
        assert client.post("/predict", {"model": "before", "inputs": ROWS}).body == answer
        assert client.job(done["id"]) == done
        assert client.get("/models/before/aliases/best").json["version"] == 1
        assert client.get("/datasets/kept").json == kept
        assert whole.assert_same(server, job)["attempt"] == 2
        assert client.wait(waiting)["version"] == 2
        assert not [name for name in server.files("checkpoints") if not name.endswith(".h5")]

    def test_a_graceful_restart_costs_no_attempt(self, server: Server, killable: tuple[Server, Whole]) -> None:
        _, whole = killable
        job = begin(server, "restarted")
        trainer = server.trainer().pid
        assert server.terminate() == 0
        # By itself it would end three seconds later, which is as long as the job takes.
        os.kill(trainer, signal.SIGTERM)
        server.wait_until_gone()
        client = server.start()
        assert client.job(job)["state"] in ("queued", "running")
        assert whole.assert_same(server, job)["attempt"] == 1
        assert logs(client, job) == []

    def test_the_trainer_outlives_a_quick_restart(self, server: Server) -> None:
        for _ in range(5):
            trainer = server.trainer().pid
            begin = monotonic()
            assert server.terminate() == 0
            client = server.start_ready()
            if monotonic() - begin < GRACE_SECONDS:
                assert server.trainer().pid == trainer
                break
        else:
            pytest.skip(f"this machine starts the service in no less than {GRACE_SECONDS:g} s at present")
        client.define(a_model("quick"))
        assert client.run(a_training("quick"))["version"] == 1

    def test_all_leave_when_told_to(self, server: Server) -> None:
        client = server.client
        client.define(a_model("left"))
        paused = client.train(a_training("left", epochs=10**6))["id"]
        client.until_epoch(paused, 1)
        client.post(f"/jobs/{paused}/pause")
        stands = client.until_state(paused, "paused")
        job = client.train(a_training("left", epochs=10**6))["id"]
        client.until_epoch(job, 1)
        assert server.terminate() == 0
        server.wait_until_gone()
        client = server.start()
        client.until_state(job, "running")
        assert client.job(paused) == stands
        for left in (job, paused):
            assert client.post(f"/jobs/{left}/cancel").status == 202
            assert client.wait(left)["state"] == "cancelled"


class TestDamage:
    """Damaged and missing files."""

    def test_a_damaged_checkpoint_is_passed_over(self, make_server: Callable[..., Server]) -> None:
        server = make_server(**SETTINGS)
        client = server.start_ready()
        job = begin(server, "damaged")
        client.post(f"/jobs/{job}/pause")
        client.until_state(job, "paused")
        newest, older, *_ = client.get(f"/jobs/{job}/checkpoints").json["data"]
        path = server.data / "checkpoints" / f"{newest['id']}.h5"
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 0xFF
        path.write_bytes(content)
        client.post(f"/jobs/{job}/resume")
        ended = client.wait(job)
        assert ended["state"] == "succeeded"
        assert [epoch["epoch"] for epoch in client.history(job)] == list(range(1, EPOCHS + 1))
        assert f"{newest['id']}.h5: /: expected" in server.log
        assert older["step"] <= newest["step"]

    def test_a_missing_file_is_reported(self, make_server: Callable[..., Server]) -> None:
        server = make_server(WORKERS=1)
        client = server.start_ready()
        client.define(a_model("missing"))
        job = client.run(a_training("missing"))
        (server.data / "checkpoints" / f"{job['checkpoint']}.h5").unlink()
        answer = client.get(f"/checkpoints/{job['checkpoint']}/file")
        assert (answer.status, answer.json["code"]) == (404, "file_missing")
        assert client.get(f"/checkpoints/{job['checkpoint']}").status == 200
        predicted = client.post("/predict", {"model": "missing", "inputs": ROWS})
        assert (predicted.status, predicted.json["code"]) == (500, "checkpoint_unreadable")
        assert f"{job['checkpoint']}.h5" in predicted.json["detail"]
        assert str(server.data) not in predicted.json["detail"]
        server.until_logged(f"unreadable checkpoint: {job['checkpoint']}.h5")


def test_parallel_jobs(make_server: Callable[..., Server]) -> None:
    """Two jobs at a time, each in a separate process; killing one does not disturb the other."""
    server = make_server(PARALLEL_JOBS=2, WORKERS=1, **SETTINGS)
    client = server.start_ready()
    client.define(a_model("abreast"))
    first, second, third = (client.train(a_training("abreast", epochs=10**6))["id"] for _ in range(3))
    for job in (first, second):
        client.until_epoch(job, 1)
    assert client.job(third)["state"] == "queued"
    os.kill(server.busy_runner().pid, signal.SIGKILL)
    eventually(lambda: client.job(first)["attempt"] + client.job(second)["attempt"] == 3, what="one was lost")
    for job in (first, second):
        client.until_state(job, "running")
        assert client.post(f"/jobs/{job}/cancel").status == 202
    client.until_epoch(third, 1)
    assert client.post(f"/jobs/{third}/cancel").status == 202
    assert [client.wait(job)["state"] for job in (first, second, third)] == ["cancelled"] * 3


def test_a_trainer_alone_beside_a_web_service_without_one(make_server: Callable[..., Server]) -> None:
    server = make_server(TRAINER="external")
    client = server.start()
    client.define(a_model("apart"))
    jobs = [client.train(a_training("apart"))["id"] for _ in range(2)]
    trainer = server.run_beside("trainer")
    assert [client.wait(job)["version"] for job in jobs] == [1, 2]
    second = server.run_beside("trainer")
    assert second.wait(30) == 1
    assert "another trainer runs in" in server.log
    # It is independent of the web service: it stays when that ends, and ends when asked to.
    assert server.terminate() == 0
    assert trainer.poll() is None
    trainer.terminate()
    assert trainer.wait(30) == 0
    server.wait_until_gone()
