"""Jobs of several members, with real processes: the recipe, folds, kills, pauses, and what they show."""

from __future__ import annotations

import csv
import io
import os
import signal
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.metrics import accuracy_score, log_loss

from testing.harness import Client, Server, eventually, processes_of, serving
from testing.samples import fresh

pytestmark = pytest.mark.processes
CSV = {"Content-Type": "text/csv"}
#: Short members that still look several times: 2 kinds × 3 folds, one of them a baseline.
KIND = {"optimizer": {"type": "adamw", "learning_rate": 0.01, "average": 0.95}, "batch_size": 16, "epochs": 30}
LAST = [{"type": "dense", "units": 3}, "softmax"]
NETWORK = {
    "folds": 3,
    "kinds": [
        {"name": "small", "layers": [{"type": "dense", "units": 8}, "relu", *LAST], **KIND},
        {"name": "linear", "layers": LAST, "baseline": True, **KIND},
    ],
}


def iris_csv() -> bytes:
    frame = load_iris(as_frame=True).frame
    frame["target"] = frame["target"].map(dict(enumerate(["setosa", "versicolor", "virginica"])))
    return bytes(frame.to_csv(index=False).encode())


@pytest.fixture(scope="module")
def iris(server: Server) -> str:
    name = fresh("iris")
    assert server.client.post(f"/datasets?name={name}&label=target", iris_csv(), headers=CSV).status == 201
    return name


def members_of(name: str, iris: str, **more: Any) -> dict[str, Any]:
    """A request for a model of several members."""
    return {"model": {"name": name, "network": NETWORK}, "data": iris, **more}


@pytest.fixture(scope="module")
def job(server: Server, iris: str) -> dict[str, Any]:
    return server.client.run(members_of(fresh("members"), iris))


class TestShown:
    def test_members_and_their_history(self, client: Client, job: dict[str, Any]) -> None:
        members = job["members"]
        assert [(each["member"], each["kind"], each["fold"], each["state"]) for each in members] == [
            (number, kind, fold, "ended")
            for number, (kind, fold) in enumerate([(k, f) for k in ("small", "linear") for f in (1, 2, 3)], 1)
        ]
        assert job["progress"]["epoch"] == sum(each["epoch"] for each in members) == 180
        assert job["progress"]["epochs"] == 180
        for each in members:
            rows = client.get(f"/jobs/{job['id']}/history?member={each['member']}").json["data"]
            assert [row["epoch"] for row in rows] == list(range(1, each["epoch"] + 1))
            assert {row["member"] for row in rows} == {each["member"]}
        whole = client.get(f"/jobs/{job['id']}/history").json["data"]
        assert [(row["member"], row["epoch"]) for row in whole] == [
            (number, epoch) for number in range(1, 7) for epoch in range(1, 31)
        ]
        page = client.get(f"/jobs/{job['id']}/history?after=2:29&limit=2").json["data"]
        assert [(row["member"], row["epoch"]) for row in page] == [(2, 30), (3, 1)]

    def test_held_out_rows_agree_with_the_report_and_the_file(self, client: Client, job: dict[str, Any]) -> None:
        answer = client.get(f"/jobs/{job['id']}/held_out")
        assert answer.headers["content-disposition"] == f'attachment; filename="{job["model"]}-held-out.csv"'
        rows = list(csv.DictReader(io.StringIO(answer.body.decode())))
        assert [int(row["row"]) for row in rows] == list(range(1, 151))
        names = ["setosa", "versicolor", "virginica"]
        probabilities = np.array([[float(row[f"probability_{name}"]) for name in names] for row in rows])
        labels = [row["label"] for row in rows]
        report = job["held_out"]
        assert report["accuracy"] == pytest.approx(accuracy_score(labels, [row["prediction"] for row in rows]))
        normed = probabilities / probabilities.sum(axis=1, keepdims=True)
        assert report["log_loss"] == pytest.approx(log_loss(labels, normed, labels=names), rel=1e-4)
        assert report["log_loss"] < report["to_beat"]["majority"]["log_loss"]
        assert job["metrics"]["validation_loss"] == pytest.approx(report["log_loss"], rel=1e-5)
        folds = np.array([int(row["fold"]) for row in rows])
        for fold in report["folds"]:
            assert fold["rows"] == (folds == fold["fold"]).sum() == 50
        parquet = client.get(f"/jobs/{job['id']}/held_out", headers={"Accept": "application/x-ndjson"})
        assert len(parquet.body.splitlines()) == 150

    def test_the_model_shows_its_network(self, client: Client, job: dict[str, Any]) -> None:
        model = client.get(f"/models/{job['model']}").json
        assert "layers" not in model
        kinds = model["network"]["kinds"]
        assert [kind["name"] for kind in kinds] == ["small", "linear"]
        assert model["inputs"] == 4
        assert model["parameters"] == 3 * (4 * 8 + 8 + 8 * 3 + 3) + 3 * (4 * 3 + 3)

    def test_predictions_are_those_of_the_file(self, client: Client, job: dict[str, Any], tmp_path: Path) -> None:
        path = tmp_path / "version.h5"
        path.write_bytes(client.get(f"/checkpoints/{job['checkpoint']}/file").body)
        row = [5.9, 3.0, 4.2, 1.5]
        found = client.post("/predict", {"model": job["model"], "inputs": [row]}).json
        with h5py.File(path) as file:
            assert file.attrs["format_version"] == 2
            centers = [
                file["features"][name]["center"][0]
                for name in sorted(file["features"], key=lambda n: int(n.split("_")[0]))
            ]
            scales = [
                file["features"][name]["scale"][0]
                for name in sorted(file["features"], key=lambda n: int(n.split("_")[0]))
            ]
            x = (np.array(row) - centers) / scales
            mean = np.zeros(3)
            for number in ("1", "2", "3"):
                member = file["members"][number]
                average = member["optimizer/average"]
                hidden = np.maximum(x @ average["0_dense/weights"][()] + average["0_dense/bias"][()], 0)
                logits = hidden @ average["2_dense/weights"][()] + average["2_dense/bias"][()]
                exponentials = np.exp(logits - logits.max())
                mean += exponentials / exponentials.sum() / 3
            powers = mean ** (1 / file["mixture"].attrs["temperature"])
        np.testing.assert_allclose(found["probabilities"][0], powers / powers.sum(), rtol=1e-4)


