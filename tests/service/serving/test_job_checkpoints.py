"""Answers by checkpoints: by id, and as the best or last one of a job, also while it runs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import h5py
import numpy as np
import pytest

from testing.harness import Client, Server, eventually
from testing.samples import DATA, ROWS, a_model, a_training, fresh
from tests.service.conftest import Trained

pytestmark = pytest.mark.processes


def forward(server: Server, checkpoint: str, rows: Any, group: str = "parameters") -> np.ndarray:
    """Probabilities from a group of arrays in the checkpoint's file alone, in double precision."""
    with h5py.File(server.data / "checkpoints" / f"{checkpoint}.h5") as file:
        w1, b1, w2, b2 = (
            file[f"{group}/{layer}/{name}"][()].astype(float)
            for layer in ("0_dense", "2_dense")
            for name in ("weights", "bias")
        )
    logits = np.maximum(0, np.array(rows) @ w1 + b1) @ w2 + b2
    exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(exponents / exponents.sum(axis=1, keepdims=True))


def test_a_checkpoint_by_id_answers_as_its_file_says(client: Client, server: Server, trained: Trained) -> None:
    checkpoint = trained.jobs[0]["checkpoint"]
    answer = client.post("/predict", {"model": trained.name, "inputs": ROWS, "version": checkpoint})
    assert answer.status == 200, answer
    assert (answer.json["version"], answer.json["checkpoint"]) == (None, checkpoint)
    np.testing.assert_allclose(answer.json["probabilities"], forward(server, checkpoint, ROWS), rtol=1e-5, atol=1e-7)
    figures = client.post("/evaluate", {"model": trained.name, "data": DATA, "version": checkpoint}).json
    assert (figures["version"], figures["checkpoint"]) == (None, checkpoint)
    published = client.post("/evaluate", {"model": trained.name, "data": DATA, "version": 1}).json
    assert figures["log_loss"] == published["log_loss"]


def test_an_ended_job_has_its_best_and_its_last_state(client: Client, server: Server) -> None:
    name = fresh("ended")
    client.define(a_model(name))
    job = client.run(a_training(name, epochs=20, publish="best", validation=DATA))
    for which in ("best", "last"):
        version = {"job": job["id"], "checkpoint": which}
        answer = client.post("/predict", {"model": name, "inputs": ROWS, "version": version}).json
        expected = forward(server, answer["checkpoint"], ROWS)
        np.testing.assert_allclose(answer["probabilities"], expected, rtol=1e-5, atol=1e-7)
        with h5py.File(server.data / "checkpoints" / f"{answer['checkpoint']}.h5") as file:
            assert file.attrs["kind"] == which


def test_a_job_without_a_best_epoch_says_what_to_write(client: Client, trained: Trained) -> None:
    version = {"job": trained.jobs[0]["id"], "checkpoint": "best"}
    answer = client.post("/predict", {"model": trained.name, "inputs": ROWS, "version": version})
    assert (answer.status, answer.json["code"]) == (409, "no_checkpoint")
    assert '"publish": "best"' in answer.json["detail"]


def test_a_job_that_has_saved_nothing_says_what_to_write(client: Client) -> None:
    name = fresh("unsaved")
    client.define(a_model(name))
    job = client.train(a_training(name, epochs=10_000_000, publish="best"))
    client.until_epoch(job["id"], 1)
    for which in ("best", "last"):
        version = {"job": job["id"], "checkpoint": which}
        answer = client.post("/predict", {"model": name, "inputs": ROWS, "version": version})
        assert (answer.status, answer.json["code"]) == (409, "no_checkpoint")
        assert '"checkpoint": {"every_seconds": 5}' in answer.json["detail"]
    client.post(f"/jobs/{job['id']}/cancel")
    client.wait(job["id"])


