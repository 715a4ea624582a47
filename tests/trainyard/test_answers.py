"""What models answer, in each form that rows may have, and what notebooks show."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from testing.samples import fresh
from trainyard import Invalid, Job, Model, Trainyard, predicting


@pytest.fixture(scope="module")
def model(trained_flowers: Job) -> Model:
    """The model of the flowers."""
    return trained_flowers.model


def test_each_form_of_rows_has_the_same_answer(model: Model, flowers: Path, tmp_path: Path) -> None:
    frame = pd.read_csv(flowers)
    rows = frame.to_dict("records")
    expected = model.predict(flowers)
    assert (len(expected), expected.classes) == (90, model.classes)
    numbers = frame.drop(columns="kind").to_numpy()
    for form in (str(flowers), frame, rows, numbers, numbers.tolist(), frame.drop(columns="kind")):
        answer = model.predict(form)
        assert answer.labels == tuple(expected.labels)
        assert answer.version == expected.version == 1
        np.testing.assert_allclose(answer.to_numpy(), expected.to_numpy(), rtol=0, atol=1e-6)
    parquet = tmp_path / "flowers.ndjson"
    parquet.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert model.predict(parquet).labels == expected.labels
    assert model.predict(rows[1]).labels == (expected.labels[1],)
    assert model.version(1).predict(frame).labels == tuple(expected.labels)


def test_many_rows_are_sent_in_pieces(model: Model, flowers: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One version answers all of them."""
    whole = model.predict(pd.read_csv(flowers))
    monkeypatch.setattr(predicting, "VALUES", 60)
    pieces = model.predict(pd.read_csv(flowers))
    assert pieces.labels == whole.labels
    np.testing.assert_allclose(pieces.to_numpy(), whole.to_numpy(), rtol=0, atol=1e-6)
    assert pieces.version == 1


def test_gaps_and_reports(model: Model) -> None:
    assert (
        model.predict([[1.0, 2.0, float("nan"), 3.0]]).labels
        == model.predict([{"long": 1, "wide": 2, "deep": 3}]).labels
    )
    answer = model.predict([{"long": 1, "wide": 2, "deep": 300}], report=True)
    assert answer.report is not None
    assert (answer.report[0]["missing"], answer.report[0]["out_of_range"]) == (["tall"], ["deep"])
    with pytest.raises(Invalid):
        model.predict([{"colour": "red"}])
    with pytest.raises(Invalid, match="at least one row"):
        model.predict([])


def test_a_file_gets_its_predictions_beside_its_columns(
    ty: Trainyard, model: Model, flowers: Path, tmp_path: Path
) -> None:
    for ending in ("csv", "ndjson"):
        path = ty.predict_file(model.name, flowers, tmp_path / f"out.{ending}", probabilities=True)
        frame = pd.read_csv(path) if ending == "csv" else pd.read_json(path, lines=True)
        assert list(frame)[:7] == ["long", "wide", "tall", "deep", "kind", "prediction", "probability"]
        assert len(frame) == 90
    assert [path.name for path in tmp_path.iterdir()].count("out.csv") == 1
    with pytest.raises(Invalid):
        ty.predict_file(model.name, flowers, tmp_path / "none.csv", coverage=0.9)
    assert not (tmp_path / "none.csv").exists()


def test_sets_and_doubts_of_members(ty: Trainyard, flowers: Path) -> None:
    """Asked for with rows and with a file, they are the same; labels may have the sign that separates them."""
    frame = pd.read_csv(flowers).replace({"setosa": "a|b", "virginica": "c\\"})
    job = ty.train(frame, label="kind", name=fresh("members"), hidden=[4], epochs=3, folds=2).wait()
    assert job.model.classes == ("a|b", "c\\", "versicolor")
    file = Path(flowers).with_name("members.csv")
    frame.to_csv(file, index=False)
    rows = job.model.predict(frame, coverage=0.99, uncertainty=True)
    same = job.model.predict(file, coverage=0.99, uncertainty=True)
    assert rows.sets is not None
    assert same.sets is not None
    assert [sorted(map(str, each)) for each in rows.sets] == [sorted(map(str, each)) for each in same.sets]
    assert max(map(len, rows.sets)) > 1
    assert rows.uncertainty == pytest.approx(same.uncertainty, abs=1e-6)
    assert rows.labels == tuple(same.labels)


