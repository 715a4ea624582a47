"""Documents of a newer or an older service, and what the values do without one."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from datetime import UTC, datetime
from typing import Any

import pytest

from trainyard import Dataset, Epoch, Evaluation, Job, JobFailed, Model, Prediction, Trainyard, Version
from trainyard.html import curves, table
from trainyard.predictions import joined

TY = Trainyard("http://127.0.0.1:9")
JOB = {"id": "job_1", "model": "iris", "state": "queued"}


def test_members_that_the_client_does_not_know_are_kept() -> None:
    """Also one that is called as a field of the client."""
    job = Job.of({**JOB, "colour": "red", "model_name": "other", "client": 7, "progress": {"epoch": 3, "phase": 1}}, TY)
    assert (job.model_name, job.progress.epoch) == ("iris", 3)
    assert job.extra == {"colour": "red", "model_name": "other", "client": 7}
    assert job.progress.extra == {"phase": 1}
    assert Epoch.of({"epoch": 2, "loss": 0.5, "gradient": 1.0}).extra == {"gradient": 1.0}


def test_members_that_the_service_does_not_send_have_defaults() -> None:
    """A document of an older service."""
    job = Job.of(JOB, TY)
    assert (job.version, job.members, job.held_out, job.progress.fraction) == (None, (), None, 0.0)
    assert Model.of({"name": "iris"}, TY).default is None
    assert Dataset.of({"id": "ds_1", "name": None, "rows": 3}, TY).columns == ()
    assert Version.of({"model": "iris", "version": 2}, TY).number == 2


def test_values_do_not_change() -> None:
    job = Job.of({**JOB, "created_at": "2026-11-27T11:32:37.215Z"}, TY)
    assert job.created_at == datetime(2026, 11, 27, 11, 32, 37, 215000, tzinfo=UTC)
    with pytest.raises(dataclasses.FrozenInstanceError):
        job.state = "running"  # type: ignore[misc]
    assert job == Job.of({**JOB, "created_at": "2026-11-27T11:32:37.215Z"}, Trainyard("http://other:9"))
    again = pickle.loads(pickle.dumps(job))
    assert again == job
    assert again.client.url == TY.url
    assert copy.deepcopy(job) == job
    assert "client" not in repr(job)


def a_prediction(**members: Any) -> Prediction:
    """Two rows of three classes."""
    document = {
        "model": "iris",
        "version": 2,
        "classes": ["a", "b", "<c>"],
        "predictions": ["b", "<c>"],
        "probabilities": [[0.1, 0.7, 0.2], [0.0, 0.25, 0.75]],
    }
    return Prediction.of({**document, **members})


def test_a_prediction() -> None:
    answer = a_prediction()
    assert answer.labels == ("b", "<c>")
    assert list(answer) == ["b", "<c>"]
    assert len(answer) == 2
    assert answer.top(2) == [[("b", 0.7), ("<c>", 0.2)], [("<c>", 0.75), ("b", 0.25)]]
    assert answer.to_numpy().shape == (2, 3)
    frame = answer.to_pandas()
    assert list(frame) == ["prediction", "probability", "probability_a", "probability_b", "probability_<c>"]
    assert frame["probability"].tolist() == [0.7, 0.75]
    assert "&lt;c&gt;" in answer._repr_html_()
    assert "<c>" not in answer._repr_html_()


def test_predictions_of_pieces_are_one() -> None:
    whole = joined([a_prediction(uncertainty=[0.1, 0.2]), a_prediction(uncertainty=[0.3, 0.4])])
    assert len(whole) == 4
    assert whole.uncertainty == (0.1, 0.2, 0.3, 0.4)
    assert whole.sets is None
    assert (whole.version, whole.classes) == (2, ("a", "b", "<c>"))


def test_an_evaluation_as_a_frame() -> None:
    document = {"model": "m", "version": 1, "rows": 3, "classes": ["x", "<y>"], "accuracy": 2 / 3, "log_loss": 0.4}
    found = Evaluation.of({**document, "confusion_matrix": [[1, 0], [1, 1]], "new": True})
    frame = found.to_pandas()
    assert frame.loc["<y>", "x"] == 1
    assert (frame.index.name, frame.columns.name) == ("label", "prediction")
    assert "&lt;y&gt;" in found._repr_html_()
    assert "<y>" not in found._repr_html_()
    assert found.extra == {"new": True}
    with pytest.raises(ValueError, match="too many"):
        Evaluation.of({**document, "confusion_matrix": None}).to_pandas()


def test_a_failed_job_is_an_error_with_the_job() -> None:
    error = JobFailed("diverged", "the loss is not finite", Job.of({**JOB, "state": "failed"}, TY))
    assert str(error) == "job_1 failed: the loss is not finite [diverged]"


def test_html_escapes_what_came_from_elsewhere() -> None:
    hostile = "<script>alert(1)</script>\"'&"
    for text in (table([hostile], [[hostile]], more=3), curves({hostile: [(1.0, 2.0), (2.0, 1.0)]}, hostile)):
        assert "<script" not in text
        assert "&lt;script&gt;" in text
    svg = curves({"loss": [(1.0, 2.0), (2.0, float("nan")), (3.0, 1.0)]}, "loss by epoch")
    assert svg.count("<polyline") == 1
    assert "nan" not in svg
    assert curves({"loss": []}, "none") == ""
    assert "<polyline" in curves({"loss": [(1.0, 2.0)]}, "one")
