"""Jobs over HTTP: the main flow, a job's reports, and clients' requests to it."""

from __future__ import annotations

import hashlib
import re
import threading
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from models.formats.checkpoint_file import load_checkpoint
from testing.harness import FINAL, Client, Server, eventually
from testing.jobs import arrays, timeless
from testing.samples import CLASSES, CSV, DATA, LABELS, ROWS, a_model, a_training, fresh
from testing.streams import Stream
from tests.service.conftest import Trained

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
METRICS = {"loss", "accuracy", "validation_loss", "validation_log_loss", "validation_accuracy"}


@pytest.fixture
def name(client: Client) -> str:
    """A defined model that only this test uses."""
    return str(client.define(a_model(fresh("job")))["name"])


@pytest.fixture
def endless(client: Client, name: str) -> Iterator[str]:
    """A running job that would take minutes; cancelled after the test."""
    job = client.train(a_training(name, epochs=10**6))["id"]
    client.until_epoch(job, 1)
    yield job
    if client.job(job)["state"] not in FINAL:
        client.post(f"/jobs/{job}/cancel")
        client.wait(job)


class TestMainFlow:
    """Define, train, wait, look back, predict."""

    def test_the_queued_job_tells_what_was_asked(self, client: Client, name: str) -> None:
        body = a_training(name, validation={"fraction": 0.25}, metadata={"why": "test"})
        answer = client.post("/train", body)
        assert answer.status == 202
        job = answer.json
        assert answer.headers["location"] == f"/jobs/{job['id']}"
        assert job["id"].startswith("job_")
        assert TIME.fullmatch(job["created_at"])
        assert job["request"] == {
            "model": name,
            "data": {"rows": 12},
            "epochs": 5,
            "batch_size": 8,
            "shuffle": True,
            "seed": 3,
            "validation": {"fraction": 0.25},
            "validate_every": 1,
            "optimizer": {
                "type": "adam",
                "learning_rate": 0.001,
                "decay": 0.0,
                "schedule": {"type": "constant", "warmup": 0.0, "warmup_from": 0.01},
                "clip_norm": None,
                "clip_value": None,
                "average": None,
                "accumulate": 1,
                "beta1": 0.9,
                "beta2": 0.999,
                "epsilon": 1e-7,
                "epsilon_mode": "inside_sqrt",
                "amsgrad": False,
            },
            "loss": {"type": "categorical_crossentropy", "label_smoothing": 0.0},
            "class_weights": None,
            "early_stopping": None,
            "max_seconds": None,
            "reinitialize": [],
            "effort": None,
            "folds": None,
            "checkpoint": {"every_epochs": None, "every_seconds": None, "keep": 3},
            "start_from": None,
            "publish": True,
            "metadata": {"why": "test"},
        }
        # A trainer may have started it before the response was sent.
        assert job["state"] in ("queued", "running")
        assert (job["finished_at"], job["attempt"], job["error"], job["version"]) == (None, 1, None, None)
        assert job["progress"]["epochs"] == 5
        client.wait(job["id"])

    def test_the_ended_job_tells_how_it_went(self, client: Client, name: str) -> None:
        job = client.run(a_training(name, validation={"fraction": 0.25}))
        assert job.keys() == {
            "id",
            "model",
            "state",
            "created_at",
            "started_at",
            "finished_at",
            "attempt",
            "progress",
            "metrics",
            "best",
            "stopped_by",
            "kernels",
            "members",
            "held_out",
            "checkpoint",
            "version",
            "error",
            "warnings",
            "request",
        }
        assert (job["members"], job["held_out"]) == ([], None)
        assert job["created_at"] <= job["started_at"] <= job["finished_at"]
        assert job["progress"] == {"epoch": 5, "epochs": 5, "step": 10, "fraction": 1.0, "eta_seconds": 0.0}
        assert (job["attempt"], job["version"], job["error"]) == (1, 1, None)
        history = client.history(job["id"])
        assert [epoch["epoch"] for epoch in history] == [1, 2, 3, 4, 5]
        for epoch in history:
            assert epoch.keys() == {"epoch", *METRICS, "learning_rate", "seconds"}
            assert epoch["learning_rate"] == 0.001
            assert epoch["loss"] > 0
            assert epoch["validation_loss"] > 0
            assert epoch["validation_log_loss"] == pytest.approx(epoch["validation_loss"], rel=1e-6)
            assert epoch["seconds"] > 0
        assert job["metrics"] == {metric: history[-1][metric] for metric in METRICS}

    def test_data_defaults(self, client: Client, name: str) -> None:
        job = client.run({"model": name, "data": DATA})
        asked = {key: job["request"][key] for key in ("epochs", "batch_size", "shuffle", "seed", "validation")}
        assert asked == {"epochs": 100, "batch_size": 32, "shuffle": True, "seed": 0, "validation": None}
        assert job["progress"]["step"] == 100
        assert job["metrics"]["validation_loss"] is None

    def test_a_whole_batch(self, client: Client, name: str) -> None:
        job = client.run(a_training(name, batch_size="full"))
        assert (job["progress"]["step"], job["request"]["batch_size"]) == (5, "full")

    def test_rows_of_their_own_for_validation(self, client: Client, name: str) -> None:
        job = client.run(a_training(name, validation={"inputs": ROWS[:6], "labels": LABELS[:6]}))
        assert job["request"]["validation"] == {"rows": 6}
        assert job["metrics"]["validation_accuracy"] in {count / 6 for count in range(7)}

    def test_one_hot_labels_are_the_classes_in_order(self, client: Client, name: str) -> None:
        one_hot = [[int(label == known) for known in CLASSES] for label in LABELS]
        losses = [
            [epoch["loss"] for epoch in client.history(client.run(a_training(name, data=data))["id"])]
            for data in (DATA, {"inputs": ROWS, "labels": one_hot})
        ]
        assert losses[0] == losses[1]

    def test_an_optimizer_of_the_jobs_own(self, client: Client, name: str) -> None:
        optimizer = {"type": "sgd", "learning_rate": 0.5, "momentum": 0.9, "decay": 0.1}
        job = client.run(a_training(name, optimizer=optimizer))
        common = {"clip_norm": None, "clip_value": None, "average": None, "accumulate": 1}
        schedule = {"type": "constant", "warmup": 0.0, "warmup_from": 0.01}
        assert job["request"]["optimizer"] == {**optimizer, "nesterov": False, "schedule": schedule, **common}
        rates = [epoch["learning_rate"] for epoch in client.history(job["id"])]
        assert rates == [0.5 / (1 + 0.1 * step) for step in (1, 3, 5, 7, 9)]
        assert client.get(f"/models/{name}").json["optimizer"]["type"] == "adam"

    def test_nothing_is_published_where_that_is_asked(self, client: Client, name: str) -> None:
        job = client.run(a_training(name, publish=False))
        assert (job["state"], job["version"]) == ("succeeded", None)
        assert job["checkpoint"] is not None
        assert client.get(f"/models/{name}").json["default"] is None
        assert client.post("/predict", {"model": name, "inputs": [[0, 1]]}).json["code"] == "no_version"

    def test_the_same_request_gives_the_same_bits(self, client: Client, server: Server, name: str) -> None:
        body = a_training(name, validation={"fraction": 0.25})
        one, other = client.run(body), client.run(body)
        assert timeless(client.history(one["id"])) == timeless(client.history(other["id"]))
        files = [server.data / "checkpoints" / f"{job['checkpoint']}.h5" for job in (one, other)]
        assert arrays(files[0], "parameters", "optimizer") == arrays(files[1], "parameters", "optimizer")

    def test_training_learns(self, client: Client, name: str) -> None:
        client.run(a_training(name, epochs=200, optimizer={"type": "adam", "learning_rate": 0.05}))
        assert client.post("/predict", {"model": name, "inputs": ROWS}).json["predictions"] == LABELS


