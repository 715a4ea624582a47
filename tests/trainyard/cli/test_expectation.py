"""What a job must reach."""

from __future__ import annotations

from typing import Any

import pytest

from trainyard.cli.expectation import Expectation, metrics_of

JOB: dict[str, Any] = {
    "metrics": {"loss": 0.5, "validation_accuracy": 0.9, "learning_rate": None},
    "held_out": {"accuracy": 0.8, "to_beat": {"majority": {"accuracy": 0.4}, "linear": None}, "validation": None},
}


@pytest.mark.parametrize(
    ("written", "reached"),
    [
        ("validation_accuracy>=0.9", True),
        ("validation_accuracy > 0.9", False),
        ("loss<1e0", True),
        ("loss<=0.5", True),
        ("loss<0.5", False),
        ("held_out.accuracy==0.8", True),
        ("held_out.to_beat.majority.accuracy>0.5", False),
    ],
)
def test_a_metric_is_compared(written: str, reached: bool) -> None:
    missed = Expectation.parse(written).missed(metrics_of(JOB))
    assert (missed is None) is reached
    assert missed is None or missed.startswith("--expect missed: ")


def test_a_metric_that_there_is_not() -> None:
    missed = Expectation.parse("acuracy>0").missed(metrics_of(JOB))
    assert missed is not None
    assert "the job has no acuracy; it has held_out.accuracy" in missed


def test_the_version_counts_not_the_last_epoch() -> None:
    assert metrics_of(JOB, {"metrics": {"loss": 0.2}})["loss"] == 0.2


@pytest.mark.parametrize("written", ["", "accuracy", "accuracy=0.9", ">=0.9", "accuracy>=high", "accuracy>=", "a>1>2"])
def test_another_form_is_refused(written: str) -> None:
    with pytest.raises(ValueError, match=r"as in validation_accuracy>=0\.9"):
        Expectation.parse(written)