class TestRefused:
    @pytest.mark.parametrize(
        ("members", "pointer"),
        [
            ({"epochs": 3}, "/epochs"),
            ({"optimizer": "sgd"}, "/optimizer"),
            ({"publish": "best"}, "/publish"),
            ({"folds": {"count": 3, "group": "nothing"}}, "/folds/group"),
            ({"folds": 1}, "/folds"),
        ],
    )
    def test_what_members_decide(self, client: Client, iris: str, members: dict[str, Any], pointer: str) -> None:
        answer = client.post("/train", members_of(fresh("m"), iris, **members))
        assert answer.status == 422, answer
        assert [each["pointer"] for each in answer.json["errors"]] == [pointer]

    def test_effort_of_a_network_with_layers(self, client: Client, iris: str) -> None:
        answer = client.post("/train", {"data": iris, "model": {"name": fresh("m"), "hidden": 4}, "effort": "quick"})
        assert [each["pointer"] for each in answer.json["errors"]] == ["/effort"]

    def test_layers_beside_a_network(self, client: Client, iris: str) -> None:
        body = {"name": fresh("m"), "classes": 3, "network": "auto", "hidden": 3}
        answer = client.post("/models", body)
        assert [each["pointer"] for each in answer.json["errors"]] == ["/hidden"]

    def test_a_job_of_one_network_has_no_held_out_rows(self, client: Client, iris: str) -> None:
        job = client.run({"data": iris, "model": {"name": fresh("m"), "hidden": 4}, "epochs": 1})
        answer = client.get(f"/jobs/{job['id']}/held_out")
        assert (answer.status, answer.json["code"]) == (409, "no_held_out_rows")