class TestDefinedByTheSameRequest:
    """A definition in place of a model's name."""

    def test_inputs_classes_and_units_come_from_the_data(self, client: Client) -> None:
        name = fresh("inline")
        layers = [{"type": "dense", "units": 4}, {"type": "relu"}, {"type": "dense"}, {"type": "softmax"}]
        job = client.run(a_training({"name": name, "layers": layers}))
        assert job["model"] == job["request"]["model"] == name
        model = client.get(f"/models/{name}").json
        assert (model["inputs"], model["classes"], model["layers"][2]["units"]) == (2, sorted(CLASSES), 3)
        assert model["default"] == 1
        assert client.post("/predict", {"model": name, "inputs": ROWS}).json["classes"] == sorted(CLASSES)

    def test_from_a_dataset(self, client: Client) -> None:
        name = fresh("inline")
        kept = fresh("rows")
        headers = {"Content-Type": "text/csv"}
        assert client.post(f"/datasets?name={kept}&label=colour", CSV.encode(), headers=headers).status == 201
        client.run(a_training({"name": name, "hidden": [4]}, data={"dataset": kept}))
        assert client.get(f"/models/{name}").json["classes"] == sorted(CLASSES)

    def test_again_with_the_same_definition(self, client: Client) -> None:
        name = fresh("inline")
        body = a_training({"name": name, "hidden": [4]})
        assert [client.run(body)["version"] for _ in range(2)] == [1, 2]

    def test_a_given_order_of_classes_stays(self, client: Client) -> None:
        name = fresh("inline")
        client.run(a_training({"name": name, "classes": CLASSES, "hidden": []}))
        assert client.get(f"/models/{name}").json["classes"] == CLASSES


