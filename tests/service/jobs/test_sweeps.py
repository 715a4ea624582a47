"""Sweeps, with real processes: a version as a plain job makes it, refusals, kills, pauses, and the ends of the time."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from sklearn.datasets import load_iris

from testing.harness import Client, Server, eventually, processes_of, serving
from testing.samples import fresh

pytestmark = pytest.mark.processes
RATE, HIDDEN = "/optimizer/learning_rate", "/model/hidden"
OVER = {RATE: [0.001, 0.03, 0.3], HIDDEN: [[4], [8, 8]]}


def iris_csv() -> bytes:
    return bytes(load_iris(as_frame=True).frame.to_csv(index=False).encode())


def upload(client: Client, name: str) -> str:
    answer = client.post(f"/datasets?name={name}&label=target", iris_csv(), headers={"Content-Type": "text/csv"})
    assert answer.status == 201, answer
    return name


@pytest.fixture(scope="module")
def iris(server: Server) -> str:
    return upload(server.client, fresh("iris"))


def a_sweep(data: str, name: str, **members: Any) -> dict[str, Any]:
    train = {"data": data, "model": {"name": name}, "optimizer": {"type": "adam"}, "epochs": 8, "seed": 3}
    return {"search": "grid", "over": OVER, **members, "train": {**train, **members.get("train", {})}}


def begin(client: Client, document: dict[str, Any]) -> dict[str, Any]:
    answer = client.post("/sweeps", document)
    assert answer.status == 202, answer
    assert answer.headers["location"] == f"/jobs/{answer.json['id']}"
    found: dict[str, Any] = answer.json
    return found


def swept(client: Client, document: dict[str, Any]) -> dict[str, Any]:
    job = client.wait(begin(client, document)["id"])
    assert job["state"] == "succeeded", job
    return job


@pytest.fixture(scope="module")
def job(server: Server, iris: str) -> dict[str, Any]:
    return swept(server.client, a_sweep(iris, fresh("swept")))


def plain_request(job: dict[str, Any]) -> dict[str, Any]:
    """The request for a plain job with the values of the best trial."""
    (best,) = [each for each in job["members"] if each["member"] == job["best"]["member"]]
    values = best["values"]
    stopping = {"monitor": job["request"]["monitor"], "patience": best["epochs"]}
    return {
        "data": job["request"]["train"]["data"]["dataset"],
        "model": {"name": fresh("plain"), "hidden": values[HIDDEN]},
        "optimizer": {"type": "adam", "learning_rate": values[RATE]},
        "epochs": best["epochs"],
        "seed": job["request"]["train"]["seed"],
        "validation": {"fraction": 0.2},
        "early_stopping": stopping,
    }


def arrays_of(client: Client, job: dict[str, Any], folder: Path) -> dict[str, Any]:
    """All arrays in the file of a job's version, except what time it took."""
    path = folder / f"{job['id']}.h5"
    path.write_bytes(client.get(f"/checkpoints/{job['checkpoint']}/file").body)
    found: dict[str, Any] = {}
    with h5py.File(path) as file:
        assert file.attrs["format_version"] == 1
        file.visititems(lambda name, item: found.update({name: item[()]} if isinstance(item, h5py.Dataset) else {}))
    del found["history/seconds"]
    return found


def same_version(client: Client, one: dict[str, Any], other: dict[str, Any], folder: Path) -> bool:
    mine, theirs = arrays_of(client, one, folder), arrays_of(client, other, folder)
    return mine.keys() == theirs.keys() and all(mine[name].tobytes() == theirs[name].tobytes() for name in mine)


