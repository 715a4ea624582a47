"""Evaluation of a job's rows, of tables, and of cells of the confusion matrix, beside scikit-learn."""

from __future__ import annotations

import json
import random
from typing import Any

import h5py
import numpy as np
import pytest

from testing.harness import Client, Server
from testing.samples import DATA, LABELS, ROWS, a_model, a_training, fresh
from tests.service.conftest import Trained

pytestmark = pytest.mark.processes

Row = dict[str, Any]


def passengers(count: int, seed: int) -> list[Row]:
    """Rows of words, numbers, truths and gaps whose label has something to do with them."""
    generator = random.Random(seed)
    rows = []
    for _ in range(count):
        sex, age = generator.choice(["male", "female"]), generator.choice([None, round(generator.uniform(1, 80), 2)])
        likely = 0.85 if sex == "female" else 0.2
        rows.append(
            {
                "sex": sex,
                "age": age,
                "deck": generator.choice(["a", "b", "c", None]),
                "alone": generator.random() < 0.5,
                "survived": "yes" if generator.random() < likely else "no",
            }
        )
    return rows


@pytest.fixture(scope="module")
def table(server: Server) -> dict[str, Any]:
    """A model of a stored table, of which a quarter was held out."""
    client, name = server.client, fresh("passengers")
    rows = passengers(400, 1)
    answer = client.post("/datasets", {"name": name, "label": "survived", "rows": rows})
    assert answer.status == 201, answer
    job = client.run(
        {"model": {"name": name, "hidden": [8]}, "data": name, "validation": 0.25, "epochs": 20, "seed": 2}
    )
    return {"model": name, "rows": rows, "job": job}


def evaluate(client: Client, model: str, data: Any, **options: Any) -> dict[str, Any]:
    answer = client.post("/evaluate", {"model": model, "data": data, **options})
    assert answer.status == 200, answer
    return dict(answer.json)


def predicted(client: Client, model: str, rows: list[Row]) -> dict[str, Any]:
    plain = [{name: value for name, value in row.items() if name != "survived"} for row in rows]
    answer = client.post("/predict", {"model": model, "rows": plain})
    assert answer.status == 200, answer
    return dict(answer.json)


def training_rows(server: Server, job: dict[str, Any]) -> list[int]:
    with h5py.File(server.data / "checkpoints" / f"{job['checkpoint']}.h5") as file:
        return sorted(file["training/rows"][()].tolist())


@pytest.mark.parametrize("part", ["training", "validation"])
def test_the_parts_of_a_job(client: Client, server: Server, table: dict[str, Any], part: str) -> None:
    """The rows that the checkpoint lists, or all others; scikit-learn has the same figures for them."""
    metrics = pytest.importorskip("sklearn.metrics")
    trained = training_rows(server, table["job"])
    chosen = trained if part == "training" else sorted({*range(400)} - {*trained})
    rows = [table["rows"][place] for place in chosen]
    guesses = predicted(client, table["model"], rows)
    answer = evaluate(client, table["model"], {"job": table["job"]["id"], "part": part})
    labels, probabilities = [row["survived"] for row in rows], np.array(guesses["probabilities"], float)
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    assert answer["rows"] == len(rows)
    assert answer["accuracy"] == pytest.approx(metrics.accuracy_score(labels, guesses["predictions"]))
    assert answer["log_loss"] == pytest.approx(metrics.log_loss(labels, probabilities), rel=1e-5)
    assert answer["trained_on"] == (len(rows) if part == "training" else 0)
    figure = table["job"]["metrics"]["validation_accuracy"]
    assert part == "training" or answer["accuracy"] == pytest.approx(figure)


def test_the_same_dataset_counts_the_training_rows(client: Client, server: Server, table: dict[str, Any]) -> None:
    answer = evaluate(client, table["model"], table["model"])
    assert (answer["rows"], answer["trained_on"]) == (400, len(training_rows(server, table["job"])))