class TestFolds:
    def test_groups_stay_together(self, client: Client) -> None:
        random, name = np.random.default_rng(1), fresh("groups")
        rows = [
            {
                "patient": f"p{group}",
                "x": float(random.normal(group % 2)),
                "y": float(random.normal()),
                "ill": "ny"[group % 2],
            }
            for group in range(20)
            for _ in range(1 + group % 7)
        ]
        assert client.post("/datasets", {"name": name, "label": "ill", "rows": rows}).status == 201
        request = {"data": name, "model": {"name": name, "hidden": 4}, "epochs": 3}
        job = client.run({**request, "folds": {"count": 4, "group": "patient"}})
        held_out = csv.DictReader(io.StringIO(client.get(f"/jobs/{job['id']}/held_out").body.decode()))
        folds: dict[str, set[str]] = {}
        for row in held_out:
            folds.setdefault(rows[int(row["row"]) - 1]["patient"], set()).add(row["fold"])
        assert len(folds) == 20
        assert all(len(found) == 1 for found in folds.values())
        version = client.get(f"/models/{name}/versions/1").json["definition"]
        (patient,) = [each for each in version["features"] if each["column"] == "patient"]
        assert patient["type"] == "ignore"
        # The model itself is a single network, which the next job trains.
        assert client.run(request)["members"] == []


def test_the_recipe_is_in_the_definition_and_its_answers_are_right(client: Client, iris: str) -> None:
    job = client.run({"data": iris, "effort": "quick", "validation": 0.2})
    network = client.get(f"/models/{iris}").json["network"]
    assert (network["recipe"], network["effort"]) == (1, "quick")
    assert job["request"]["epochs"] is None
    assert job["held_out"]["accuracy"] > 0.9
    assert job["held_out"]["validation"]["rows"] == 30
    row = {"sepal length (cm)": 5.0, "sepal width (cm)": 3.4, "petal length (cm)": 1.5, "petal width (cm)": 0.2}
    assert client.post("/predict", {"model": iris, "rows": [row]}).json["predictions"] == ["setosa"]


def same_answers(client: Client, one: dict[str, Any], other: dict[str, Any]) -> bool:
    rows = load_iris().data.tolist()
    found = [
        client.post("/predict", {"model": job["model"], "version": job["version"], "inputs": rows})
        for job in (one, other)
    ]
    return bool(found[0].json["probabilities"] == found[1].json["probabilities"])


def slow(name: str, iris: str) -> dict[str, Any]:
    """Members that take long enough to be disturbed."""
    kinds = [{**kind, "epochs": 1500} for kind in NETWORK["kinds"]]  # type: ignore[attr-defined]
    network = {**NETWORK, "kinds": kinds}
    return {"model": {"name": name, "network": network}, "data": iris, "checkpoint": {"every_seconds": 1}}


def test_kills_and_pauses_change_no_bit(tmp_path: Path) -> None:
    """The runner and members are killed, the job is paused: the version is that of a job that nothing disturbed."""
    with serving(tmp_path / "data", WORKERS=1, REPORT_SECONDS=0.1) as server:
        client = server.client
        assert client.post("/datasets?name=iris&label=target", iris_csv(), headers=CSV).status == 201
        calm = client.wait(client.train(slow("calm", "iris"))["id"])
        other = client.train(slow("calm", "iris"))
        for victim in ("service member", "service runner"):
            client.until_epoch(other["id"], 1)
            before = client.job(other["id"])["attempt"]
            kill(server, victim)
            eventually(lambda: client.job(other["id"])["attempt"] > before, what="another attempt")  # noqa: B023
        client.until_epoch(other["id"], 1)
        assert client.post(f"/jobs/{other['id']}/pause").status == 202
        client.until_state(other["id"], "paused")
        assert not [each for each in processes_of(server.data) if "service member" in each.command]
        assert client.post(f"/jobs/{other['id']}/resume").status == 202
        disturbed = client.wait(other["id"])
        assert disturbed["attempt"] == 3
        assert same_answers(client, calm, disturbed)
        assert calm["held_out"] == disturbed["held_out"]


def kill(server: Server, command: str) -> None:
    """Kill the process that trains: a member, or the runner that has members."""

    def victim() -> int | None:
        processes = processes_of(server.data)
        members = [each for each in processes if "service member" in each.command]
        if not members:
            return None
        return members[0].pid if command == "service member" else members[0].parent

    found = eventually(victim, what=command)
    assert found is not None
    children = [each.pid for each in processes_of(server.data) if each.parent == found]
    os.kill(found, signal.SIGKILL)
    gone = {found, *(children if command == "service runner" else [])}
    eventually(lambda: not gone & {each.pid for each in processes_of(server.data)}, what="the end of all of them")