@pytest.mark.parametrize("route", ["/predict", "/evaluate"])
def test_what_belongs_to_another_model_is_refused(client: Client, trained: Trained, route: str) -> None:
    name = fresh("other")
    client.define(a_model(name))
    job = client.run(a_training(name))
    rows = {"inputs": ROWS} if route == "/predict" else {"data": DATA}
    for version, place in (
        (job["checkpoint"], "/version"),
        ({"job": job["id"], "checkpoint": "last"}, "/version/job"),
    ):
        answer = client.post(route, {"model": trained.name, **rows, "version": version})
        assert answer.status == 422, answer
        assert answer.json["errors"][0]["pointer"] == place


@pytest.mark.parametrize("route", ["/predict", "/evaluate"])
@pytest.mark.parametrize(
    ("version", "status", "place"),
    [
        ("ckpt_000000000000000000000", 404, None),
        ({"job": "job_000000000000000000000", "checkpoint": "last"}, 404, None),
        ({"job": "job_000000000000000000000", "checkpoint": "first"}, 422, "/version/checkpoint"),
        ({"job": 5, "checkpoint": "last"}, 422, "/version/job"),
        ({"job": "job_000000000000000000000"}, 422, "/version/checkpoint"),
        ({"job": "job_000000000000000000000", "checkpoint": "last", "checkpont": 1}, 422, "/version/checkpont"),
        ([1], 422, "/version"),
    ],
)
def test_other_references_are_refused(
    client: Client, trained: Trained, route: str, version: Any, status: int, place: str | None
) -> None:
    rows = {"inputs": ROWS} if route == "/predict" else {"data": DATA}
    answer = client.post(route, {"model": trained.name, **rows, "version": version})
    assert answer.status == status, answer
    assert place is None or answer.json["errors"][0]["pointer"] == place


# From here on a job runs, so that no other one can.


@pytest.fixture(scope="module")
def running(server: Server) -> Iterator[dict[str, Any]]:
    """A job that saves a checkpoint after each epoch, keeps one, looks for its best epoch, and does not end."""
    client, name = server.client, fresh("running")
    client.define(a_model(name))
    job = client.train(
        a_training(
            name,
            epochs=10_000_000,
            publish="best",
            validation=DATA,
            checkpoint={"every_seconds": 1, "keep": 1},
        )
    )
    eventually(lambda: len(client.get(f"/models/{name}/checkpoints").json["data"]) > 1)
    yield {"model": name, "job": job["id"]}
    client.post(f"/jobs/{job['id']}/cancel")
    client.wait(job["id"])


def test_the_best_epoch_of_a_running_job(client: Client, server: Server, running: dict[str, Any]) -> None:
    wanted = {"job": running["job"], "checkpoint": "best"}

    def compared() -> bool:
        answer = client.post("/predict", {"model": running["model"], "inputs": ROWS, "version": wanted})
        assert answer.status == 200, answer
        assert answer.json["version"] is None
        try:
            expected = forward(server, answer.json["checkpoint"], ROWS, "best/parameters")
        except FileNotFoundError:
            return False  # The job has deleted the file since.
        np.testing.assert_allclose(answer.json["probabilities"], expected, rtol=1e-5, atol=1e-7)
        return True

    eventually(compared)


def test_the_last_checkpoint_of_a_running_job_changes(client: Client, running: dict[str, Any]) -> None:
    """Each is answered by id until the job deletes it; from then on it does not exist."""
    wanted = {"job": running["job"], "checkpoint": "last"}
    body = {"model": running["model"], "inputs": ROWS}
    seen: list[str] = []

    def three() -> bool:
        answer = client.post("/predict", {**body, "version": wanted})
        assert answer.status == 200, answer
        if answer.json["checkpoint"] not in seen:
            seen.append(answer.json["checkpoint"])
            assert client.post("/predict", {**body, "version": seen[-1]}).status in (200, 404)
        return len(seen) >= 3

    eventually(three)

    def deleted() -> bool:
        answer = client.post("/predict", {**body, "version": seen[0]})
        assert (answer.status, answer.json.get("code")) in ((200, None), (404, "not_found")), answer
        return answer.status == 404

    eventually(deleted)
    of_job = {"job": running["job"], "checkpoint": seen[0]}
    assert client.post("/predict", {**body, "version": of_job}).status == 404
