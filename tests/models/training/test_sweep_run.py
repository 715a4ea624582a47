"""Sweeps in this process: each trial is an ordinary run, the best is the result, and stops change no bit of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import h5py
import pytest
from threadpoolctl import threadpool_limits

from models.formats.checkpoint_file import load_checkpoint
from models.formats.mapped_parameters import NoBestError, map_parameters
from models.serving.served_model import ServedModel
from models.training.checkpoint import Checkpoint, CheckpointKind
from models.training.members_run import MemberFailedError
from models.training.prepared import PreparedData
from models.training.run import TrainingRun
from models.training.search import Grid, Halving, Random, Search
from models.training.sweep import Sweep, SweepTrial, trial_request
from models.training.sweep_checkpoint import SweepCheckpoint
from models.training.sweep_run import SweepRun
from nncore.optimizer import Optimizer
from nncore.optimizers import SGD, Adam
from nncore.stopping import EarlyStopping, Monitor
from testing.members import same_state
from testing.members_journal import MembersRecorder, QuickPool
from testing.runs import Recorder, a_definition, a_request, prepare, some_rows
from testing.saving import save_checkpoint

OPTIMIZERS = [Adam(learning_rate=rate) for rate in (0.001, 0.03, 0.3, 0.01)]
WILD = SGD(learning_rate=1e6)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """As in the processes of members."""
    with threadpool_limits(1):
        yield


def a_sweep(
    search: Search | None = None,
    monitor: Monitor = "validation_log_loss",
    optimizers: Sequence[Optimizer] = OPTIMIZERS,
    **request: Any,
) -> Sweep:
    """Two networks with each optimizer."""
    trials = []
    for units in (4, 9):
        for optimizer in optimizers:
            asked = a_request(**{"epochs": 6, "optimizer": optimizer, **request})
            values = {"/optimizer/learning_rate": optimizer.learning_rate, "/model/hidden": [units]}
            trials.append(SweepTrial(values, a_definition(units=units), trial_request(asked, monitor)))
    return Sweep(search or Grid(), monitor, a_definition(units=4), tuple(trials))


def prepared_rows() -> PreparedData:
    return prepare(a_definition(units=4), a_request(validation_fraction=0.3), some_rows(60))


def a_run(
    sweep: Sweep | None = None, resume: SweepCheckpoint | None = None, places: int = 2, **options: Any
) -> SweepRun:
    request = a_request(validation_fraction=0.3, **options.pop("request", {}))
    return SweepRun(request, sweep or a_sweep(), prepared_rows(), QuickPool(places), resume=resume, **options)


def result_of(run: SweepRun) -> Checkpoint:
    """What a run that comes to its end publishes."""
    journal = MembersRecorder()
    assert run.run(journal)
    assert [kind for kind, _ in journal.checkpoints[-2:]] == [CheckpointKind.BETWEEN, CheckpointKind.BEST]
    assert isinstance(journal.newest, Checkpoint)
    return journal.newest


def alone(trial: SweepTrial) -> TrainingRun:
    """The ordinary run of a trial, on the same rows."""
    request = replace(trial.request, validation_fraction=0.3)
    run = TrainingRun(request, prepare(trial.definition, request, some_rows(60)))
    run.run(Recorder())
    return run


def test_an_epoch_of_a_trial_has_the_rows_of_its_task() -> None:
    run = a_run()
    task = run._next()
    assert task is not None
    assert run.rows_of(task.number) == len(task.training) == len(run.rows)


@pytest.mark.parametrize("monitor", ["validation_log_loss", "validation_accuracy", "loss"])
def test_the_result_is_the_best_of_ordinary_runs_to_the_bit(monitor: Monitor) -> None:
    sweep = a_sweep(monitor=monitor)
    run = a_run(sweep)
    found = result_of(run)
    alone_runs = [alone(trial) for trial in sweep.trials]
    sign = -1 if monitor.endswith("accuracy") else 1
    values = [sign * each.best.value for each in alone_runs if each.best is not None and each.best.value is not None]
    best = values.index(min(values))
    assert run.details()["best"]["member"] == best + 1
    assert run.definition == found.definition == sweep.trials[best].definition
    assert same_state(found, alone_runs[best].checkpoint().at_best())
    assert found.rows.tolist() == alone_runs[best].rows.tolist()
    for each, document in zip(alone_runs, run.details()["members"], strict=True):
        assert each.best is not None
        assert document["best"] == {"epoch": each.best.epoch, "monitor": monitor, "value": each.best.value}
        assert document["state"] == "ended"
        assert document["epoch"] == len(each.history)
    assert run.progress().fraction == 1.0
    known = run.details()["best"]["epoch"]
    assert {**run.progress().metrics, "epoch": known} == alone_runs[best].metrics_of(CheckpointKind.BEST)


def test_early_stopping_ends_trials_as_it_ends_runs() -> None:
    stopping = EarlyStopping(patience=1)
    sweep = a_sweep(early_stopping=stopping, epochs=30)
    run = a_run(sweep)
    result_of(run)
    for trial, document in zip(sweep.trials, run.details()["members"], strict=True):
        assert document["epoch"] == len(alone(trial).history)
    assert "early_stopping" in {document["stopped_by"] for document in run.details()["members"]}


@pytest.mark.parametrize("pauses", [[1], [9], [40], [90], [150], [13, 50, 3, 70]])
def test_stops_at_any_step_change_no_bit(pauses: list[int], tmp_path: Path) -> None:
    """Each stop is in a file of members, from which a new run goes on; trials that are out leave nothing in it."""
    state = None
    for place, pause in enumerate(pauses):
        journal = MembersRecorder(stop_at=pause)
        run = a_run(resume=state)
        assert not run.run(journal)
        assert journal.checkpoints[-1][0] is CheckpointKind.INTERRUPTED
        path = tmp_path / f"{place}.h5"
        save_checkpoint(path, journal.newest)
        loaded = load_checkpoint(path)
        assert isinstance(loaded, SweepCheckpoint)
        state = loaded
        ended = [each["member"] for each in run.details()["members"] if each["state"] == "ended"]
        assert len(set(ended) & set(state.members)) <= 1
        assert (state.epoch, state.step) == (run.progress().epoch, run.progress().step)
        with h5py.File(path) as file:
            assert file.attrs["format_version"] == 2
        with pytest.raises(NoBestError):
            map_parameters(path)
    again, plain = a_run(resume=state), a_run()
    assert same_state(result_of(again), result_of(plain))
    assert again.details() == plain.details()


@pytest.mark.parametrize("pause", [5, 20, 60, 100])
def test_a_halving_search_in_one_place_resumes_to_the_same_decisions(pause: int, tmp_path: Path) -> None:
    sweep = a_sweep(Halving(factor=2, minimum_epochs=1))
    plain = a_run(sweep, places=1)
    expected = result_of(plain)
    journal = MembersRecorder(stop_at=pause)
    assert not a_run(sweep, places=1).run(journal)
    save_checkpoint(tmp_path / "state.h5", journal.newest)
    state = load_checkpoint(tmp_path / "state.h5")
    assert isinstance(state, SweepCheckpoint)
    again = a_run(sweep, state, places=1)
    assert same_state(result_of(again), expected)
    assert again.details() == plain.details()


def test_halving_stops_bad_trials_early() -> None:
    sweep = a_sweep(Halving(factor=2, minimum_epochs=1), epochs=8)
    run = a_run(sweep, places=1)
    result_of(run)
    members = run.details()["members"]
    assert {each["state"] for each in members} == {"ended", "stopped"}
    assert sorted(each["epoch"] for each in members) == [1, 1, 1, 1, 2, 2, 4, 8]
    (whole,) = [each for each in members if each["epoch"] == 8]
    assert run.details()["best"]["member"] == whole["member"]
    assert run.progress().epoch == 20


def test_a_trial_that_diverges_is_no_failure_of_the_sweep() -> None:
    run = a_run(a_sweep(optimizers=[Adam(), WILD]))
    result_of(run)
    members = run.details()["members"]
    assert [each["state"] for each in members] == ["ended", "failed"] * 2
    assert members[1]["error"]["code"] == "diverged"
    assert members[1]["best"] is None


def test_a_sweep_fails_if_all_trials_diverge() -> None:
    with pytest.raises(MemberFailedError) as caught:
        a_run(a_sweep(optimizers=[WILD])).run(MembersRecorder())
    assert caught.value.code == "diverged"


@pytest.mark.parametrize("seconds", [1.0, 20.0, 60.0])
@pytest.mark.parametrize("search", [Random(trials=8), Halving(factor=2)])
def test_time_that_is_up_publishes_the_best_so_far(seconds: float, search: Search) -> None:
    ticks = count()
    run = a_run(a_sweep(search), request={"max_seconds": seconds}, clock=lambda: float(next(ticks)))
    found = result_of(run)
    assert run.stopped_by == "max_seconds"
    states = [each["state"] for each in run.details()["members"]]
    assert "stopped" in states
    assert "running" not in states
    values = [each["best"]["value"] for each in run.details()["members"] if each["best"]]
    if values and isinstance(search, Random):
        assert found.best is not None
        assert found.best.value == min(values)


def test_the_result_is_served_as_any_other_version(tmp_path: Path) -> None:
    found = result_of(a_run())
    path = tmp_path / "version.h5"
    save_checkpoint(path, found)
    with h5py.File(path) as file:
        assert file.attrs["format_version"] == 1
    loaded = load_checkpoint(path)
    assert isinstance(loaded, Checkpoint)
    assert same_state(loaded, found)
    rows = some_rows(60).inputs
    assert ServedModel(path).predict_proba(rows).shape == (60, 3)
