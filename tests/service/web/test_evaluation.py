"""Evaluation over HTTP: scikit-learn's figures on what the service itself predicts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from testing.harness import Client, Server
from testing.samples import CLASSES, DATA, LABELS, ROWS, a_model, a_training, fresh
from tests.service.conftest import Trained

# scikit-learn warns of absent classes, which are meant here.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:sklearn")

MEMBERS = {
    *("model", "version", "rows", "classes", "accuracy", "balanced_accuracy", "top_k", "top_k_accuracy", "log_loss"),
    *("brier_score", "matthews_correlation", "roc_auc", "calibration_error", "macro", "micro", "weighted"),
    *("per_class", "confusion_matrix", "trained_on"),
}


def evaluate(client: Client, model: str, data: dict[str, Any], **options: Any) -> dict[str, Any]:
    answer = client.post("/evaluate", {"model": model, "data": data, **options})
    assert answer.status == 200, answer
    assert answer.json.keys() == MEMBERS
    return dict(answer.json)


def predicted(client: Client, model: str, rows: Any) -> np.ndarray:
    """The probabilities that ``POST /predict`` returns."""
    answer = client.post("/predict", {"model": model, "inputs": rows})
    assert answer.status == 200, answer
    return np.array(answer.json["probabilities"])


@pytest.fixture(scope="module")
def digits(server: Server, digits_csv: bytes) -> dict[str, Any]:
    """A network trained on the digits without the last 500 rows, and those rows for evaluation."""
    header, *lines = digits_csv.decode().splitlines()
    label = header.split(",")[-1]
    cells = [line.split(",") for line in lines]
    rows, labels = [[float(cell) for cell in line[:-1]] for line in cells], [line[-1] for line in cells]
    name, client = fresh("digits"), server.client
    client.run(
        {
            "model": {"name": name, "hidden": [16], "dtype": "float64"},
            "data": {"inputs": rows[:-500], "labels": labels[:-500]},
            "epochs": 12,
            "seed": 1,
        }
    )
    held_out = "\n".join([header, *lines[-500:]]).encode()
    answer = client.post(f"/datasets?name={name}&label={label}", held_out, headers={"Content-Type": "text/csv"})
    assert answer.status == 201, answer
    return {"model": name, "inputs": rows[-500:], "labels": labels[-500:]}


def test_a_trained_model_has_the_figures_of_scikit_learn(client: Client, digits: dict[str, Any]) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    name, rows, labels = digits["model"], digits["inputs"], digits["labels"]
    answer = evaluate(client, name, {"inputs": rows, "labels": labels}, top_k=3)
    probabilities, classes = predicted(client, name, rows), answer["classes"]
    guesses = [classes[place] for place in probabilities.argmax(axis=1)]
    assert (answer["model"], answer["version"], answer["rows"], answer["top_k"]) == (name, 1, 500, 3)
    assert 0.5 < answer["accuracy"] < 1.0
    for member, expected in {
        "accuracy": metrics.accuracy_score(labels, guesses),
        "balanced_accuracy": metrics.balanced_accuracy_score(labels, guesses),
        "log_loss": metrics.log_loss(labels, np.maximum(probabilities, 1e-7), labels=classes),
        "brier_score": metrics.brier_score_loss(labels, probabilities, labels=classes, scale_by_half=False),
        "top_k_accuracy": metrics.top_k_accuracy_score(labels, probabilities, k=3, labels=classes),
        "matthews_correlation": metrics.matthews_corrcoef(labels, guesses),
        "roc_auc": metrics.roc_auc_score(labels, probabilities, multi_class="ovr", labels=classes),
    }.items():
        assert answer[member] == pytest.approx(expected, rel=1e-12), member
    assert answer["confusion_matrix"] == metrics.confusion_matrix(labels, guesses, labels=classes).tolist()
    scores = metrics.precision_recall_fscore_support
    columns = zip(*scores(labels, guesses, labels=classes, zero_division=0), strict=True)
    for label, told, expected in zip(classes, answer["per_class"], columns, strict=True):
        assert told["class"] == label
        assert [told[key] for key in ("precision", "recall", "f1", "support")] == pytest.approx(expected, abs=1e-12)
        area = metrics.roc_auc_score([one == label for one in labels], probabilities[:, classes.index(label)])
        assert told["roc_auc"] == pytest.approx(area, rel=1e-12)
    for kind in ("macro", "micro", "weighted"):
        expected = scores(labels, guesses, average=kind, zero_division=0)[:3]
        assert [answer[kind][key] for key in ("precision", "recall", "f1")] == pytest.approx(expected, abs=1e-12)


def test_a_dataset_is_the_same_as_its_rows(client: Client, digits: dict[str, Any]) -> None:
    inline = evaluate(client, digits["model"], {"inputs": digits["inputs"], "labels": digits["labels"]})
    dataset = client.get(f"/datasets/{digits['model']}").json
    stored = [evaluate(client, digits["model"], {"dataset": key}) for key in (dataset["name"], dataset["id"])]
    for answer in (inline, *stored):
        del answer["trained_on"]  # It is null once the rows of the job have been deleted, which may be between the two.
    assert stored == [inline, inline]
    assert inline["top_k"] is inline["top_k_accuracy"] is None


def test_the_loss_is_the_one_that_training_tells(client: Client) -> None:
    """The validation of the last epoch, made anew from the published version."""
    name = fresh("validated")
    client.define(a_model(name))
    job = client.run(a_training(name, validation=DATA))
    answer = evaluate(client, name, DATA)
    assert answer["log_loss"] == pytest.approx(job["metrics"]["validation_loss"], rel=1e-5)
    assert answer["accuracy"] == pytest.approx(job["metrics"]["validation_accuracy"])


@pytest.mark.parametrize(("wanted", "number"), [(1, 1), (2, 2), ("latest", 3), ("default", 3), (None, 3)])
def test_a_version_by_number_or_alias(client: Client, trained: Trained, wanted: Any, number: int) -> None:
    assert evaluate(client, trained.name, DATA, version=wanted)["version"] == number


def test_versions_differ(client: Client, trained: Trained) -> None:
    losses = {evaluate(client, trained.name, DATA, version=version)["log_loss"] for version in (1, 2, 3)}
    assert len(losses) == 3


def test_one_hot_labels(client: Client, trained: Trained) -> None:
    one_hot = [[int(label == one) for one in CLASSES] for label in LABELS]
    answers = [
        evaluate(client, trained.name, {"inputs": ROWS, "labels": labels}, top_k=2) for labels in (LABELS, one_hot)
    ]
    for answer in answers:
        del answer["trained_on"]  # It is null once the rows of the job have been deleted, which may be between the two.
    assert answers[0] == answers[1]


def test_what_one_class_alone_leaves_undefined_is_null(client: Client, trained: Trained) -> None:
    rows = [row for row, label in zip(ROWS, LABELS, strict=True) if label == "green"]
    answer = evaluate(client, trained.name, {"inputs": rows, "labels": ["green"] * len(rows)})
    assert answer["roc_auc"] is None
    assert [one["roc_auc"] for one in answer["per_class"]] == [None, None, None]
    assert [one["support"] for one in answer["per_class"]] == [0, len(rows), 0]
    assert answer["balanced_accuracy"] == answer["accuracy"]
    assert answer["matthews_correlation"] == 0.0


def test_nothing_is_stored(client: Client) -> None:
    """No dataset of the rows, no job."""
    name = fresh("evaluated")
    client.define(a_model(name))
    client.run(a_training(name))
    before = [client.pages(path, 100) for path in ("/datasets", "/jobs", f"/models/{name}/versions")]
    evaluate(client, name, DATA)
    assert [client.pages(path, 100) for path in ("/datasets", "/jobs", f"/models/{name}/versions")] == before
