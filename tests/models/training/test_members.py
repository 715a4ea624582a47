"""Members in this process: the same bits as an ordinary run, at any division into stretches."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from models.features.rows import FeatureRows
from models.training.local_pool import LocalPool
from models.training.member_run import MemberRun, PreparedMember
from models.training.members import Ended, Looked, MemberFailure, MemberTask, Saved, Stopped
from models.training.prepared import PreparedData
from models.training.run import TrainingRun
from nncore.batches import gathered
from nncore.network import Predictor
from nncore.stopping import EarlyStopping
from testing.members import DATA, a_member, carried_out, last_reports, same_state, some_data, some_features
from testing.runs import Recorder


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """As in the processes of members."""
    with threadpool_limits(1):
        yield


def a_pool(places: int = 1) -> LocalPool:
    pool = LocalPool(places)
    pool.share(DATA, some_data())
    return pool


def ended(task: MemberTask) -> Ended:
    found = last_reports(carried_out(a_pool(), [task]))[task.number]
    assert isinstance(found, Ended)
    return found


def test_a_member_is_an_ordinary_run() -> None:
    """An ordinary run over copies of the same rows has the same state, and its best weights predict the same."""
    task, data = a_member(epochs=6), some_data()
    assert task.validation is not None
    assert data.weights is not None
    prepared = PreparedData(
        definition=task.definition,
        features=("x", "y"),
        inputs=np.asarray(data.inputs),
        codes=data.codes,
        weights=data.weights,
        rows=task.training,
        held_out=task.validation,
        validation=None,
        class_weights=None,
        monitor="validation_log_loss",
        min_delta=0.0,
    )
    run = TrainingRun(task.request, prepared)
    run.run(Recorder())
    found = ended(task)
    assert same_state(found.checkpoint, run.checkpoint())
    assert run.best is not None
    predictor = Predictor(task.definition.layers, 2, {**run.best.parameters, **run.best.statistics})
    expected = predictor.predict_proba(np.asarray(data.inputs)[task.validation])
    assert found.held_out is not None
    assert found.held_out.dtype == np.float32
    assert found.held_out.tobytes() == expected.tobytes()


def test_the_rows_are_read_where_they_are() -> None:
    data = some_data()
    prepared = PreparedMember(a_member(), data)
    rows = prepared.training_part().inputs
    assert isinstance(data.inputs, np.ndarray)
    assert not isinstance(rows, np.ndarray)
    out = gathered(rows, np.array([1, 0]))
    np.testing.assert_array_equal(out[:, :2], data.inputs[prepared.rows[[1, 0]]])
    np.testing.assert_array_equal(out[:, 2], 1)
    data.inputs[:] = 7
    assert (gathered(rows, np.array([1, 0]))[:, :2] == 7).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_features_are_read_as_if_they_were_expanded(dtype: str) -> None:
    compact, task = some_features(dtype=dtype), a_member(members={"inputs": 9, "dtype": dtype})
    assert isinstance(compact.inputs, FeatureRows)
    found = []
    for inputs in (compact.inputs, compact.inputs.expanded()):
        pool = LocalPool()
        pool.share(DATA, replace(compact, inputs=inputs))
        end = last_reports(carried_out(pool, [task]))[1]
        assert isinstance(end, Ended)
        assert end.held_out is not None
        assert end.held_out.dtype == np.float32
        found.append(end)
    assert same_state(found[0].checkpoint, found[1].checkpoint)
    np.testing.assert_array_equal(found[0].held_out, found[1].held_out)


@pytest.mark.parametrize("batch_size", [1, 8, "full"])
def test_stretches_do_not_change_a_bit(batch_size: object) -> None:
    """One batch a stretch, and a state on request after each, give what one stretch gives."""
    task = a_member(batch_size=batch_size)
    pool, whole = a_pool(), ended(task)
    pool.start(task)
    steps, found = 0, []
    while pool.free == 0:
        pool.ask_states()
        (saved,) = pool.reports(0)
        assert isinstance(saved, Saved)
        assert saved.checkpoint.state.step == steps
        found = pool.reports(0)
        steps += pool.free == 0
        assert isinstance(found[0], Looked)
    end = found[-1]
    assert isinstance(end, Ended)
    assert same_state(end.checkpoint, whole.checkpoint)
    assert whole.held_out is not None
    assert end.held_out is not None
    assert end.held_out.tobytes() == whole.held_out.tobytes()


def test_stopped_after_any_step_it_resumes_to_the_same_bits() -> None:
    task = a_member()
    whole = ended(task)
    for steps in range(whole.checkpoint.state.step):
        pool = a_pool()
        pool.start(task)
        for _ in range(steps):
            pool.reports(0)
        stopped = last_reports(pool.stop())[1]
        assert isinstance(stopped, Stopped)
        assert stopped.checkpoint.state.step == steps
        # As if it had been sent to another process.
        sent = pickle.loads(pickle.dumps(replace(task, resume=stopped.checkpoint)))
        assert same_state(ended(sent).checkpoint, whole.checkpoint)


def test_a_state_does_not_change_with_training() -> None:
    pool = a_pool()
    pool.start(a_member())
    pool.ask_states()
    (saved,) = pool.reports(0)
    assert isinstance(saved, Saved)
    before = pickle.dumps(saved)
    while pool.free == 0:
        pool.reports(0)
    assert pickle.dumps(saved) == before


def test_a_pause_is_after_so_many_epochs() -> None:
    task = a_member(epochs=5)
    whole = ended(task)
    resume = None
    for epoch in (1, 2, 4):
        found = last_reports(carried_out(a_pool(), [replace(task, pause_at=epoch, resume=resume)]))[1]
        assert isinstance(found, Stopped)
        resume = found.checkpoint
        assert (resume.state.epoch, resume.state.position, len(resume.history)) == (epoch, 0, epoch)
        # It stands there already.
        again = last_reports(carried_out(a_pool(), [replace(task, pause_at=epoch, resume=resume)]))[1]
        assert isinstance(again, Stopped)
        assert same_state(again.checkpoint, resume)
    # At its end, a member does not pause.
    assert same_state(ended(replace(task, pause_at=5, resume=resume)).checkpoint, whole.checkpoint)


def test_members_that_take_turns_are_independent() -> None:
    tasks = [a_member(number) for number in (1, 2, 3)]
    pool = a_pool(places=2)
    together = last_reports(carried_out(pool, tasks, seconds=0))
    assert together.keys() == {1, 2, 3}
    for task in tasks:
        found = together[task.number]
        assert isinstance(found, Ended)
        assert same_state(found.checkpoint, ended(task).checkpoint)


def test_each_epoch_is_reported_once() -> None:
    for seconds in (0, 60):
        reports = carried_out(a_pool(), [a_member(epochs=4)], seconds)
        records = [record for report in reports if isinstance(report, Looked) for record in report.records]
        assert [record.number for record in records] == [1, 2, 3, 4]
        steps = [report.step for report in reports if isinstance(report, Looked)]
        assert steps == sorted(steps)


def test_the_end_says_what_ended_it() -> None:
    # The first look is the best; of the next ones, each after 3 epochs of 4 steps, two are 24 steps.
    stopping = EarlyStopping(monitor="validation_log_loss", patience=1, patience_steps=13, min_delta=1e6)
    found = ended(a_member(epochs=50, validate_every=3, early_stopping=stopping))
    assert found.stopped_by == "early_stopping"
    assert found.checkpoint.state.epoch == 9
    assert ended(a_member(epochs=3)).stopped_by is None
    assert ended(a_member(epochs=10**6, max_seconds=0.05, early_stopping=None)).stopped_by == "max_seconds"


def test_without_validation_nothing_is_held_out() -> None:
    task = replace(a_member(early_stopping=None), validation=None)
    found = ended(task)
    assert found.held_out is None
    assert found.checkpoint.best is None


def test_without_a_best_epoch_the_last_weights_predict() -> None:
    task = a_member(early_stopping=None)
    found, data = ended(task), some_data()
    predictor = Predictor(task.definition.layers, 2, {**found.checkpoint.evaluated})
    assert found.held_out is not None
    expected = predictor.predict_proba(np.asarray(data.inputs)[task.validation])
    assert found.held_out.tobytes() == expected.tobytes()


def test_what_cannot_go_on_is_reported() -> None:
    """Divergence, with the epochs before it; a task that does not fit its data; a state of another network."""
    wild = a_member(members={"optimizer": {"type": "sgd", "learning_rate": 1e6}}, epochs=40)
    *_, looked, found = carried_out(a_pool(), [wild])
    assert isinstance(looked, Looked)
    assert isinstance(found, MemberFailure)
    assert found.code == "diverged"
    assert "learning_rate" in found.detail
    narrow = a_member(members={"inputs": 3})
    (found,) = carried_out(a_pool(), [narrow])
    assert isinstance(found, MemberFailure)
    assert found.code == "internal_error"
    assert "n_samples, 3" in found.detail
    other = ended(a_member(units=4)).checkpoint
    (found,) = carried_out(a_pool(), [a_member(resume=other)])
    assert isinstance(found, MemberFailure)


def test_memory_that_ran_out_is_not_the_members_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_memory(*_arguments: object) -> None:
        raise MemoryError

    pool = a_pool()
    pool.start(a_member())
    monkeypatch.setattr(MemberRun, "advance", no_memory)
    with pytest.raises(MemoryError):
        pool.reports(0)


def test_a_closed_pool_is_empty() -> None:
    pool = a_pool()
    pool.start(a_member())
    pool.close()
    assert pool.free == 1
    assert pool.reports(0) == []