class TestWait:
    """``?wait=`` answers when the job has ended, or when the time is up."""

    def test_it_returns_at_the_end(self, client: Client, name: str) -> None:
        job = client.train(a_training(name, epochs=2000))
        waited = client.get(f"/jobs/{job['id']}?wait=60").json
        assert waited["state"] == "succeeded"
        assert client.get(f"/jobs/{job['id']}?wait=60").json == waited

    def test_it_returns_when_the_time_is_up(self, client: Client, endless: str) -> None:
        begin = time.monotonic()
        assert client.get(f"/jobs/{endless}?wait=0.5").json["state"] == "running"
        assert 0.5 <= time.monotonic() - begin < 5

    def test_a_hundred_clients_wait_and_hold_no_thread(self, client: Client, endless: str) -> None:
        answers: list[Any] = []

        def ask() -> None:
            answers.append(client.get(f"/jobs/{endless}?wait=20"))

        waiting = [threading.Thread(target=ask) for _ in range(100)]
        for thread in waiting:
            thread.start()
        # Two workers of 16 threads: each of these needs a thread.
        for _ in range(40):
            assert client.get("/health/ready").status == 200
        assert client.post(f"/jobs/{endless}/cancel").status == 202
        for thread in waiting:
            thread.join(30)
        assert len(answers) == 100
        assert {answer.status for answer in answers} == {200}
        assert {answer.json["state"] for answer in answers} == {"cancelled"}