class TestTheResult:
    def test_it_is_what_a_plain_job_with_the_best_values_makes(
        self, client: Client, job: dict[str, Any], tmp_path: Path
    ) -> None:
        plain = client.run(plain_request(job))
        assert same_version(client, job, plain, tmp_path)
        versions = [client.get(f"/models/{each['model']}/versions/{each['version']}").json for each in (job, plain)]
        assert versions[0]["metrics"] == versions[1]["metrics"]
        assert versions[0]["metrics"] == {**job["metrics"], "epoch": job["best"]["epoch"]}
        rows = load_iris().data.tolist()
        answers = [client.post("/predict", {"model": each["model"], "inputs": rows}).json for each in (job, plain)]
        assert answers[0]["probabilities"] == answers[1]["probabilities"]
        for version in (job["checkpoint"], {"job": job["id"], "checkpoint": "best"}):
            answer = client.post("/predict", {"model": job["model"], "version": version, "inputs": rows})
            assert answer.json["probabilities"] == answers[1]["probabilities"]
        evaluated = client.post("/evaluate", {"model": job["model"], "data": {"job": job["id"], "part": "validation"}})
        assert evaluated.json["log_loss"] == pytest.approx(job["best"]["value"], rel=1e-4)

    def test_its_definition_is_that_of_the_best_trial_and_its_file_is_imported(
        self, client: Client, job: dict[str, Any]
    ) -> None:
        (best,) = [each for each in job["members"] if each["member"] == job["best"]["member"]]
        version = client.get(f"/models/{job['model']}/versions/{job['version']}").json
        units = [layer["units"] for layer in version["definition"]["layers"] if layer["type"] == "dense"]
        assert units == [*best["values"][HIDDEN], 3]
        name = fresh("imported")
        client.define({**version["definition"], "name": name})
        file = client.get(f"/checkpoints/{job['checkpoint']}/file").body
        answer = client.post(f"/models/{name}/checkpoints", file, headers={"Content-Type": "application/x-hdf5"})
        assert answer.status == 201, answer

    def test_the_job_shows_its_trials(self, client: Client, iris: str, job: dict[str, Any]) -> None:
        members = job["members"]
        assert [each["values"] for each in members] == [
            {RATE: rate, HIDDEN: hidden} for rate in OVER[RATE] for hidden in OVER[HIDDEN]
        ]
        assert {each["state"] for each in members} == {"ended"}
        values = [each["best"]["value"] for each in members]
        assert job["best"]["value"] == min(values)
        assert job["best"]["member"] == values.index(min(values)) + 1
        assert job["best"]["monitor"] == job["request"]["monitor"] == "validation_log_loss"
        assert (job["progress"]["epoch"], job["progress"]["epochs"], job["progress"]["fraction"]) == (48, 48, 1.0)
        assert job["request"]["search"] == {"type": "grid"}
        assert job["request"]["over"] == OVER
        assert job["request"]["train"]["validation"] == {"fraction": 0.2}
        assert job["id"] in {each["id"] for each in client.get("/jobs?limit=100").json["data"]}
        for each in members:
            rows = client.get(f"/jobs/{job['id']}/history?member={each['member']}").json["data"]
            assert [row["epoch"] for row in rows] == list(range(1, 9))
            assert min(row["validation_log_loss"] for row in rows) == each["best"]["value"]
        types = {each["type"] for each in client.get(f"/jobs/{job['id']}/events?limit=100").json["data"]}
        assert types == {"state", "epoch", "checkpoint"}


class TestOtherRequests:
    def test_rows_of_numbers_and_validation_rows_apart(self, client: Client, tmp_path: Path) -> None:
        random = np.random.default_rng(0)
        points = random.normal(size=(80, 2))
        labels = ["in" if x * x + y * y < 1 else "out" for x, y in points]
        rows = {"inputs": points.tolist(), "labels": labels}
        name = fresh("ring")
        train = {"model": {"name": name, "hidden": [6]}, "data": rows, "validation": rows, "epochs": 4}
        document = {"train": train, "search": {"type": "random", "trials": 4}, "over": {"/seed": [1, 2, 3, 4, 5]}}
        job = swept(client, {**document, "monitor": "validation_accuracy"})
        (best,) = [each for each in job["members"] if each["member"] == job["best"]["member"]]
        stopping = {"monitor": "validation_accuracy", "patience": 4}
        plain = client.run({**train, "seed": best["values"]["/seed"], "early_stopping": stopping})
        assert same_version(client, job, plain, tmp_path)

    def test_halving_stops_trials_early(self, client: Client, iris: str) -> None:
        search = {"type": "halving", "trials": 9, "factor": 3}
        over = {RATE: {"min": 1e-5, "max": 0.1, "scale": "log"}, HIDDEN: [[4], [8]]}
        job = swept(client, a_sweep(iris, fresh("halved"), search=search, over=over, train={"epochs": 27}))
        states = [each["state"] for each in job["members"]]
        assert states.count("stopped") > 3
        assert "ended" in states
        assert job["progress"]["epoch"] < 27 * 9 / 2

    def test_a_dry_run_counts_the_trials(self, client: Client, iris: str) -> None:
        name = fresh("dry")
        answer = client.post("/sweeps", a_sweep(iris, name, dry_run=True))
        assert answer.status == 200
        assert answer.json["members"] == 6
        assert answer.json["estimate"]["seconds"] > 0
        assert client.get(f"/models/{name}").status == 404

    def test_nothing_is_published_if_not_asked_for(self, client: Client, iris: str) -> None:
        job = swept(client, a_sweep(iris, fresh("kept"), train={"publish": False, "epochs": 1}))
        assert job["version"] is None
        rows = load_iris().data[:3].tolist()
        version = {"job": job["id"], "checkpoint": "best"}
        assert client.post("/predict", {"model": job["model"], "version": version, "inputs": rows}).status == 200


