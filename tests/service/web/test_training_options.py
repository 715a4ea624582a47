"""Options of a training request beyond epochs and batches, through the API."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import h5py
import numpy as np
import pytest

from testing.harness import Answer, Client, Server, eventually
from testing.samples import CLASSES, DATA, LABELS, ROWS, a_model, a_training, fresh


@pytest.fixture
def name(client: Client) -> str:
    """A defined model that only this test uses."""
    return str(client.define(a_model(fresh("options")))["name"])


def random_labels(rows: int = 60) -> dict[str, Any]:
    """Rows with random labels, so that held-out rows get no better."""
    generator = np.random.default_rng(0)
    return {
        "inputs": generator.normal(size=(rows, 2)).tolist(),
        "labels": [CLASSES[code] for code in generator.integers(0, 3, rows)],
    }


def overfitting(name: str, **members: Any) -> dict[str, Any]:
    members = {"validation": {"fraction": 0.4}, "optimizer": {"type": "adam", "learning_rate": 0.05}, **members}
    return a_training(name, epochs=2000, data=random_labels(), **members)


class TestBest:
    """The best epoch is recorded, and published if the request asks for it."""

    def test_early_stopping_publishes_the_best_epoch(self, client: Client, name: str) -> None:
        job = client.run(overfitting(name, early_stopping={"patience": 5}))
        assert job["stopped_by"] == "early_stopping"
        history = client.history(job["id"])
        losses = [epoch["validation_loss"] for epoch in history]
        best = int(np.argmin(losses))
        assert job["best"] == {"epoch": best + 1, "monitor": "validation_loss", "value": losses[best]}
        assert len(history) == job["progress"]["epoch"] == best + 1 + 5
        assert job["progress"]["fraction"] == 1.0
        version = client.get(f"/models/{name}/versions/1").json
        assert (version["metrics"]["validation_loss"], version["metrics"]["epoch"]) == (losses[best], best + 1)
        assert client.get(f"/checkpoints/{version['checkpoint']}").json["metrics"] == version["metrics"]

    def test_publish_best_beside_the_last(self, client: Client, name: str) -> None:
        job = client.run({**overfitting(name, publish="best"), "epochs": 80})
        assert (job["stopped_by"], job["progress"]["epoch"]) == (None, 80)
        kept = client.get(f"/jobs/{job['id']}/checkpoints").json["data"]
        assert [one["epoch"] for one in kept] == [job["best"]["epoch"], 80, 0]
        assert [one["step"] for one in kept] == [job["best"]["epoch"] * kept[1]["step"] // 80, kept[1]["step"], 0]
        version = client.get(f"/models/{name}/versions/1").json
        assert version["checkpoint"] == kept[0]["id"] == job["checkpoint"]
        history = client.history(job["id"])
        assert version["metrics"]["validation_loss"] == min(epoch["validation_loss"] for epoch in history)
        assert kept[1]["metrics"]["validation_loss"] == history[-1]["validation_loss"]
        assert [one["metrics"].get("epoch") for one in kept] == [job["best"]["epoch"], None, None]

    def test_a_downloaded_best_epoch_is_imported_with_its_metrics(self, client: Client, name: str) -> None:
        """Those of the epoch whose parameters it holds."""
        job = client.run({**overfitting(name, publish="best"), "epochs": 60})
        best = client.get(f"/models/{name}/versions/1").json
        file = client.get(f"/checkpoints/{job['checkpoint']}/file").body
        imported = client.post(f"/models/{name}/checkpoints", file, headers={"Content-Type": "application/x-hdf5"})
        assert (imported.status, imported.json["metrics"]) == (201, best["metrics"])
        assert best["metrics"]["epoch"] == job["best"]["epoch"]

    def test_looks_at_every_third_epoch_by_the_log_loss(self, client: Client, name: str) -> None:
        smoothed = {"type": "categorical_crossentropy", "label_smoothing": 0.1}
        stopping = {"monitor": "validation_log_loss", "patience": 2, "patience_steps": 10}
        job = client.run(overfitting(name, validate_every=3, early_stopping=stopping, loss=smoothed))
        assert job["stopped_by"] == "early_stopping"
        assert (job["request"]["validate_every"], job["request"]["early_stopping"]["patience_steps"]) == (3, 10)
        history = client.history(job["id"])
        looks = {epoch["epoch"]: epoch["validation_log_loss"] for epoch in history if epoch["epoch"] % 3 == 0}
        for epoch in history:
            values = [epoch[f"validation_{what}"] for what in ("loss", "log_loss", "accuracy")]
            assert values.count(None) == (0 if epoch["epoch"] in looks else 3)
        best = min(looks, key=lambda number: looks[number])
        assert job["best"] == {"epoch": best, "monitor": "validation_log_loss", "value": looks[best]}
        version = client.get(f"/models/{name}/versions/1").json
        assert version["metrics"]["validation_log_loss"] == looks[best]

    def test_the_best_so_far_is_reported_while_the_job_runs(self, client: Client, name: str) -> None:
        job = client.train({**overfitting(name, publish="best"), "epochs": 10**6})["id"]
        running = client.until_epoch(job, 50)
        assert 1 <= running["best"]["epoch"] <= running["progress"]["epoch"]
        client.post(f"/jobs/{job}/cancel")
        client.wait(job)

    def test_without_asking_there_is_no_best(self, client: Client, name: str) -> None:
        job = client.run(a_training(name))
        assert (job["best"], job["stopped_by"]) == (None, None)


def test_a_time_limit_ends_a_job_with_success(client: Client, name: str) -> None:
    job = client.run(a_training(name, epochs=10**7, max_seconds=0.5))
    assert (job["stopped_by"], job["version"]) == ("max_seconds", 1)
    assert 0 < job["progress"]["epoch"] < 10**7


def test_no_epochs_publish_an_untrained_network(client: Client, name: str) -> None:
    job = client.run(a_training(name, epochs=0))
    assert (job["version"], job["progress"]["epoch"], job["metrics"]) == (1, 0, {})
    answer = client.post("/predict", {"model": name, "inputs": ROWS}).json
    assert np.allclose(np.sum(answer["probabilities"], axis=1), 1.0)
    assert client.history(job["id"]) == []


class TestDryRun:
    """A dry run returns what a job would need, and stores nothing."""

    def test_of_a_model_that_comes_along(self, client: Client, server: Server) -> None:
        name, before = fresh("dry"), (server.files("datasets"), server.files("checkpoints"))
        newest = client.get("/jobs?limit=1").json["data"]
        answer = client.post("/train", a_training({"name": name, "hidden": [16]}, dry_run=True, epochs=10))
        assert answer.status == 200
        found = answer.json
        assert (found["parameters"], found["batches_per_epoch"]) == (2 * 16 + 16 + 16 * 3 + 3, 2)
        assert found["estimate"]["seconds"] > 0
        assert found["bytes"]["moments"] == 2 * found["bytes"]["parameters"] == 8 * found["parameters"]
        assert client.get(f"/models/{name}").status == 404
        assert client.get("/jobs?limit=1").json["data"] == newest
        assert (server.files("datasets"), server.files("checkpoints")) == before

    def test_warnings(self, client: Client, name: str) -> None:
        rows = [[1.0, 1e6 * number] for number in range(6)]
        data = {"inputs": rows, "labels": ["red", "green", "red", "green", "red", "blue"]}
        validation = {"inputs": rows[:2], "labels": ["red", "green"]}
        answer = client.post("/train", a_training(name, data=data, validation=validation, dry_run=True)).json
        codes = {warning["code"] for warning in answer["warnings"]}
        assert codes >= {"constant_columns", "rare_classes", "large_values", "duplicates_across_split"}

    def test_too_many_at_once_are_refused_and_others_are_served(self, make_server: Callable[..., Server]) -> None:
        # Of eight threads, two may be taken by dry runs.
        client = make_server(WORKERS=1, THREADS=8).start_ready()
        client.run(a_training(client.define(a_model("served"))["name"]))
        wide = {"name": "wide", "hidden": [3000, 3000]}
        answers: list[Answer] = []

        def ask() -> None:
            answers.append(client.post("/train", a_training(wide, dry_run=True)))

        asking = [threading.Thread(target=ask) for _ in range(16)]
        for thread in asking:
            thread.start()
        refused = eventually(lambda: next((one for one in answers if one.status == 503), None), what="a refusal")
        assert refused.json["code"] == "too_many_dry_runs"
        assert int(refused.headers["retry-after"]) >= 1
        assert client.post("/predict", {"model": "served", "inputs": ROWS}).status == 200
        assert client.get("/health/ready").status == 200
        assert any(thread.is_alive() for thread in asking), "the dry runs were to last longer than that"
        for thread in asking:
            thread.join()
        statuses = [one.status for one in answers]
        assert set(statuses) == {200, 503}
        assert statuses.count(200) >= 2
        assert client.post("/train", a_training(wide, dry_run=True)).status == 200


class TestWarmStart:
    """Layers named in ``reinitialize`` are drawn anew and may differ."""

    def test_a_changed_head(self, client: Client, server: Server, name: str) -> None:
        first = client.run(a_training(name, epochs=20))
        layers = [*a_model(name)["layers"][:2], {"type": "dense", "units": 2}, {"type": "softmax"}]
        other = client.define({**a_model(fresh("head")), "classes": ["warm", "cold"], "layers": layers})["name"]
        data = {"inputs": ROWS, "labels": ["warm" if label == "red" else "cold" for label in LABELS]}
        request = a_training(other, data=data, start_from=first["checkpoint"], reinitialize=["2_dense"])
        second = client.run(request)
        begin = client.get(f"/jobs/{second['id']}/checkpoints").json["data"][-1]
        assert begin["epoch"] == 0
        paths = [server.data / "checkpoints" / f"{one}.h5" for one in (first["checkpoint"], begin["id"])]
        with h5py.File(paths[0]) as before, h5py.File(paths[1]) as after:
            kept = [file["parameters/0_dense/weights"][()].tobytes() for file in (before, after)]
            assert kept[0] == kept[1]
            assert after["parameters/2_dense/weights"].shape == (8, 2)
        refused = client.post("/train", {**request, "reinitialize": []})
        assert (refused.status, refused.json["errors"][0]["pointer"]) == (422, "/start_from")
        unknown = client.post("/train", {**request, "reinitialize": ["4_dense"]})
        assert (unknown.status, unknown.json["errors"][0]["pointer"]) == (422, "/reinitialize/0")


class TestWeights:
    """Rows and classes that count differently."""

    def test_a_class_that_counts_nothing_is_not_learned(self, client: Client, name: str) -> None:
        request = {"epochs": 300, "optimizer": {"type": "adam", "learning_rate": 0.05}}
        client.run(a_training(name, **request, class_weights={"red": 0.0}))
        answer = client.post("/predict", {"model": name, "inputs": ROWS}).json
        assert "red" not in answer["predictions"]
        defined = client.define(a_model(fresh("weighted"), class_weights={"red": 0.0}))["name"]
        job = client.run(a_training(defined, **request))
        assert job["request"]["class_weights"] == {"red": 0.0}
        assert (
            client.post("/predict", {"model": defined, "inputs": ROWS}).json["probabilities"] == answer["probabilities"]
        )
        weights = [0.0 if label == "red" else 1.0 for label in LABELS]
        same = client.run(a_training(name, **request, data={**DATA, "weights": weights}))
        again = client.post("/predict", {"model": name, "inputs": ROWS, "version": same["version"]}).json
        assert again["probabilities"] == answer["probabilities"]

    def test_weights_in_a_csv_column_are_those_of_inline_rows(self, client: Client, name: str) -> None:
        weights = [round(0.25 * (number % 5 + 1), 2) for number in range(12)]
        text = "x,y,w,colour\n" + "".join(
            f"{x},{y},{weight},{label}\n" for (x, y), weight, label in zip(ROWS, weights, LABELS, strict=True)
        )
        dataset = fresh("weighted")
        made = client.request(
            "POST", f"/datasets?name={dataset}&label=colour&weight=w", text.encode(), {"Content-Type": "text/csv"}
        )
        assert made.status == 201, made
        assert made.json["features"] == ["x", "y"]
        jobs = [
            client.run(a_training(name, data=data, class_weights="balanced"))
            for data in ({"dataset": dataset}, {**DATA, "weights": weights})
        ]
        histories = [[epoch["loss"] for epoch in client.history(job["id"])] for job in jobs]
        assert histories[0] == histories[1]

    @pytest.mark.parametrize(
        ("column", "cell", "pointer", "row"),
        [("none", "1", "/weight", None), ("w", "-1", "", 1), ("w", "0", "", None)],
    )
    def test_a_bad_column_of_weights(
        self, client: Client, column: str, cell: str, pointer: str, row: int | None
    ) -> None:
        text = f"x,w,colour\n1,{cell},red\n2,0,blue\n"
        answer = client.request(
            "POST",
            f"/datasets?name={fresh('bad')}&label=colour&weight={column}",
            text.encode(),
            {"Content-Type": "text/csv"},
        )
        assert answer.status == 422
        fault = answer.json["errors"][0]
        assert (fault["pointer"], fault.get("row")) == (pointer, row)


def test_a_schedule_shows_in_the_history(client: Client, name: str) -> None:
    schedule = {"type": "step", "every": 2, "gamma": 0.5}
    job = client.run(a_training(name, epochs=6, optimizer={"type": "sgd", "learning_rate": 0.8, "schedule": schedule}))
    rates = [epoch["learning_rate"] for epoch in client.history(job["id"])]
    assert rates == pytest.approx([0.8, 0.8, 0.4, 0.4, 0.2, 0.2])
    assert client.job(job["id"])["request"]["optimizer"]["schedule"]["type"] == "step"


def test_a_models_loss_is_trained_and_may_be_overridden(client: Client) -> None:
    loss = {"type": "focal", "gamma": 3.0}
    name = client.define(a_model(fresh("focal"), loss=loss))["name"]
    assert client.get(f"/models/{name}").json["loss"] == loss
    jobs = [client.run(a_training(name, **members)) for members in ({}, {"loss": {"type": "categorical_crossentropy"}})]
    losses = [client.history(job["id"])[0]["loss"] for job in jobs]
    assert losses[0] < losses[1]
    assert jobs[0]["request"]["loss"] == loss