class TestCheckpoints:
    """The files on the way."""

    def test_first_and_last_are_kept(self, client: Client, server: Server, name: str) -> None:
        job = client.run(a_training(name))
        last, first = client.get(f"/jobs/{job['id']}/checkpoints").json["data"]
        assert ((first["epoch"], first["step"]), (last["epoch"], last["step"])) == ((0, 0), (5, 10))
        assert job["checkpoint"] == last["id"]
        for document in (first, last):
            assert document.keys() == {
                "id",
                "model",
                "job",
                "epoch",
                "step",
                "bytes",
                "sha256",
                "metrics",
                "created_at",
            }
            assert document["id"].startswith("ckpt_")
            assert (document["model"], document["job"]) == (name, job["id"])
            assert TIME.fullmatch(document["created_at"])
            assert client.get(f"/checkpoints/{document['id']}").json == document
        assert (first["metrics"], last["metrics"]) == ({}, job["metrics"])
        assert client.get(f"/models/{name}/checkpoints").json["data"] == [last, first]

    def test_a_download_is_the_file_that_is_described(self, client: Client, tmp_path: Path, trained: Trained) -> None:
        for document in client.pages(f"/models/{trained.name}/checkpoints", 10):
            answer = client.get(f"/checkpoints/{document['id']}/file")
            assert answer.status == 200
            assert answer.headers["content-type"] == "application/x-hdf5"
            assert answer.headers["content-disposition"].startswith("attachment; filename=")
            assert hashlib.sha256(answer.body).hexdigest() == document["sha256"]
            assert len(answer.body) == int(answer.headers["content-length"]) == document["bytes"]
            (tmp_path / "download.h5").write_bytes(answer.body)
            loaded = load_checkpoint(tmp_path / "download.h5")
            assert (loaded.definition.name, loaded.state.epoch) == (trained.name, document["epoch"])

    def test_a_part_can_be_asked_for(self, client: Client, trained: Trained) -> None:
        path = f"/checkpoints/{trained.jobs[0]['checkpoint']}/file"
        whole = client.get(path).body
        part = client.get(path, headers={"Range": "bytes=100-199"})
        assert (part.status, part.body) == (206, whole[100:200])
        beyond = client.get(path, headers={"Range": f"bytes={len(whole)}-"})
        assert (beyond.status, beyond.json["status"]) == (416, 416)

    def test_a_file_that_is_known_is_not_sent_again(self, client: Client, trained: Trained) -> None:
        path = f"/checkpoints/{trained.jobs[0]['checkpoint']}/file"
        tag = client.get(path).headers["etag"]
        again = client.get(path, headers={"If-None-Match": tag})
        assert (again.status, again.body) == (304, b"")

    @pytest.mark.parametrize(
        ("policy", "epochs"),
        [
            ({"every_epochs": 2, "keep": 10}, [0, 2, 4, 6, 8, 9]),
            ({"every_epochs": 2, "keep": 2}, [0, 6, 8, 9]),
            ({"every_epochs": 2, "keep": 0}, [0, 9]),
            ({"every_epochs": 2}, [0, 4, 6, 8, 9]),
            ({"every_epochs": 9, "keep": 5}, [0, 9]),
            ({}, [0, 9]),
        ],
    )
    def test_the_policy_is_kept(
        self, client: Client, server: Server, name: str, policy: dict[str, int], epochs: list[int]
    ) -> None:
        job = client.run(a_training(name, epochs=9, checkpoint=policy))
        kept = client.get(f"/jobs/{job['id']}/checkpoints").json["data"]
        assert [one["epoch"] for one in reversed(kept)] == epochs
        saved = [one for one in client.pages(f"/jobs/{job['id']}/events", 100) if one["type"] == "checkpoint"]
        ids = {f"{one['data']['checkpoint']}.h5" for one in saved}
        assert ids & set(server.files("checkpoints")) == {f"{one['id']}.h5" for one in kept}
        assert not [file for file in server.files("checkpoints") if not file.endswith(".h5")]

    def test_every_second(self, client: Client, name: str) -> None:
        request = a_training(name, epochs=10**6, checkpoint={"every_seconds": 1, "keep": 5})
        job = client.train(request)["id"]
        eventually(lambda: len(client.get(f"/jobs/{job}/checkpoints").json["data"]) >= 3, what="two on the way")
        client.post(f"/jobs/{job}/cancel")
        client.wait(job)
        times = [one["created_at"] for one in client.get(f"/jobs/{job}/checkpoints").json["data"]]
        assert times == sorted(times, reverse=True)

    def test_starting_from_one(self, client: Client, server: Server, name: str) -> None:
        first = client.run(a_training(name, epochs=3))
        second = client.run(a_training(name, epochs=2, start_from=first["checkpoint"]))
        assert second["progress"] == {"epoch": 2, "epochs": 2, "step": 10, "fraction": 1.0, "eta_seconds": 0.0}
        start = client.get(f"/jobs/{second['id']}/checkpoints").json["data"][-1]["id"]
        before, after = (server.data / "checkpoints" / f"{one}.h5" for one in (first["checkpoint"], start))
        assert arrays(before, "parameters", "optimizer") == arrays(after, "parameters", "optimizer")
        other = client.run(
            a_training(name, epochs=1, start_from=first["checkpoint"], optimizer={"type": "sgd", "learning_rate": 0.1})
        )
        assert other["progress"]["step"] == 2
        start = client.get(f"/jobs/{other['id']}/checkpoints").json["data"][-1]["id"]
        file = server.data / "checkpoints" / f"{start}.h5"
        assert arrays(file, "parameters") == arrays(before, "parameters")
        assert arrays(file, "optimizer") == {}

    def test_a_start_that_is_gone_when_the_job_begins(self, client: Client, server: Server, name: str) -> None:
        # It belongs to a model that is deleted while the job waits.
        source = client.define(a_model(fresh("source")))["name"]
        start = client.run(a_training(source, epochs=1))["checkpoint"]
        busy = client.train(a_training(name, epochs=10**6))["id"]
        client.until_epoch(busy, 1)
        job = client.train(a_training(name, start_from=start))["id"]
        assert client.delete(f"/models/{source}").status == 204
        assert client.post(f"/jobs/{busy}/cancel").status == 202
        ended = client.wait(job)
        assert ended["state"] == "failed"
        assert ended["error"]["code"] != "internal_error"
        assert start in ended["error"]["detail"]
        assert str(server.data) not in ended["error"]["detail"]

    def test_starting_from_one_of_a_like_model(self, client: Client, name: str) -> None:
        first = client.run(a_training(name, epochs=1))
        twin = client.define(a_model(fresh("twin"), metadata={"twin": True}))["name"]
        assert client.run(a_training(twin, epochs=1, start_from=first["checkpoint"]))["version"] == 1