def test_other_rows_are_compared_by_value(client: Client, server: Server, table: dict[str, Any]) -> None:
    """The rows of the dataset in another order and with columns in another order, and new ones."""
    known = [table["rows"][place] for place in training_rows(server, table["job"])]
    keys = {tuple(row.items()) for row in known}
    fresh_rows = [row for row in passengers(300, 9) if tuple(row.items()) not in keys]
    given = [dict(reversed(row.items())) for row in [*fresh_rows, *known]]
    random.Random(3).shuffle(given)
    answer = evaluate(client, table["model"], {"rows": given, "label": "survived"})
    assert answer["rows"] == len(given)
    # Rows without an age may be equal to the network though another column differs that it has not seen.
    assert answer["trained_on"] == len(known)


def test_the_cells_of_the_confusion_matrix(client: Client, table: dict[str, Any]) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    labels = [row["survived"] for row in table["rows"]]
    guesses = predicted(client, table["model"], table["rows"])
    matrix = metrics.confusion_matrix(labels, guesses["predictions"], labels=["no", "yes"])
    for place, label in enumerate(["no", "yes"]):
        for other, guess in enumerate(["no", "yes"]):
            answer = evaluate(client, table["model"], table["model"], rows={"label": label, "predicted": guess})
            expected = [
                number
                for number, pair in enumerate(zip(labels, guesses["predictions"], strict=True))
                if pair == (label, guess)
            ]
            cell = answer["cell"]
            assert cell["count"] == matrix[place, other] == len(expected)
            assert [row["row"] - 1 for row in cell["rows"]] == expected[:20]
            for row in cell["rows"]:
                assert row["values"] == table["rows"][row["row"] - 1]
                assert (row["label"], row["predicted"]) == (label, guess)
                wanted = guesses["probabilities"][row["row"] - 1][other]
                assert row["probability"] == pytest.approx(wanted, rel=1e-5)


def test_labels_of_a_cell_match_by_value(client: Client, table: dict[str, Any]) -> None:
    by_word = evaluate(client, table["model"], table["model"], rows={"label": "yes", "predicted": "no", "limit": 3})
    by_truth = evaluate(client, table["model"], table["model"], rows={"label": True, "predicted": "NO", "limit": 3})
    assert by_word == by_truth
    assert len(by_word["cell"]["rows"]) == min(3, by_word["cell"]["count"])


@pytest.mark.parametrize(
    ("rows", "place"),
    [
        ({"label": "perhaps", "predicted": "no"}, "/rows/label"),
        ({"label": "no", "predicted": "perhaps"}, "/rows/predicted"),
        ({"label": "no", "predicted": "no", "limit": 0}, "/rows/limit"),
        ({"label": "no", "predicted": "no", "limit": 1001}, "/rows/limit"),
        ({"label": [1], "predicted": "no"}, "/rows/label"),
    ],
)
def test_wrong_cells_are_refused(client: Client, table: dict[str, Any], rows: Any, place: str) -> None:
    answer = client.post("/evaluate", {"model": table["model"], "data": table["model"], "rows": rows})
    assert answer.status == 422, answer
    assert [error["pointer"] for error in answer.json["errors"]] == [place]


def test_rows_of_a_line_and_of_all(client: Client, table: dict[str, Any]) -> None:
    """Without a cell, rows at equal distances: for charts that cannot show all."""
    guesses = predicted(client, table["model"], table["rows"])["predictions"]
    every = evaluate(client, table["model"], table["model"], rows={"limit": 1000})["cell"]
    assert (every["label"], every["predicted"], every["count"]) == (None, None, 400)
    assert [row["row"] for row in every["rows"]] == list(range(1, 401))
    assert [row["predicted"] for row in every["rows"]] == guesses
    assert [row["label"] for row in every["rows"]] == [row["survived"] for row in table["rows"]]
    few = evaluate(client, table["model"], table["model"], rows={"limit": 5})["cell"]
    assert [row["row"] for row in few["rows"]] == [1, 101, 201, 300, 400]
    assert few["rows"][0] == every["rows"][0]
    line = evaluate(client, table["model"], table["model"], rows={"predicted": "yes", "limit": 1000})["cell"]
    assert [row["row"] for row in line["rows"]] == [place for place, guess in enumerate(guesses, 1) if guess == "yes"]
    assert line["count"] == guesses.count("yes")


