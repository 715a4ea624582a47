"""A kept checkpoint becomes a version."""

from __future__ import annotations

from typing import Any

import pytest

from testing.harness import Answer, Client, eventually
from testing.samples import ROWS, a_model, a_training, fresh

#: More epochs than a test waits for.
ENDLESS = 1_000_000
#: Seconds within which its epochs must come: what trains gives way to all else on the machine.
SECONDS = 60.0
MISSING = f"ckpt_{'0' * 21}"


def test_a_kept_checkpoint_is_the_next_version(client: Client) -> None:
    name = fresh("model")
    client.define(a_model(name))
    job = client.run(a_training(name, epochs=6, checkpoint={"every_epochs": 2, "keep": 5}))
    kept = {one["epoch"]: one for one in client.pages(f"/jobs/{job['id']}/checkpoints", 100)}
    answer = client.post(f"/models/{name}/versions", {"checkpoint": kept[2]["id"]})
    assert (answer.status, answer.headers["location"]) == (201, f"/models/{name}/versions/2")
    version = answer.json
    assert (version["job"], version["checkpoint"], version["metrics"]) == (job["id"], kept[2]["id"], kept[2]["metrics"])
    assert version["definition"] == client.get(f"/models/{name}/versions/1").json["definition"]
    assert client.get(f"/models/{name}").json["default"] == 2
    by_number, by_id = (
        client.post("/predict", {"model": name, "version": each, "inputs": ROWS}).json["probabilities"]
        for each in (2, kept[2]["id"])
    )
    assert by_number == by_id
    # Asked again, it is the same version; so is what the job itself has published.
    again = client.post(f"/models/{name}/versions", {"checkpoint": kept[2]["id"]})
    assert (again.status, again.json) == (200, version)
    first = client.post(f"/models/{name}/versions", {"checkpoint": job["checkpoint"]})
    assert (first.status, first.json["version"]) == (200, 1)
    assert [one["version"] for one in client.get(f"/models/{name}/versions").json["data"]] == [2, 1]


def test_what_a_running_job_has_kept_stays_once_it_is_published(client: Client) -> None:
    name = fresh("model")
    client.define(a_model(name))
    job = client.train(a_training(name, epochs=ENDLESS, checkpoint={"every_epochs": 5, "keep": 1}))

    def kept(after: int) -> list[dict[str, Any]]:
        return [one for one in client.get(f"/jobs/{job['id']}/checkpoints").json["data"] if one["epoch"] > after]

    def published() -> tuple[dict[str, Any], Answer] | None:
        """A checkpoint and the answer to publishing it: the job may have replaced it before it was asked for."""
        for one in kept(0):
            answer = client.post(f"/models/{name}/versions", {"checkpoint": one["id"]})
            if answer.status != 404:
                return one, answer
        return None

    wanted, answer = eventually(published, SECONDS, "a checkpoint of an epoch")
    assert (answer.status, answer.json["version"]) == (201, 1), answer
    # Of one place, several newer ones have had it since.
    eventually(lambda: kept(wanted["epoch"] + 20), SECONDS, "later checkpoints")
    assert client.post("/predict", {"model": name, "inputs": ROWS}).json["version"] == 1
    client.post(f"/jobs/{job['id']}/cancel")
    assert client.wait(job["id"])["version"] is None
    assert client.get(f"/checkpoints/{wanted['id']}").status == 200


@pytest.mark.parametrize(
    ("checkpoint", "status", "pointer"),
    [("latest", 422, "/checkpoint"), (MISSING, 404, None), (None, 422, "/checkpoint")],
)
def test_what_is_no_checkpoint_is_refused(
    client: Client, checkpoint: str | None, status: int, pointer: str | None
) -> None:
    name = fresh("model")
    client.define(a_model(name))
    answer = client.post(f"/models/{name}/versions", {"checkpoint": checkpoint})
    assert answer.status == status, answer
    assert [one["pointer"] for one in answer.json["errors"]] == ([] if pointer is None else [pointer])


def test_a_checkpoint_of_another_model_is_refused(client: Client) -> None:
    name, other = fresh("model"), fresh("model")
    client.define(a_model(name))
    client.define(a_model(other))
    job = client.run(a_training(name))
    answer = client.post(f"/models/{other}/versions", {"checkpoint": job["checkpoint"]})
    assert (answer.status, answer.json["errors"][0]["pointer"]) == (422, "/checkpoint")
    assert client.post(f"/models/{fresh('model')}/versions", {"checkpoint": job["checkpoint"]}).status == 404