class TestWishes:
    """Cancel, pause and resume of jobs that wait or run."""

    def conflict(self, client: Client, job: str, wish: str) -> None:
        answer = client.post(f"/jobs/{job}/{wish}")
        assert (answer.status, answer.json["code"]) == (409, "wrong_state")

    def test_cancel_of_a_running_job(self, client: Client, endless: str) -> None:
        answer = client.post(f"/jobs/{endless}/cancel")
        assert (answer.status, answer.json["id"]) == (202, endless)
        job = client.wait(endless)
        assert (job["state"], job["version"], job["error"]) == ("cancelled", None, None)
        assert TIME.fullmatch(job["finished_at"])
        kept = client.get(f"/jobs/{endless}/checkpoints").json["data"]
        assert job["checkpoint"] == kept[0]["id"]
        assert kept[0]["epoch"] >= 1
        assert client.get(f"/checkpoints/{kept[0]['id']}/file").status == 200
        assert client.history(endless)[-1]["epoch"] == kept[0]["epoch"]

    def test_cancel_of_a_waiting_job(self, client: Client, name: str, endless: str) -> None:
        waiting = client.train(a_training(name))["id"]
        assert client.job(waiting)["state"] == "queued"
        answer = client.post(f"/jobs/{waiting}/cancel")
        assert (answer.status, answer.json["state"]) == (202, "cancelled")
        assert client.job(waiting)["started_at"] is None
        assert client.history(waiting) == []

    def test_cancel_of_a_paused_job(self, client: Client, endless: str) -> None:
        client.post(f"/jobs/{endless}/pause")
        client.until_state(endless, "paused")
        answer = client.post(f"/jobs/{endless}/cancel")
        assert (answer.status, answer.json["state"]) == (202, "cancelled")

    def test_nothing_can_be_asked_of_an_ended_job(self, client: Client, endless: str, trained: Trained) -> None:
        client.post(f"/jobs/{endless}/cancel")
        client.wait(endless)
        for job in (endless, trained.jobs[0]["id"]):
            before = client.job(job)
            for wish in ("cancel", "pause", "resume"):
                self.conflict(client, job, wish)
            assert client.job(job) == before

    def test_pause_of_a_waiting_job(self, client: Client, name: str, endless: str) -> None:
        waiting = client.train(a_training(name))["id"]
        assert client.post(f"/jobs/{waiting}/pause").json["state"] == "paused"
        self.conflict(client, waiting, "pause")
        client.post(f"/jobs/{endless}/cancel")
        client.wait(endless)
        # The trainer is idle again and would have started it by now.
        assert client.run(a_training(name))["state"] == "succeeded"
        assert client.job(waiting)["state"] == "paused"
        assert client.post(f"/jobs/{waiting}/resume").json["state"] == "queued"
        assert client.wait(waiting)["state"] == "succeeded"

    def test_resume_of_what_is_not_paused(self, client: Client, endless: str) -> None:
        self.conflict(client, endless, "resume")

    def test_a_paused_and_resumed_job_ends_in_the_same_bits(self, client: Client, server: Server, name: str) -> None:
        body = a_training(name, epochs=24_000, batch_size=3, validation={"fraction": 0.25})
        whole = client.run(body)
        job = client.train(body)["id"]
        paused = client.job(job)
        for _ in range(2):
            client.until_epoch(job, paused["progress"]["epoch"] + 1)
            assert client.post(f"/jobs/{job}/pause").status == 202
            paused = client.until_state(job, "paused")
            assert paused["progress"]["epoch"] < 24_000
            assert paused["finished_at"] is None
            stands = [client.job(job)["progress"] for _ in range(5)]
            assert stands == [paused["progress"]] * 5
            assert client.post(f"/jobs/{job}/resume").status == 202
        ended = client.wait(job)
        assert (ended["state"], ended["attempt"]) == ("succeeded", 1)
        history = client.history(job)
        best = min(history, key=lambda epoch: epoch["validation_loss"])["epoch"]
        # Of more than 10,000 epochs: the first 1,000, every third one, the best and the last.
        points = {*range(1, 1001), *range(1003, 24_001, 3), best, 24_000}
        assert [epoch["epoch"] for epoch in history] == sorted(points)
        assert timeless(client.history(job)) == timeless(client.history(whole["id"]))
        files = [server.data / "checkpoints" / f"{one['checkpoint']}.h5" for one in (whole, ended)]
        assert arrays(files[0], "parameters", "optimizer") == arrays(files[1], "parameters", "optimizer")