def test_rows_that_were_held_out_in_folds(client: Client, table: dict[str, Any]) -> None:
    """They are judged by the members that did not train on them: as the download of held-out rows says."""
    metrics = pytest.importorskip("sklearn.metrics")
    name = fresh("folds")
    model = {"name": name, "hidden": [4]}
    job = client.run({"model": model, "data": table["model"], "folds": 4, "epochs": 3})
    data = {"job": job["id"], "part": "validation"}
    answer = evaluate(client, name, data, rows={"limit": 1000})
    download = client.get(f"/jobs/{job['id']}/held_out", headers={"Accept": "application/x-ndjson"})
    held_out = [json.loads(line) for line in download.body.splitlines()]
    labels, guesses = ([row[kind] for row in held_out] for kind in ("label", "prediction"))
    true = np.array([row[f"probability_{row['label']}"] for row in held_out])
    assert (answer["rows"], answer["folds"], answer["trained_on"]) == (400, 4, 0)
    assert answer["confusion_matrix"] == metrics.confusion_matrix(labels, guesses).tolist()
    assert answer["log_loss"] == pytest.approx(-np.log(true).mean(), rel=1e-4)
    assert answer["log_loss"] == pytest.approx(job["held_out"]["log_loss"], rel=1e-4)
    assert [(row["row"], row["label"], row["predicted"]) for row in answer["cell"]["rows"]] == [
        (row["row"], row["label"], row["prediction"]) for row in held_out
    ]
    assert all(row["values"] == table["rows"][row["row"] - 1] for row in answer["cell"]["rows"])

    training = evaluate(client, name, {"job": job["id"], "part": "training"})
    assert (training["rows"], training["trained_on"], "folds" in training) == (400, 400, False)
    for extra in ({"coverage": 0.9}, {"importance": True}):
        refused = client.post("/evaluate", {"model": name, "data": data, **extra})
        assert (refused.status, refused.json["errors"][0]["pointer"]) == (422, f"/{next(iter(extra))}")
    other = client.post("/evaluate", {"model": table["model"], "data": data})
    assert (other.status, other.json["errors"][0]["pointer"]) == (422, "/data/part")


def test_missing_columns_are_named(client: Client, table: dict[str, Any]) -> None:
    rows = [{"age": 3, "survived": "yes"}, {"age": 5, "survived": "no"}]
    answer = client.post("/evaluate", {"model": table["model"], "data": {"rows": rows, "label": "survived"}})
    assert answer.status == 422, answer
    assert [error["column"] for error in answer.json["errors"]] == ["sex", "deck", "alone"]


def test_a_single_row_and_kinds_as_the_model_reads_them(client: Client, table: dict[str, Any]) -> None:
    row = {"sex": "male", "age": "31", "deck": 5, "alone": "no", "survived": "no"}
    assert evaluate(client, table["model"], {"rows": [row], "label": "survived"})["rows"] == 1


def test_cells_of_a_matrix(client: Client, trained: Trained) -> None:
    answer = client.post("/predict", {"model": trained.name, "inputs": ROWS}).json
    pair = next(zip(LABELS, answer["predictions"], strict=True))
    cell = evaluate(client, trained.name, DATA, rows={"label": pair[0], "predicted": pair[1]})["cell"]
    expected = [number for number, each in enumerate(zip(LABELS, answer["predictions"], strict=True)) if each == pair]
    assert [row["row"] - 1 for row in cell["rows"]] == expected
    assert [row["values"] for row in cell["rows"]] == [ROWS[number] for number in expected]


def test_the_parts_of_a_job_with_a_matrix(client: Client, server: Server) -> None:
    name = fresh("parts")
    client.define(a_model(name))
    client.post("/datasets", {"name": name, "inputs": ROWS * 5, "labels": LABELS * 5})
    job = client.run(a_training(name, data={"dataset": name}, validation={"fraction": 0.4}))
    trained = training_rows(server, job)
    answer = evaluate(client, name, {"job": job["id"], "part": "training"})
    assert answer["rows"] == answer["trained_on"] == len(trained) == 36
    held_out = evaluate(client, name, {"job": job["id"], "part": "validation"})
    assert (held_out["rows"], held_out["trained_on"]) == (24, 0)
    assert held_out["log_loss"] == pytest.approx(job["metrics"]["validation_loss"], rel=1e-5)
    # Each of the twelve rows is among the training rows, so by their values all are known.
    assert evaluate(client, name, DATA)["trained_on"] == 12