class TestRefused:
    @pytest.mark.parametrize(
        ("change", "places"),
        [
            ({"over": {"/epochs": [0, -1, -2]}}, ["/over/~1epochs/1", "/over/~1epochs/2"]),
            ({"over": {"/data/dataset": ["iris", "wine"]}}, ["/over/~1data~1dataset"]),
            ({"over": {"/validation/fraction": [0.1, 0.2]}}, ["/over/~1validation~1fraction"]),
            ({"over": {"/seed": [1, 2]}}, ["/over/~1seed"]),
            ({"over": {"/model/features": ["raw", {}]}}, ["/over/~1model~1features/1"]),
            ({"train": {"folds": 3}}, ["/train/folds"]),
            ({"over": {"/folds": [None, 3], "/start_from": [None, "ckpt_x"]}},
             ["/over/~1start_from/1", "/over/~1folds/1"]),
            ({"over": {"/early_stopping": [None, {"monitor": "loss"}]}}, ["/over/~1early_stopping/1/monitor"]),
            ({"train": {"publish": "last"}}, ["/train/publish"]),
            ({"train": {"early_stopping": {"monitor": "loss"}}, "monitor": "accuracy"},
             ["/train/early_stopping/monitor"]),
            ({"train": {"data": "nothing"}}, ["/train/data"]),
            ({"train": {"validation": {"fraction": 0.0001}}}, ["/train/validation/fraction"]),
            ({"train": {"model": {"name": "x", "hidden": [2], "layers": ["relu"]}}}, ["/train/model/layers"]),
            ({"train": 5}, ["/train"]),
            ({"monitor": "luck"}, ["/monitor"]),
            ({"search": {"type": "grid", "trials": 3}}, ["/search/trials"]),
        ],
    )  # fmt: skip
    def test_what_cannot_be(self, client: Client, iris: str, change: dict[str, Any], places: list[str]) -> None:
        name = fresh("refused")
        train = change.get("train", {})
        document = a_sweep(iris, name, **{**change, "train": train if isinstance(train, dict) else {}})
        if not isinstance(train, dict):
            document["train"] = train
        answer = client.post("/sweeps", document)
        assert answer.status == 422, answer
        assert [each["pointer"] for each in answer.json["errors"]][: len(places)] == places
        assert client.get(f"/models/{name}").status == 404

    def test_a_network_that_is_auto(self, client: Client, iris: str) -> None:
        document = {"train": {"data": iris}, "over": {"/class_weights": ["balanced", None]}, "search": "grid"}
        (error,) = client.post("/sweeps", document).json["errors"]
        assert error["pointer"] == "/train/model"
        assert "single network" in error["detail"]


def slow(data: str, **members: Any) -> dict[str, Any]:
    """A sweep that takes long enough to be disturbed."""
    train = {"epochs": 1000, "checkpoint": {"every_seconds": 1}, **members}
    return a_sweep(data, "calm", train=train, over={HIDDEN: [[4], [8, 8], [6]]})


def kill(server: Server, command: str) -> None:
    """Kill the process that trains: a member, or the runner that has members."""

    def victim() -> int | None:
        members = [each for each in processes_of(server.data) if "service member" in each.command]
        if not members:
            return None
        return members[0].pid if command == "service member" else members[0].parent

    found = eventually(victim, what=command)
    assert found is not None
    os.kill(found, signal.SIGKILL)


def test_kills_and_pauses_change_no_bit(tmp_path: Path) -> None:
    with serving(tmp_path / "data", WORKERS=1, REPORT_SECONDS=0.1) as server:
        client = server.client
        upload(client, "iris")
        calm = swept(client, slow("iris"))
        other = begin(client, slow("iris"))
        for victim in ("service member", "service runner"):
            client.until_epoch(other["id"], 1)
            before = client.job(other["id"])["attempt"]
            kill(server, victim)
            eventually(lambda: client.job(other["id"])["attempt"] > before, what="another attempt")  # noqa: B023
        client.until_epoch(other["id"], 1)
        assert client.post(f"/jobs/{other['id']}/pause").status == 202
        paused = client.until_state(other["id"], "paused")
        assert not [each for each in processes_of(server.data) if "service member" in each.command]
        row = [5.0, 3.4, 1.5, 0.2]
        for version in (paused["checkpoint"], {"job": other["id"], "checkpoint": "best"}):
            answer = client.post("/predict", {"model": "calm", "version": version, "inputs": [row]})
            assert (answer.status, answer.json["code"]) == (409, "no_checkpoint")
        file = client.get(f"/checkpoints/{paused['checkpoint']}/file").body
        answer = client.post("/models/calm/checkpoints", file, headers={"Content-Type": "application/x-hdf5"})
        assert answer.status == 422
        start = {"data": "iris", "model": "calm", "epochs": 1, "start_from": paused["checkpoint"]}
        assert [each["pointer"] for each in client.post("/train", start).json["errors"]] == ["/start_from"]
        assert client.post(f"/jobs/{other['id']}/resume").status == 202
        disturbed = client.wait(other["id"])
        assert disturbed["attempt"] == 3
        assert same_version(client, calm, disturbed, tmp_path)
        assert calm["members"] == disturbed["members"]
        short = begin(client, slow("iris", epochs=10**6, max_seconds=2.0))
        assert client.wait(short["id"])["stopped_by"] == "max_seconds"
        assert client.job(short["id"])["version"] == 3
        endless = begin(client, slow("iris", epochs=10**6))
        client.until_epoch(endless["id"], 1)
        assert client.post(f"/jobs/{endless['id']}/cancel").status == 202
        client.until_state(endless["id"], "cancelled")
        gone = begin(client, slow("iris", epochs=10**6))
        client.until_epoch(gone["id"], 1)
        assert client.delete("/models/calm?force=true").status == 204
        client.until_state(gone["id"], "cancelled")