class TestLongHistories:
    """A history has at most 10,000 points, whatever was trained."""

    def test_the_first_epochs_the_best_and_the_last_are_there(self, client: Client, name: str) -> None:
        request = a_training(name, epochs=100_000, batch_size="full", publish="best")
        request["optimizer"] = {"type": "sgd", "learning_rate": 0.9}
        job = client.run(request)
        with Stream(client, f"/jobs/{job['id']}/events") as stream:
            events = [event.data["epoch"] for event in stream if event.type == "epoch"]
        epochs = [epoch["epoch"] for epoch in client.history(job["id"])]
        assert epochs == events
        assert len(epochs) <= 10_000
        assert epochs[:1000] == list(range(1, 1001))
        assert epochs[-1] == 100_000
        assert job["best"]["epoch"] in epochs
        # Beside the best and the last one, the distance is the same everywhere: 99,000 epochs by 8,998 points.
        rest = [epoch for epoch in epochs[1000:] if epoch not in (job["best"]["epoch"], 100_000)]
        assert {following - epoch for epoch, following in pairwise(rest)} <= {12, 24}
        assert len(rest) >= 8_248

    def test_one_that_is_cancelled_ends_with_its_last_epoch(self, client: Client, name: str) -> None:
        job = client.train(a_training(name, epochs=10**7, batch_size="full"))["id"]
        client.until_epoch(job, 1500)
        client.post(f"/jobs/{job}/cancel")
        ended = client.wait(job)
        epochs = [epoch["epoch"] for epoch in client.history(job)]
        assert epochs[:1000] == list(range(1, 1001))
        assert epochs[-1] == ended["progress"]["epoch"]
        assert len(epochs) <= 1002 + ended["progress"]["epoch"] // 1111