def test_validation_rows_that_were_given(client: Client) -> None:
    name = fresh("given")
    client.define(a_model(name))
    client.post("/datasets", {"name": name, **DATA})
    client.post("/datasets", {"name": f"{name}-5", "inputs": ROWS[:5], "labels": LABELS[:5]})
    job = client.run(a_training(name, data={"dataset": name}, validation={"dataset": f"{name}-5"}))
    answer = evaluate(client, name, {"job": job["id"], "part": "validation"})
    assert answer["rows"] == 5
    assert answer["log_loss"] == pytest.approx(job["metrics"]["validation_loss"], rel=1e-5)
    assert evaluate(client, name, {"job": job["id"], "part": "training"})["rows"] == 12


def test_parts_that_do_not_exist(client: Client, trained: Trained) -> None:
    job = trained.jobs[0]["id"]
    for data, place in (
        ({"job": job, "part": "validation"}, "/data/part"),
        ({"job": job, "part": "test"}, "/data/part"),
        ({"job": job}, "/data"),
        ({"job": "job_000000000000000000000", "part": "training"}, "/data/job"),
    ):
        answer = client.post("/evaluate", {"model": trained.name, "data": data})
        assert answer.status == 422, answer
        assert [error["pointer"] for error in answer.json["errors"]] == [place]


def test_deleted_rows_are_missing_and_their_count_unknown(client: Client) -> None:
    name = fresh("deleted")
    rows = passengers(60, 4)
    client.post("/datasets", {"name": name, "label": "survived", "rows": rows})
    job = client.run({"model": {"name": name, "hidden": [4]}, "data": name, "epochs": 1})
    assert client.delete(f"/datasets/{name}").status == 204
    answer = client.post("/evaluate", {"model": name, "data": {"job": job["id"], "part": "training"}})
    assert (answer.status, answer.json["code"]) == (404, "not_found")
    assert evaluate(client, name, {"rows": rows, "label": "survived"})["trained_on"] is None


def test_an_imported_version_does_not_say_what_it_was_trained_on(client: Client, trained: Trained) -> None:
    name = fresh("imported")
    client.define(a_model(name))
    file = client.get(f"/checkpoints/{trained.jobs[0]['checkpoint']}/file").body
    answer = client.post(f"/models/{name}/checkpoints", file, headers={"Content-Type": "application/x-hdf5"})
    assert answer.status == 201, answer
    assert evaluate(client, name, DATA)["trained_on"] is None


def test_a_model_without_names_takes_the_columns_of_numbers_in_their_order(client: Client) -> None:
    name = fresh("nameless")
    client.define(a_model(name))
    client.post("/datasets", {"name": name, **DATA})
    client.run(a_training(name, data={"dataset": name}))
    rows = [{"x": x, "y": y, "colour": label} for (x, y), label in zip(ROWS, LABELS, strict=True)]
    answer = evaluate(client, name, {"rows": rows, "label": "colour"})
    expected = evaluate(client, name, DATA)
    assert answer["log_loss"] == pytest.approx(expected["log_loss"], rel=1e-6)
    assert answer["trained_on"] == expected["trained_on"] == 12
    more = [{**row, "z": 1} for row in rows]
    refused = client.post("/evaluate", {"model": name, "data": {"rows": more, "label": "colour"}})
    assert refused.status == 422
    assert "must have 2 columns of numbers" in refused.json["detail"]
    gap = [{**rows[0], "x": None}, *rows[1:]]
    refused = client.post("/evaluate", {"model": name, "data": {"rows": gap, "label": "colour"}})
    assert refused.json["errors"] == [
        {"pointer": "/data/rows/0/x", "detail": "must not be missing", "row": 1, "column": "x"}
    ]


def test_pieces_are_the_whole(client: Client, table: dict[str, Any]) -> None:
    """More rows than are made at a time, beside the answer for the same rows once."""
    few = table["rows"][:100]
    once = evaluate(client, table["model"], {"rows": few, "label": "survived"})
    many = evaluate(client, table["model"], {"rows": few * 700, "label": "survived"})
    assert many["rows"] == 70_000
    assert np.array(many["confusion_matrix"]).tolist() == (np.array(once["confusion_matrix"]) * 700).tolist()
    assert many["log_loss"] == pytest.approx(once["log_loss"], rel=1e-6)
    assert many["trained_on"] == once["trained_on"] * 700