def test_checkpoints_answer_while_a_job_runs(ty: Trainyard, flowers: Path) -> None:
    """The last state that it has saved, by its name and by the checkpoint itself."""
    name = fresh("running")
    ty.upload(flowers, name, "kind")
    job = ty.train(name, name=name, hidden=[4], epochs=10_000_000, checkpoint={"every_epochs": 5, "keep": 100})
    next(event for event in job.events() if event.type == "checkpoint")
    checkpoint = next(iter(job.checkpoints))
    row = [{"wide": 4, "deep": 6}]
    answer = job.predict(row, checkpoint=checkpoint.id)
    assert (answer.version, answer.checkpoint) == (None, checkpoint.id)
    assert checkpoint.predict(row).probabilities == answer.probabilities
    assert len(checkpoint.predict(flowers)) == 90
    assert checkpoint.model.name == name
    assert checkpoint.evaluate(name).checkpoint == checkpoint.id
    with pytest.raises(ValueError, match="for a file"):
        job.predict(flowers)
    job.cancel()


def test_evaluations(ty: Trainyard, trained_flowers: Job, flowers: Path) -> None:
    """On a file, on what the job held out, and of a cell of the matrix."""
    model = trained_flowers.model
    whole = model.evaluate(flowers, label="kind")
    assert whole.rows == 90
    assert whole.confusion_matrix is not None
    assert sum(map(sum, whole.confusion_matrix)) == 90
    held_out = trained_flowers.evaluate()
    assert (held_out.rows, held_out.trained_on) == (18, 0)
    assert trained_flowers.evaluate("training").rows == 72
    cell = model.evaluate(flowers, label="kind", rows={"label": "setosa", "predicted": "setosa", "limit": 2}).cell
    assert cell is not None
    assert len(cell["rows"]) == 2


def test_what_a_notebook_shows(ty: Trainyard, trained_flowers: Job, flowers: Path) -> None:
    """Well-formed, with the curves of training and of held-out rows, and a text in their place."""
    for page in (trained_flowers._repr_html_(), trained_flowers.model._repr_html_()):
        (svg,) = ET.fromstring(f"<div>{page}</div>").findall("{*}svg")
        assert len(svg.findall("{*}polyline")) == 2
        assert svg.get("aria-label", "").startswith(f"loss by epoch of {trained_flowers.id}: ")
    dataset = ty.dataset(trained_flowers.request["data"]["dataset"])
    for page in (
        dataset._repr_html_(),
        dataset.profile()._repr_html_(),
        trained_flowers.model.predict(flowers)._repr_html_(),
    ):
        ET.fromstring(f"<div>{page}</div>")


def test_hostile_names_do_not_reach_a_notebook_as_markup(ty: Trainyard) -> None:
    hostile = "<script>alert(1)</script>"
    rows = [{hostile: number % 7, "kind": f"<b>{number % 2}</b>"} for number in range(20)]
    job = ty.train(rows, label="kind", name=fresh("hostile"), hidden=[4], epochs=2).wait()
    dataset = ty.dataset(job.request["data"]["dataset"])
    shown = [
        job,
        job.model,
        dataset,
        dataset.profile(),
        job.model.predict(rows),
        job.model.evaluate(rows, label="kind"),
    ]
    for value in shown:
        page = value._repr_html_()  # type: ignore[attr-defined]
        assert "<script" not in page
        assert "<b>" not in page


def test_all_pages_of_a_list(ty: Trainyard) -> None:
    """More entries than a page has, the newest first, each once."""
    names = [fresh("page") for _ in range(130)]
    for name in names:
        ty.request("POST", "/models", {"name": name, "classes": 2, "hidden": [1], "inputs": 1})
    listed = [model.name for model in ty.models()]
    assert [name for name in listed if name in set(names)] == names[::-1]
    first = ty.models().first()
    assert first is not None
    assert first.name == listed[0]
    assert ty.jobs(model=names[0]).first() is None