class TestDivergence:
    """A run with non-finite numbers ends and reports the place."""

    #: From weights of zero, the first step on inputs this large is beyond float32.
    WILD = {
        "data": {"inputs": [[1e35, 1e35]] * 12, "labels": ["red"] * 10 + ["green", "blue"]},
        "optimizer": {"type": "sgd", "learning_rate": 1e6},
    }

    @pytest.fixture
    def wild(self, client: Client) -> str:
        """A model of one dense layer that begins with zeros."""
        layers = [{"type": "dense", "units": 3, "initializer": "zeros"}, {"type": "softmax"}]
        return str(client.define(a_model(fresh("wild"), layers=layers))["name"])

    @pytest.mark.parametrize(("batch_size", "step"), [(2, 2), ("full", 1)])
    def test_it_names_step_and_parameter(self, client: Client, wild: str, batch_size: Any, step: int) -> None:
        job = client.wait(client.train(a_training(wild, batch_size=batch_size, **self.WILD))["id"])
        assert (job["state"], job["version"]) == ("failed", None)
        assert job["error"]["code"] == "diverged"
        assert f"step {step} (epoch 1)" in job["error"]["detail"]
        assert "parameter 0_dense/weights is not finite" in job["error"]["detail"]
        events = client.pages(f"/jobs/{job['id']}/events", 100)
        assert events[0]["data"] == {"state": "failed", "error": job["error"]}
        assert client.get(f"/models/{wild}").json["default"] is None
        assert [one["epoch"] for one in client.get(f"/jobs/{job['id']}/checkpoints").json["data"]] == [0]
        assert client.history(job["id"]) == []

    def test_the_epochs_before_it_stand_in_the_history(self, client: Client) -> None:
        # The penalty makes each step multiply the weights by -10, until their squares are beyond float32.
        layers = [{"type": "dense", "units": 3, "l2": 1.0}, {"type": "softmax"}]
        name = client.define(a_model(fresh("penalty"), layers=layers))["name"]
        optimizer = {"type": "sgd", "learning_rate": 5.5}
        request = a_training(name, batch_size="full", epochs=1000, optimizer=optimizer)
        job = client.wait(client.train(request)["id"])
        assert (job["state"], job["error"]["code"]) == ("failed", "diverged")
        found = re.search(r"step (\d+)", job["error"]["detail"])
        assert found is not None
        step = int(found[1])
        assert 15 <= step <= 40
        assert [epoch["epoch"] for epoch in client.history(job["id"])] == list(range(1, step))
        assert client.pages(f"/jobs/{job['id']}/events", 100)

    def test_held_out_rows_beyond_the_range_leave_json_behind(self, client: Client, name: str) -> None:
        request = a_training(name, validation={"inputs": [[3e38, -3e38], [-3e38, 3e38]], "labels": ["red", "blue"]})
        job = client.wait(client.train(request)["id"])
        assert job["state"] in ("succeeded", "failed")
        if job["state"] == "failed":
            assert job["error"]["code"] == "diverged"
        for epoch in client.history(job["id"]):
            assert epoch["validation_loss"] is None or epoch["validation_loss"] >= 0
        assert client.pages(f"/jobs/{job['id']}/events", 100)

    def test_the_next_job_runs(self, client: Client, name: str, wild: str) -> None:
        bad = client.train(a_training(wild, **self.WILD))["id"]
        assert client.run(a_training(name))["version"] == 1
        assert client.job(bad)["state"] == "failed"


def test_jobs_run_in_the_order_they_came(client: Client, name: str) -> None:
    jobs = [client.train(a_training(name, epochs=200))["id"] for _ in range(4)]
    ended = [client.wait(job) for job in jobs]
    assert [job["version"] for job in ended] == [1, 2, 3, 4]
    starts = [job["started_at"] for job in ended]
    assert starts == sorted(starts)
    for job, following in pairwise(ended):
        assert job["finished_at"] <= following["started_at"]
