"""The life of a job as transitions of its row, one by one; reliability/lives.py takes random steps."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa

from models.errors import ConflictError, MissingError
from models.formats.durable import FileRecord
from models.registry import models, versions
from models.registry.callers import Caller, asking_as
from models.registry.checkpoints import add_checkpoint
from models.registry.datasets import add_dataset, find_dataset
from models.registry.tables import CHECKPOINTS
from nncore.training import Epoch
from reliability.lives import make_job as make
from service.jobs import lifecycle
from service.jobs.document import job_document
from service.jobs.events import (
    EpochEvent,
    HistoryPlace,
    LostEvent,
    add_events,
    events_after,
    list_epochs,
    newest_epochs,
)
from service.jobs.lifecycle import MAXIMUM_DEATHS, Progress, StaleError
from service.jobs.record import FINAL, JobError, Wish
from service.store.counters import Total, totals
from service.store.tables import JOBS
from testing.runs import a_definition

LEASE = 10.0
KILLED = JobError("worker_lost", "killed by SIGKILL")
PROGRESS = Progress(
    1, 7, 0.1, 3.0, {"loss": 0.5, "accuracy": 0.75, "validation_loss": None, "validation_accuracy": None}
)


@pytest.fixture
def job(connection: sa.Connection) -> str:
    return make(connection, 1)


@pytest.fixture
def fence(connection: sa.Connection, job: str) -> int:
    """The number under which the job is held."""
    row = lifecycle.claim(connection, 0.0, LEASE)
    assert row is not None
    assert row.id == job
    return int(row.fence)


def state(connection: sa.Connection, job: str) -> str:
    return str(lifecycle.find(connection, job).state)


def is_due(connection: sa.Connection, now: float) -> bool:
    """Whether a job may be claimed."""
    due = lifecycle.next_due(connection)
    return due is not None and due <= now


def reported_states(connection: sa.Connection, job: str) -> list[str]:
    events = events_after(connection, job, 0, 1000)
    return [json.loads(event.data)["state"] for event in events if event.type == "state"]


def conflict(call: Callable[..., Any], *arguments: Any) -> str:
    with pytest.raises(ConflictError) as refusal:
        call(*arguments)
    assert refusal.value.code == "wrong_state"
    return refusal.value.detail


def save(connection: sa.Connection, job: str, fence: int, checkpoint: str = "ckpt_1") -> None:
    lifecycle.report(connection, job, fence, PROGRESS, checkpoint=checkpoint, deaths=0)
    values = {
        "id": checkpoint,
        "model": "small",
        "job": job,
        "kind": "between",
        "epoch": PROGRESS.epoch,
        "step": PROGRESS.step,
        "metrics": json.dumps(PROGRESS.metrics),
        "created_at": "2026-01-01T00:00:00.000Z",
    }
    connection.execute(sa.delete(CHECKPOINTS).where(CHECKPOINTS.c.id == checkpoint))
    add_checkpoint(connection, values, FileRecord(1, "00"))


def test_a_new_job_waits(connection: sa.Connection, job: str) -> None:
    document = job_document(lifecycle.find(connection, job))
    assert document == {
        "id": job,
        "model": "small",
        "state": "queued",
        "created_at": document["created_at"],
        "started_at": None,
        "finished_at": None,
        "attempt": 1,
        "progress": {"epoch": 0, "epochs": 10, "step": 0, "fraction": 0.0, "eta_seconds": None},
        "metrics": {},
        "best": None,
        "stopped_by": None,
        "kernels": None,
        "members": [],
        "held_out": None,
        "checkpoint": None,
        "version": None,
        "error": None,
        "warnings": [],
        "request": {"epochs": 10, "publish": True},
    }
    assert is_due(connection, 0.0)


def test_an_unknown_job_is_missing(connection: sa.Connection) -> None:
    for call in (lifecycle.find, lifecycle.cancel, lifecycle.resume):
        with pytest.raises(MissingError):
            call(connection, "job_none")


def test_the_oldest_job_is_claimed_first(connection: sa.Connection) -> None:
    made = [make(connection, number) for number in (3, 1, 2)]
    claimed = [lifecycle.claim(connection, 0.0, LEASE) for _ in made]
    assert [row.id for row in claimed if row is not None] == made, "whatever the clock said that is in their ids"
    assert lifecycle.claim(connection, 0.0, LEASE) is None
    assert not is_due(connection, 0.0)


def queue_of(connection: sa.Connection, owner: str, count: int, **columns: Any) -> list[str]:
    """So many new jobs of an owner."""
    with asking_as(connection, Caller(owner)):
        models.define_model(connection, a_definition())
        there = connection.scalar(sa.select(sa.func.count()).select_from(JOBS)) or 0
        jobs = [make(connection, there + number) for number in range(count)]
    if columns:
        connection.execute(sa.update(JOBS).where(JOBS.c.id.in_(jobs)).values(**columns))
    return jobs


def claimed(connection: sa.Connection, most: int = 100) -> str | None:
    row = lifecycle.claim(connection, 0.0, LEASE, most)
    return None if row is None else row.owner


def test_owners_take_turns(connection: sa.Connection) -> None:
    """One with many jobs does not keep the others waiting, whether jobs run side by side or one after the other."""
    queue_of(connection, "alice", 6)
    queue_of(connection, "bob", 2)
    queue_of(connection, "carol", 1)
    side_by_side = [claimed(connection) for _ in range(6)]
    assert side_by_side == ["alice", "bob", "carol", "alice", "bob", "alice"]


def test_owners_take_turns_with_one_job_at_a_time(connection: sa.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    queue_of(connection, "alice", 4)
    queue_of(connection, "bob", 2)
    order = []
    for second in range(6):
        monkeypatch.setattr(lifecycle, "utc_now", lambda second=second: f"2026-01-01T00:00:0{second}.000Z")
        row = lifecycle.claim(connection, 0.0, LEASE)
        assert row is not None
        order.append(row.owner)
        lifecycle.fail(connection, row.id, row.fence, "diverged", "a test")
    assert order == ["alice", "bob", "alice", "bob", "alice", "alice"]


@pytest.mark.sqlite
def test_whose_turn_it_is_is_found_by_indexes(connection: sa.Connection) -> None:
    """A claim holds the right to write, so it must not look at every job for every queued one."""
    query = lifecycle._queued(0.0, 1).compile(connection.engine, compile_kwargs={"literal_binds": True})
    plan = [row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {query}")]
    assert not [step for step in plan if step.startswith("SCAN others")], plan
    assert [step for step in plan if "starts_of_owner" in step], plan


def test_as_many_jobs_of_an_owner_run_as_may(connection: sa.Connection) -> None:
    """Those of the settings, or of the key with which a job was submitted; others do not count."""
    queue_of(connection, "alice", 4)
    queue_of(connection, "bob", 4, running_limit=1)
    queue_of(connection, "carol", 4, running_limit=3)
    found = [claimed(connection, 2) for _ in range(12)]
    assert {owner: found.count(owner) for owner in ("alice", "bob", "carol", None)} == {
        "alice": 2,
        "bob": 1,
        "carol": 3,
        None: 6,
    }
    assert lifecycle.next_due(connection, 2) is None
    assert lifecycle.next_due(connection, 3) == 0.0


def test_a_claim_starts_the_job_once(connection: sa.Connection, job: str, fence: int) -> None:
    row = lifecycle.find(connection, job)
    assert (row.state, row.attempt, row.lease_until) == ("running", 1, LEASE)
    started = row.started_at
    assert started is not None
    lifecycle.stop(connection, job, fence)
    again = lifecycle.claim(connection, 5.0, LEASE)
    assert again is not None
    assert (again.fence, again.started_at, again.lease_until) == (fence + 1, started, 15.0)


def test_success_publishes_the_newest_checkpoint(connection: sa.Connection, job: str, fence: int) -> None:
    save(connection, job, fence, "ckpt_1")
    save(connection, job, fence, "ckpt_2")
    lifecycle.finish(connection, job, fence, publish_version=True)
    document = job_document(lifecycle.find(connection, job))
    assert (document["state"], document["version"], document["checkpoint"]) == ("succeeded", 1, "ckpt_2")
    assert document["finished_at"] is not None
    assert (document["progress"]["fraction"], document["progress"]["eta_seconds"]) == (1.0, 0.0)
    found = versions.resolve(connection, "small", None)
    assert (found.version, found.checkpoint, found.job) == (1, "ckpt_2", job)
    assert found.metrics == PROGRESS.metrics == document["metrics"]
    assert reported_states(connection, job) == ["queued", "running", "succeeded"]


def test_success_without_publishing(connection: sa.Connection, job: str, fence: int) -> None:
    save(connection, job, fence)
    lifecycle.finish(connection, job, fence, publish_version=False)
    assert (state(connection, job), lifecycle.find(connection, job).version) == ("succeeded", None)
    assert versions.alias_target(connection, "small", "latest") is None


def test_failure_is_reported_with_code_and_detail(connection: sa.Connection, job: str, fence: int) -> None:
    lifecycle.fail(connection, job, fence, "diverged", "in step 3")
    document = job_document(lifecycle.find(connection, job))
    assert (document["state"], document["error"]) == ("failed", {"code": "diverged", "detail": "in step 3"})
    last = events_after(connection, job, 0, 100)[-1]
    assert json.loads(last.data) == {"state": "failed", "error": {"code": "diverged", "detail": "in step 3"}}


def test_a_report_answers_what_is_wanted(connection: sa.Connection, job: str, fence: int) -> None:
    assert lifecycle.report(connection, job, fence, PROGRESS) is None
    row = lifecycle.find(connection, job)
    assert (row.epoch, row.step, row.fraction, row.eta_seconds) == (1, 7, 0.1, 3.0)
    lifecycle.pause(connection, job)
    assert lifecycle.report(connection, job, fence, PROGRESS) is Wish.PAUSE
    lifecycle.cancel(connection, job)
    assert lifecycle.report(connection, job, fence, PROGRESS) is Wish.CANCEL


def test_only_a_running_job_says_when_it_will_have_ended(connection: sa.Connection, job: str, fence: int) -> None:
    def eta() -> float | None:
        lifecycle.report(connection, job, lifecycle.find(connection, job).fence, PROGRESS)
        assert lifecycle.find(connection, job).eta_seconds == PROGRESS.eta_seconds
        lifecycle.lose(connection, job, lifecycle.find(connection, job).fence, KILLED, 0.0, 0.0)
        return lifecycle.find(connection, job).eta_seconds

    assert (eta(), state(connection, job)) == (None, "queued")
    lifecycle.claim(connection, 0.0, LEASE)
    lifecycle.pause(connection, job)
    assert (eta(), state(connection, job)) == (None, "paused")
    lifecycle.resume(connection, job)
    again = lifecycle.claim(connection, 0.0, LEASE)
    assert again is not None
    lifecycle.report(connection, job, again.fence, PROGRESS)
    lifecycle.abandon(connection, "small")
    row = lifecycle.find(connection, job)
    assert (row.state, row.eta_seconds) == ("cancelled", None)


class TestLeases:
    """An owner that gives no sign loses its job."""

    def test_a_renewed_lease_holds(self, connection: sa.Connection, job: str, fence: int) -> None:
        lifecycle.expire(connection, LEASE, 0.0)
        assert state(connection, job) == "running"
        lifecycle.renew(connection, job, fence, LEASE, LEASE)
        lifecycle.expire(connection, 2 * LEASE, 0.0)
        assert state(connection, job) == "running"
        lifecycle.expire(connection, 2 * LEASE + 0.001, 0.0)
        row = lifecycle.find(connection, job)
        assert (row.state, row.attempt, row.lease_until, row.deaths) == ("queued", 2, None, 1)

    def test_the_next_one_to_end_is_known(self, connection: sa.Connection, job: str) -> None:
        assert lifecycle.next_lease_end(connection) is None
        other = make(connection, 2)
        fences = {}
        for now in (5.0, 3.0):
            row = lifecycle.claim(connection, now, LEASE)
            assert row is not None
            fences[row.id] = row.fence
        assert lifecycle.next_lease_end(connection) == 3.0 + LEASE
        lifecycle.renew(connection, other, fences[other], 9.0, LEASE)
        assert lifecycle.next_lease_end(connection) == 5.0 + LEASE
        lifecycle.stop(connection, job, fences[job])
        assert lifecycle.next_lease_end(connection) == 9.0 + LEASE

    def test_waiting_jobs_have_no_lease(self, connection: sa.Connection, job: str) -> None:
        lifecycle.expire(connection, 1e12, 0.0)
        assert state(connection, job) == "queued"

    def test_a_loss_is_logged_with_its_cause(self, connection: sa.Connection, job: str, fence: int) -> None:
        lifecycle.lose(connection, job, fence, KILLED, 0.0, 0.0)
        logs = [event for event in events_after(connection, job, 0, 100) if event.type == "log"]
        assert json.loads(logs[0].data) == {
            "level": "warning",
            "message": "worker lost: killed by SIGKILL",
            "code": "worker_lost",
        }


class TestStaleOwners:
    """An owner whose job was taken over changes nothing."""

    CALLS: dict[str, Callable[[sa.Connection, str, int], Any]] = {
        "renew": lambda c, j, f: lifecycle.renew(c, j, f, 100.0, LEASE),
        "report": lambda c, j, f: lifecycle.report(c, j, f, PROGRESS, checkpoint="ckpt_9", deaths=0),
        "finish": lambda c, j, f: lifecycle.finish(c, j, f, publish_version=True),
        "fail": lambda c, j, f: lifecycle.fail(c, j, f, "x", "y"),
        "stop": lifecycle.stop,
        "require_owner": lifecycle.require_owner,
        "find_owned": lifecycle.find_owned,
        "lose": lambda c, j, f: lifecycle.lose(c, j, f, KILLED, 0.0, 0.0),
    }

    @pytest.mark.parametrize("call", CALLS)
    @pytest.mark.parametrize("now", ["running", "queued", "paused", *FINAL])
    def test_nothing_changes(self, connection: sa.Connection, job: str, fence: int, call: str, now: str) -> None:
        lifecycle.lose(connection, job, fence, KILLED, 0.0, 0.0)
        if now != "queued":
            lifecycle.claim(connection, 1.0, LEASE)
        if now == "paused":
            lifecycle.pause(connection, job)
            lifecycle.stop(connection, job, fence + 1)
        elif now == "succeeded":
            save(connection, job, fence + 1)
            lifecycle.finish(connection, job, fence + 1, publish_version=True)
        elif now == "failed":
            lifecycle.fail(connection, job, fence + 1, "diverged", "")
        elif now == "cancelled":
            lifecycle.cancel(connection, job)
            lifecycle.stop(connection, job, fence + 1)
        before = lifecycle.find(connection, job)
        events = len(events_after(connection, job, 0, 100))
        assert before.state == now
        with pytest.raises(StaleError):
            self.CALLS[call](connection, job, fence)
        if now in FINAL or now == "paused":  # nor does the owner of a job that has ended
            with pytest.raises(StaleError):
                self.CALLS[call](connection, job, fence + 1)
        assert lifecycle.find(connection, job) == before
        assert len(events_after(connection, job, 0, 100)) == events
        assert versions.alias_target(connection, "small", "latest") == (1 if now == "succeeded" else None)


class TestDeaths:
    """A job that kills its workers is given up."""

    def lose_once(self, connection: sa.Connection, job: str) -> str:
        row = lifecycle.claim(connection, 0.0, LEASE)
        assert row is not None
        lifecycle.lose(connection, job, row.fence, KILLED, 0.0, 0.0)
        return state(connection, job)

    def test_three_without_a_checkpoint(self, connection: sa.Connection, job: str) -> None:
        assert [self.lose_once(connection, job) for _ in range(MAXIMUM_DEATHS)] == ["queued", "queued", "failed"]
        document = job_document(lifecycle.find(connection, job))
        assert document["error"]["code"] == "worker_lost"
        assert "3 workers were lost" in document["error"]["detail"]
        assert document["attempt"] == 3

    @pytest.mark.parametrize("code", ["worker_lost", "out_of_memory", "crashed"])
    def test_the_last_cause_is_reported(self, connection: sa.Connection, job: str, code: Any) -> None:
        for death in (KILLED, KILLED, JobError(code, "the cause")):
            row = lifecycle.claim(connection, 0.0, LEASE)
            assert row is not None
            lifecycle.lose(connection, job, row.fence, death, 0.0, 0.0)
        error = job_document(lifecycle.find(connection, job))["error"]
        detail = "3 workers were lost without a new checkpoint; the last one: the cause"
        assert error == {"code": code, "detail": detail}

    def test_each_further_try_comes_later(self, connection: sa.Connection, job: str) -> None:
        now, pauses = 100.0, []
        for _ in range(MAXIMUM_DEATHS - 1):
            row = lifecycle.claim(connection, now, LEASE)
            assert row is not None
            lifecycle.lose(connection, job, row.fence, KILLED, now, 1.5)
            due = lifecycle.find(connection, job).not_before
            if due is not None:
                pauses.append(due - now)
                assert not is_due(connection, due - 0.001)
                assert lifecycle.claim(connection, due - 0.001, LEASE) is None
                now = due
            assert is_due(connection, now)
        assert pauses == [1.5], "the first time it does not have to wait"
        row = lifecycle.claim(connection, now, LEASE)
        assert row is not None
        assert row.not_before is None

    def lose_twice(self, connection: sa.Connection, job: str, fence: int) -> None:
        """The job then has to wait for 100 seconds."""
        lifecycle.lose(connection, job, fence, KILLED, 0.0, 100.0)
        again = lifecycle.claim(connection, 0.0, LEASE)
        assert again is not None
        assert again.id == job
        lifecycle.lose(connection, job, again.fence, KILLED, 0.0, 100.0)

    def test_a_job_that_has_to_wait_holds_up_no_other(self, connection: sa.Connection, job: str, fence: int) -> None:
        self.lose_twice(connection, job, fence)
        other = make(connection, 2)
        row = lifecycle.claim(connection, 0.0, LEASE)
        assert row is not None
        assert row.id == other

    def test_whoever_resumes_a_job_does_not_wait(self, connection: sa.Connection, job: str, fence: int) -> None:
        self.lose_twice(connection, job, fence)
        assert not is_due(connection, 0.0)
        lifecycle.pause(connection, job)
        lifecycle.resume(connection, job)
        assert is_due(connection, 0.0)

    def test_a_checkpoint_clears_the_count(self, connection: sa.Connection, job: str) -> None:
        for _ in range(4):
            assert self.lose_once(connection, job) == "queued"
            assert self.lose_once(connection, job) == "queued"
            row = lifecycle.claim(connection, 0.0, LEASE)
            assert row is not None
            save(connection, job, row.fence)
            lifecycle.stop(connection, job, row.fence)
        assert lifecycle.find(connection, job).attempt == 9


class TestWishes:
    """Cancel, pause and resume in every state."""

    def test_cancel_of_a_waiting_job_is_at_once(self, connection: sa.Connection, job: str) -> None:
        row = lifecycle.cancel(connection, job)
        assert row.state == "cancelled"
        assert row.finished_at is not None
        assert lifecycle.claim(connection, 0.0, LEASE) is None

    def test_pause_of_a_waiting_job_is_at_once(self, connection: sa.Connection, job: str) -> None:
        assert lifecycle.pause(connection, job).state == "paused"
        assert lifecycle.claim(connection, 0.0, LEASE) is None
        conflict(lifecycle.pause, connection, job)
        assert lifecycle.resume(connection, job).state == "queued"
        assert lifecycle.claim(connection, 0.0, LEASE) is not None

    def test_cancel_of_a_paused_job_is_at_once(self, connection: sa.Connection, job: str) -> None:
        lifecycle.pause(connection, job)
        assert lifecycle.cancel(connection, job).state == "cancelled"
        assert conflict(lifecycle.cancel, connection, job).endswith("is cancelled: it cannot be cancelled")
        assert conflict(lifecycle.pause, connection, job).endswith("is cancelled: it cannot be paused")

    @pytest.mark.parametrize(("wish", "end"), [("cancel", "cancelled"), ("pause", "paused")])
    def test_a_running_job_ends_its_batch_first(
        self, connection: sa.Connection, job: str, fence: int, wish: Any, end: str
    ) -> None:
        assert getattr(lifecycle, wish)(connection, job).state == "running"
        assert getattr(lifecycle, wish)(connection, job).state == "running"
        lifecycle.stop(connection, job, fence)
        row = lifecycle.find(connection, job)
        assert (row.state, row.wish, row.attempt, row.lease_until) == (end, None, 1, None)

    def test_cancel_overrides_pause_not_the_other_way(self, connection: sa.Connection, job: str, fence: int) -> None:
        lifecycle.pause(connection, job)
        lifecycle.cancel(connection, job)
        conflict(lifecycle.pause, connection, job)
        conflict(lifecycle.resume, connection, job)
        lifecycle.stop(connection, job, fence)
        assert state(connection, job) == "cancelled"

    def test_a_pause_can_be_taken_back_before_it_happens(self, connection: sa.Connection, job: str, fence: int) -> None:
        lifecycle.pause(connection, job)
        assert lifecycle.resume(connection, job).state == "running"
        assert lifecycle.report(connection, job, fence, PROGRESS) is None

    @pytest.mark.parametrize(("wish", "end"), [("cancel", "cancelled"), ("pause", "paused")])
    def test_a_wish_outlives_the_worker(
        self, connection: sa.Connection, job: str, fence: int, wish: Any, end: str
    ) -> None:
        getattr(lifecycle, wish)(connection, job)
        lifecycle.lose(connection, job, fence, KILLED, 0.0, 0.0)
        assert state(connection, job) == end

    def test_a_job_that_ends_before_it_hears_of_a_wish_has_ended(
        self, connection: sa.Connection, job: str, fence: int
    ) -> None:
        save(connection, job, fence)
        lifecycle.cancel(connection, job)
        lifecycle.finish(connection, job, fence, publish_version=True)
        row = lifecycle.find(connection, job)
        assert (row.state, row.wish, row.version) == ("succeeded", None, 1)

    @pytest.mark.parametrize("final", FINAL)
    def test_final_states_stay_final(self, connection: sa.Connection, job: str, fence: int, final: str) -> None:
        if final == "succeeded":
            save(connection, job, fence)
            lifecycle.finish(connection, job, fence, publish_version=True)
        elif final == "failed":
            lifecycle.fail(connection, job, fence, "diverged", "")
        else:
            lifecycle.cancel(connection, job)
            lifecycle.stop(connection, job, fence)
        conflict(lifecycle.cancel, connection, job)
        conflict(lifecycle.pause, connection, job)
        conflict(lifecycle.resume, connection, job)
        lifecycle.abandon(connection, "small")
        lifecycle.expire(connection, 1e12, 0.0)
        assert lifecycle.claim(connection, 0.0, LEASE) is None
        assert state(connection, job) == final

    def test_resume_of_what_is_not_paused(self, connection: sa.Connection, job: str) -> None:
        conflict(lifecycle.resume, connection, job)
        lifecycle.claim(connection, 0.0, LEASE)
        conflict(lifecycle.resume, connection, job)


def test_abandoned_jobs_are_cancelled_and_their_owners_stale(connection: sa.Connection) -> None:
    models.define_model(connection, a_definition(name="other"))
    mine, waiting, theirs = make(connection, 1), make(connection, 2), make(connection, 3, "other")
    row = lifecycle.claim(connection, 0.0, LEASE)
    assert row is not None
    lifecycle.abandon(connection, "small")
    assert [state(connection, job) for job in (mine, waiting, theirs)] == ["cancelled", "cancelled", "queued"]
    with pytest.raises(StaleError):
        lifecycle.report(connection, mine, row.fence, PROGRESS)


def test_rows_of_ended_jobs_are_dropped_and_named_ones_kept(connection: sa.Connection) -> None:
    def add(key: str, name: str | None) -> None:
        values = {"id": key, "name": name, "rows": 1, "features": ["a"], "classes": [0, 1], "created_at": ""}
        add_dataset(connection, values, FileRecord(1, ""))

    for key, name in (("ds_a", None), ("ds_b", None), ("ds_c", "kept"), ("ds_v", None)):
        add(key, name)
    for number, (rows, held_out) in enumerate([("ds_a", "ds_v"), ("ds_b", None), ("ds_c", None)]):
        job = make(connection, number)
        values = {"dataset": rows, "validation_dataset": held_out}
        connection.execute(sa.update(JOBS).where(JOBS.c.id == job).values(**values))
    assert lifecycle.drop_finished_data(connection) == []
    lifecycle.pause(connection, "job_0000")
    lifecycle.cancel(connection, "job_0001")
    lifecycle.cancel(connection, "job_0002")
    assert lifecycle.drop_finished_data(connection) == ["ds_b"]
    lifecycle.cancel(connection, "job_0000")
    assert sorted(lifecycle.drop_finished_data(connection)) == ["ds_a", "ds_v"]
    assert find_dataset(connection, "kept").id == "ds_c"


def test_history_is_the_epochs_in_order(connection: sa.Connection, job: str) -> None:
    other = make(connection, 2)
    first, second = (EpochEvent(Epoch(number, 0.5, 0.75, None, None, 0.01, 1.5)) for number in (1, 2))
    add_events(connection, job, [second, LostEvent(KILLED)])
    add_events(connection, other, [first])
    add_events(connection, job, [first])
    found = [(place, json.loads(text)) for place, text in list_epochs(connection, job, HistoryPlace(0, 0), 9)]
    assert found == [((0, 1), first.data()), ((0, 2), second.data())]
    assert [*second.data()] == [
        *("epoch", "loss", "accuracy", "validation_loss", "validation_accuracy", "learning_rate", "seconds"),
        "validation_log_loss",
    ]
    assert [place for place, _ in list_epochs(connection, job, HistoryPlace(0, 0), 1)] == [(0, 1)]
    assert [place for place, _ in list_epochs(connection, job, HistoryPlace(0, 1), 9)] == [(0, 2)]
    assert list_epochs(connection, job, HistoryPlace(0, 2), 9) == []
    assert (newest_epochs(connection, job), newest_epochs(connection, "none")) == ({0: 2}, {})


def test_history_of_members_is_member_after_member(connection: sa.Connection, job: str) -> None:
    events = [
        EpochEvent(Epoch(number, 0.5, 0.75, None, None, 0.01, 1.5), member)
        for number, member in [(1, 2), (1, 1), (2, 1), (2, 2), (3, 2)]
    ]
    add_events(connection, job, events)
    begin = HistoryPlace(0, 0)
    assert [place for place, _ in list_epochs(connection, job, begin, 9)] == [(1, 1), (1, 2), (2, 1), (2, 2), (2, 3)]
    assert [place for place, _ in list_epochs(connection, job, HistoryPlace(1, 2), 2)] == [(2, 1), (2, 2)]
    assert [place for place, _ in list_epochs(connection, job, begin, 9, member=2)] == [(2, 1), (2, 2), (2, 3)]
    assert json.loads(list_epochs(connection, job, begin, 1)[0][1])["member"] == 1
    assert newest_epochs(connection, job) == {1: 2, 2: 3}
    with pytest.raises(sa.exc.IntegrityError), connection.begin_nested():
        add_events(connection, job, [events[0]])


def test_waits_and_ends_are_counted(connection: sa.Connection) -> None:
    """The wait of each time that a job was queued, without what a lost job must wait before it is tried again."""
    first, second = make(connection, 1), make(connection, 2)
    begin = connection.scalar(sa.select(JOBS.c.queued_at).where(JOBS.c.id == first))
    connection.execute(sa.update(JOBS).where(JOBS.c.id == second).values(queued_at=begin + 1.0))
    assert lifecycle.oldest_wait(connection, begin + 5.0) == 5.0
    held = lifecycle.claim(connection, begin + 3.0, 10.0)
    assert held is not None
    assert held.id == first
    assert lifecycle.oldest_wait(connection, begin + 5.0) == 4.0
    assert lifecycle.oldest_wait(connection, begin - 3600.0) == 0.0  # if the clock was set back
    found = totals(connection)
    assert (found[Total.QUEUE_WAITS], found[Total.QUEUE_WAIT_SECONDS]) == (1, 3.0)
    lifecycle.cancel(connection, second)
    assert lifecycle.oldest_wait(connection, begin + 5.0) == 0.0
    for _ in range(2):
        lifecycle.lose(connection, first, held.fence, JobError("worker_lost", ""), begin + 10.0, 100.0)
        connection.execute(sa.update(JOBS).where(JOBS.c.id == first).values(queued_at=begin + 10.0))
        held = lifecycle.claim(connection, begin + 1_000.0, 10.0)
        assert held is not None
    found = totals(connection)
    assert found[Total.QUEUE_WAITS] == 3
    assert found[Total.QUEUE_WAIT_SECONDS] == pytest.approx(3.0 + 990.0 + 890.0)
    lifecycle.fail(connection, first, held.fence, "diverged", "")
    found = totals(connection)
    assert [found[Total(f"jobs_{state}")] for state in FINAL] == [0, 1, 1]
