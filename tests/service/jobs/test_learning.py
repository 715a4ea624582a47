"""Real data through the service as users run it: it has to learn, and quickly."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from statistics import mean
from typing import Any

import pytest

from testing.harness import Client
from testing.samples import fresh, spiral

SEEDS = range(5)
#: Seeds for floors that each run reaches by itself. The demo reaches that of the spiral with seed 0.
FEW_SEEDS = (1, 2)


def seconds(job: dict[str, Any]) -> float:
    started, finished = (datetime.fromisoformat(job[name]) for name in ("started_at", "finished_at"))
    return (finished - started).total_seconds()


def spiral_accuracies(client: Client, optimizer: dict[str, Any], seeds: Iterable[int]) -> list[float]:
    """Accuracy over the rows of a spiral of each seed, asked of the version that training published."""
    accuracies = []
    for seed in seeds:
        points, labels = spiral(seed)
        name = fresh("spiral")
        layers = [
            {"type": "dense", "units": 64},
            {"type": "relu"},
            # The floors below are those of he_normal in both layers. With glorot_uniform here, the mean of 15 seeds is
            # 0.887 instead of 0.895, and their deviation is 0.06: five seeds do not show a difference.
            {"type": "dense", "units": 3, "initializer": "he_normal"},
            {"type": "softmax"},
        ]
        client.define({"name": name, "inputs": 2, "classes": 3, "layers": layers, "optimizer": optimizer})
        data = {"inputs": points, "labels": labels}
        job = client.run({"model": name, "data": data, "epochs": 10_001, "batch_size": "full", "seed": seed})
        assert job["progress"]["step"] == 10_001
        predicted = client.post("/predict", {"model": name, "inputs": points}).json["predictions"]
        accuracies.append(mean(guess == label for guess, label in zip(predicted, labels, strict=True)))
    return accuracies


def test_the_spiral_with_default_adam(client: Client) -> None:
    assert mean(spiral_accuracies(client, {"type": "adam"}, SEEDS)) >= 0.88


def test_the_spiral_with_a_higher_rate(client: Client) -> None:
    assert min(spiral_accuracies(client, {"type": "adam", "learning_rate": 0.01}, FEW_SEEDS)) >= 0.93


@pytest.fixture(scope="module")
def digits(server: Any, digits_csv: bytes) -> str:
    """The digits as a dataset."""
    name = fresh("digits")
    headers = {"Content-Type": "text/csv"}
    label = digits_csv.partition(b"\n")[0].decode().strip().rpartition(",")[2]
    answer = server.client.post(f"/datasets?name={name}&label={label}", digits_csv, headers=headers)
    assert answer.status == 201, answer
    document = answer.json
    assert (document["rows"], len(document["columns"]), len(document["classes"])) == (1797, 65, 10)
    # Three pixels in the corners are the same in every picture.
    assert len(document["features"]) == 61
    assert all(isinstance(one, str) for one in document["classes"])
    return name


def test_handwritten_digits(client: Client, digits: str) -> None:
    def dense(**members: Any) -> dict[str, Any]:
        return {"type": "dense", "initializer": "glorot_uniform", **members}

    layers = [dense(units=64), {"type": "relu"}, dense(units=64), {"type": "relu"}, dense(), {"type": "softmax"}]
    model = {"name": fresh("digits"), "layers": layers}
    accuracies = []
    for seed in SEEDS:
        job = client.run(
            {
                "model": model,
                "data": {"dataset": digits},
                "epochs": 60,
                "batch_size": 32,
                "seed": seed,
                "validation": {"fraction": 0.2},
            }
        )
        assert job["progress"]["step"] == 60 * 45
        assert seconds(job) < 10
        accuracies.append(job["metrics"]["validation_accuracy"])
    assert mean(accuracies) >= 0.97
    assert min(accuracies) > 0.955


@pytest.mark.parametrize(("source", "least"), [("load_iris", 0.92), ("load_wine", 0.95), ("load_breast_cancer", 0.95)])
def test_the_data_alone_are_a_whole_request(client: Client, source: str, least: float) -> None:
    """Four of five rows are trained on, the fifth is asked. scikit-learn's MLPClassifier has 0.95, 0.98 and 0.97."""
    sklearn = pytest.importorskip("sklearn.datasets")
    from sklearn.model_selection import train_test_split

    known, asked, labels, expected = train_test_split(
        *getattr(sklearn, source)(return_X_y=True), test_size=0.2, random_state=0
    )
    name = fresh("alone")
    assert client.post("/datasets", {"name": name, "inputs": known.tolist(), "labels": labels.tolist()}).status == 201
    job = client.run({"data": name, "effort": "quick"})
    assert (job["model"], job["version"]) == (name, 1)
    answer = client.post("/predict", {"model": name, "inputs": asked.tolist()}).json
    right = sum(guess == label for guess, label in zip(answer["predictions"], expected.tolist(), strict=True))
    assert right / len(expected) >= least
