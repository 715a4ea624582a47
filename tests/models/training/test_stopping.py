"""Early stopping, the best epoch, time limits: when a run ends, and what it leaves behind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.errors import InvalidError
from models.formats.checkpoint_file import load_checkpoint
from models.formats.mapped_parameters import map_parameters
from nncore.network import Predictor
from nncore.optimizers import SGD, Adam
from nncore.stopping import EarlyStopping, improves
from testing.runs import Recorder, a_definition, a_run, some_rows
from tests.models.training.test_run import assert_same_bits, cut, uncut

#: Ends early: held-out rows of random labels get worse soon.
OVERFITTING: dict[str, Any] = {"epochs": 400, "validation_fraction": 0.4, "optimizer": Adam(0.05)}


@pytest.mark.parametrize(
    ("monitor", "value", "best", "delta", "expected"),
    [
        ("loss", 0.5, None, 0.0, True),
        ("loss", 0.5, 0.5, 0.0, False),
        ("loss", 0.4, 0.5, 0.0, True),
        ("loss", 0.4, 0.5, 0.2, False),
        ("validation_accuracy", 0.5, 0.4, 0.0, True),
        ("validation_accuracy", 0.5, 0.4, 0.2, False),
        ("accuracy", 0.3, 0.4, 0.0, False),
    ],
)
def test_what_counts_as_better(monitor: Any, value: float, best: float | None, delta: float, expected: bool) -> None:
    assert improves(monitor, value, best, delta) is expected


@pytest.mark.parametrize(
    ("looks", "steps", "expected"),
    [(2, 50, False), (3, 9, False), (3, 10, True), (40, 9, False), (40, 10, True)],
)
def test_both_patiences_must_have_passed(looks: int, steps: int, expected: bool) -> None:
    assert EarlyStopping(patience=3, patience_steps=10).ends(looks, steps) is expected


@pytest.mark.parametrize("patience", [1, 4])
def test_it_ends_after_its_patience_and_goes_back_to_the_best(tmp_path: Path, patience: int) -> None:
    run = a_run(**OVERFITTING, early_stopping=EarlyStopping(patience=patience))
    recorder = Recorder(folder=tmp_path)
    assert run.run(recorder)
    assert run.stopped_by == "early_stopping"
    losses = [record.validation_loss for record in run.history]
    assert None not in losses
    best = int(np.argmin(losses))  # type: ignore[arg-type]
    assert run.best is not None
    assert (run.best.epoch, run.best.value) == (best + 1, losses[best])
    assert len(losses) == best + 1 + patience < 400
    assert [kind for kind, _, _ in recorder.kinds] == ["first", "last", "best"]
    assert run.training.validation is not None
    mapped = map_parameters(recorder.files[-1])
    definition, parameters = mapped.definition, mapped.parameters
    shares = Predictor(definition.layers, 2, parameters).predict_proba(run.training.validation[0].expanded())
    loss = -np.log(shares[np.arange(len(shares)), run.training.validation[1]]).mean()
    assert loss == pytest.approx(losses[best], rel=1e-5)


def test_without_going_back_the_last_state_is_kept_and_the_best_beside_it(tmp_path: Path) -> None:
    stopping = EarlyStopping(patience=2, restore_best=False)
    run = a_run(**OVERFITTING, early_stopping=stopping, publish="best")
    recorder = Recorder(folder=tmp_path)
    run.run(recorder)
    assert [kind for kind, _, _ in recorder.kinds] == ["first", "last", "best"]
    last, best = (load_checkpoint(file) for file in recorder.files[1:])
    assert run.best is not None
    for name, array in run.best.parameters.items():
        assert best.parameters[name].tobytes() == array.tobytes()
        assert last.parameters[name].tobytes() == run.training.network.parameters[name].tobytes()
    assert any(best.parameters[name].tobytes() != last.parameters[name].tobytes() for name in last.parameters)
    assert last.best is not None
    assert last.best.epoch == run.best.epoch


def test_the_best_of_a_run_to_its_end_is_known_without_stopping_early(tmp_path: Path) -> None:
    run = a_run(**{**OVERFITTING, "epochs": 60}, publish="best")
    recorder = Recorder(folder=tmp_path)
    run.run(recorder)
    assert (run.stopped_by, len(run.history)) == (None, 60)
    assert [kind for kind, _, _ in recorder.kinds] == ["first", "last", "best"]


def test_the_moving_average_is_what_is_kept_and_served(tmp_path: Path) -> None:
    options = {**OVERFITTING, "optimizer": SGD(0.5, average=0.95)}
    run = a_run(**options, early_stopping=EarlyStopping(patience=1, monitor="validation_loss"))
    recorder = Recorder(folder=tmp_path)
    run.run(recorder)
    assert run.training.validation is not None
    assert run.best is not None
    mapped = map_parameters(recorder.files[-1])
    definition, parameters = mapped.definition, mapped.parameters
    shares = Predictor(definition.layers, 2, parameters).predict_proba(run.training.validation[0].expanded())
    loss = -np.log(shares[np.arange(len(shares)), run.training.validation[1]]).mean()
    assert loss == pytest.approx(run.best.value, rel=1e-5)


@pytest.mark.parametrize("place", [1, 17, 40])
@pytest.mark.parametrize(
    "options",
    [
        {"early_stopping": EarlyStopping(patience=4)},
        {"early_stopping": EarlyStopping(patience=4, restore_best=False), "publish": "best"},
        {"early_stopping": EarlyStopping("validation_log_loss", 2, 30), "validate_every": 3},
        {"publish": "best", "epochs": 20, "optimizer": SGD(0.3, average=0.9, accumulate=2, clip_norm=1.0)},
    ],
    ids=["going back", "best beside last", "every third epoch", "average"],
)
def test_cut_and_resumed_it_ends_in_the_same_bits(tmp_path: Path, options: dict[str, Any], place: int) -> None:
    options = {**OVERFITTING, **options}
    assert_same_bits(cut(tmp_path, [place, 3], **options), uncut(tmp_path, **options))


def test_a_timed_save_within_an_epoch_does_not_end_the_run_there(tmp_path: Path) -> None:
    """Steps count up to the last look, so that the run ends at the same place however it is cut."""
    stopping = EarlyStopping(patience=1, patience_steps=21)
    options = {**OVERFITTING, "early_stopping": stopping, "validate_every": 5}
    run, cut_run = a_run(**options), a_run(**options, every_seconds=7.0)
    run.run(Recorder())
    cut_run.run(Recorder(), Clock())
    assert run.stopped_by == cut_run.stopped_by == "early_stopping"
    assert run.training.step == cut_run.training.step
    assert run.training.epoch % 5 == 0
    assert run.best is not None
    assert (
        run.training.step - run.best.step >= 21 > run.training.step - run.best.step - 5 * run.training.steps_per_epoch
    )


def test_a_value_to_watch_must_be_there() -> None:
    with pytest.raises(InvalidError) as refusal:
        a_run(early_stopping=EarlyStopping(monitor="validation_accuracy"))
    assert refusal.value.problems[0].pointer == "/early_stopping/monitor"
    assert a_run(early_stopping=EarlyStopping()).best.monitor == "loss"  # type: ignore[union-attr]
    assert a_run(early_stopping=EarlyStopping(), validation=some_rows(9)).best.monitor == "validation_loss"  # type: ignore[union-attr]


class Clock:
    """A clock that advances by one second at each call."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 1.0
        return self.now


def test_a_time_limit_ends_the_run_between_batches(tmp_path: Path) -> None:
    run = a_run(epochs=10**6, max_seconds=100.0)
    recorder = Recorder(folder=tmp_path)
    assert run.run(recorder, Clock())
    assert run.stopped_by == "max_seconds"
    assert 0 < len(run.history) < 100
    assert [kind for kind, _, _ in recorder.kinds] == ["first", "last"]
    # Resumed from there, it has no time left.
    again = a_run(epochs=10**6, max_seconds=1e-6, resume=recorder.newest())
    assert again.run(Recorder())
    assert again.training.step == run.training.step


def test_no_epochs_leave_an_untrained_network(tmp_path: Path) -> None:
    run = a_run(epochs=0)
    recorder = Recorder(folder=tmp_path)
    assert run.run(recorder)
    assert recorder.kinds == [("last", 0, 0)]
    fresh = a_definition().network(5)
    for name, array in recorder.newest().parameters.items():
        assert array.tobytes() == fresh.parameters[name].tobytes()
