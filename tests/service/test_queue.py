"""The life of a job as transitions of its row: one by one, and as a machine that takes random steps."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule

from models import registry, versions
from models.errors import ConflictError, MissingError
from models.files import FileRecord
from models.records import add_checkpoint, add_dataset, dataset
from models.tables import CHECKPOINTS
from service import queue
from service.database import JOBS, Database
from service.deaths import Death
from service.queue import ACTIVE, FINAL, MAXIMUM_DEATHS, Progress, StaleError
from service.settings import Settings
from tests.models.runs import a_definition

LEASE = 10.0
PROGRESS = Progress(
    1, 7, 0.1, 3.0, {"loss": 0.5, "accuracy": 0.75, "validation_loss": None, "validation_accuracy": None}
)


def make(connection: sa.Connection, number: int, model: str = "small") -> str:
    job_id = f"job_{number:04}"
    queue.create(
        connection,
        {
            "id": job_id,
            "model": model,
            "request": json.dumps({"epochs": 10, "publish": True}),
            "dataset": "ds_1",
            "validation_dataset": None,
            "epochs": 10,
        },
    )
    return job_id


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[sa.Connection]:
    database = Database(Settings.read({"TRAINYARD_DATA": str(tmp_path)}))
    database.migrate()
    with database.write() as opened:
        registry.define(opened, a_definition())
        yield opened
    database.dispose()


@pytest.fixture
def job(connection: sa.Connection) -> str:
    return make(connection, 1)


@pytest.fixture
def fence(connection: sa.Connection, job: str) -> int:
    """The number under which the job is held."""
    row = queue.claim(connection, 0.0, LEASE)
    assert row is not None
    assert row.id == job
    return int(row.fence)


def state(connection: sa.Connection, job: str) -> str:
    return str(queue.find(connection, job).state)


def states_told(connection: sa.Connection, job: str) -> list[str]:
    events = queue.events_after(connection, job, 0, 1000)
    return [json.loads(event.data)["state"] for event in events if event.type == "state"]


def conflict(call: Callable[..., Any], *arguments: Any) -> str:
    with pytest.raises(ConflictError) as refusal:
        call(*arguments)
    assert refusal.value.code == "wrong_state"
    return refusal.value.detail


def save(connection: sa.Connection, job: str, fence: int, checkpoint: str = "ckpt_1") -> None:
    queue.report(connection, job, fence, PROGRESS, checkpoint=checkpoint, deaths=0)
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
    document = queue.document(queue.find(connection, job))
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
        "checkpoint": None,
        "version": None,
        "error": None,
        "request": {"epochs": 10, "publish": True},
    }
    assert queue.any_queued(connection)


def test_an_unknown_job_is_missing(connection: sa.Connection) -> None:
    for call in (queue.find, lambda c, j: queue.ask(c, j, "cancel"), queue.resume):
        with pytest.raises(MissingError):
            call(connection, "job_none")


def test_the_oldest_job_is_claimed_first(connection: sa.Connection) -> None:
    made = [make(connection, number) for number in (3, 1, 2)]
    claimed = [queue.claim(connection, 0.0, LEASE) for _ in made]
    assert [row.id for row in claimed if row is not None] == sorted(made)
    assert queue.claim(connection, 0.0, LEASE) is None
    assert not queue.any_queued(connection)


def test_a_claim_starts_the_job_once(connection: sa.Connection, job: str, fence: int) -> None:
    row = queue.find(connection, job)
    assert (row.state, row.attempt, row.lease_until) == ("running", 1, LEASE)
    started = row.started_at
    assert started is not None
    queue.stop(connection, job, fence)
    again = queue.claim(connection, 5.0, LEASE)
    assert again is not None
    assert (again.fence, again.started_at, again.lease_until) == (fence + 1, started, 15.0)


def test_success_publishes_the_newest_checkpoint(connection: sa.Connection, job: str, fence: int) -> None:
    save(connection, job, fence, "ckpt_1")
    save(connection, job, fence, "ckpt_2")
    queue.finish(connection, job, fence, publish_version=True)
    document = queue.document(queue.find(connection, job))
    assert (document["state"], document["version"], document["checkpoint"]) == ("succeeded", 1, "ckpt_2")
    assert document["finished_at"] is not None
    assert (document["progress"]["fraction"], document["progress"]["eta_seconds"]) == (1.0, 0.0)
    found = versions.resolve(connection, "small", None)
    assert (found["version"], found["checkpoint"], found["job"]) == (1, "ckpt_2", job)
    assert found["metrics"] == PROGRESS.metrics == document["metrics"]
    assert states_told(connection, job) == ["queued", "running", "succeeded"]


def test_success_without_publishing(connection: sa.Connection, job: str, fence: int) -> None:
    save(connection, job, fence)
    queue.finish(connection, job, fence, publish_version=False)
    assert (state(connection, job), queue.find(connection, job).version) == ("succeeded", None)
    assert versions.newest_of(connection, "small") is None


def test_failure_is_told_with_code_and_detail(connection: sa.Connection, job: str, fence: int) -> None:
    queue.fail(connection, job, fence, "diverged", "in step 3")
    document = queue.document(queue.find(connection, job))
    assert (document["state"], document["error"]) == ("failed", {"code": "diverged", "detail": "in step 3"})
    last = queue.events_after(connection, job, 0, 100)[-1]
    assert json.loads(last.data) == {"state": "failed", "error": {"code": "diverged", "detail": "in step 3"}}


def test_a_report_answers_what_is_wanted(connection: sa.Connection, job: str, fence: int) -> None:
    assert queue.report(connection, job, fence, PROGRESS) is None
    row = queue.find(connection, job)
    assert (row.epoch, row.step, row.fraction, row.eta_seconds) == (1, 7, 0.1, 3.0)
    queue.ask(connection, job, "pause")
    assert queue.report(connection, job, fence, PROGRESS) == "pause"
    queue.ask(connection, job, "cancel")
    assert queue.report(connection, job, fence, PROGRESS) == "cancel"


def test_only_a_running_job_says_when_it_will_have_ended(connection: sa.Connection, job: str, fence: int) -> None:
    def eta() -> float | None:
        queue.report(connection, job, queue.find(connection, job).fence, PROGRESS)
        assert queue.find(connection, job).eta_seconds == PROGRESS.eta_seconds
        queue.lose(connection, job, queue.find(connection, job).fence, Death("worker_lost", "killed"))
        return queue.find(connection, job).eta_seconds

    assert (eta(), state(connection, job)) == (None, "queued")
    queue.claim(connection, 0.0, LEASE)
    queue.ask(connection, job, "pause")
    assert (eta(), state(connection, job)) == (None, "paused")
    queue.resume(connection, job)
    again = queue.claim(connection, 0.0, LEASE)
    assert again is not None
    queue.report(connection, job, again.fence, PROGRESS)
    queue.abandon(connection, "small")
    row = queue.find(connection, job)
    assert (row.state, row.eta_seconds) == ("cancelled", None)


class TestLeases:
    """An owner that gives no sign loses its job."""

    def test_a_renewed_lease_holds(self, connection: sa.Connection, job: str, fence: int) -> None:
        queue.expire(connection, LEASE)
        assert state(connection, job) == "running"
        queue.renew(connection, job, fence, LEASE, LEASE)
        queue.expire(connection, 2 * LEASE)
        assert state(connection, job) == "running"
        queue.expire(connection, 2 * LEASE + 0.001)
        row = queue.find(connection, job)
        assert (row.state, row.attempt, row.lease_until, row.deaths) == ("queued", 2, None, 1)

    def test_waiting_jobs_have_no_lease(self, connection: sa.Connection, job: str) -> None:
        queue.expire(connection, 1e12)
        assert state(connection, job) == "queued"

    def test_a_loss_is_logged_with_its_cause(self, connection: sa.Connection, job: str, fence: int) -> None:
        queue.lose(connection, job, fence, Death("worker_lost", "killed by SIGKILL"))
        logs = [event for event in queue.events_after(connection, job, 0, 100) if event.type == "log"]
        told = {"level": "warning", "message": "worker lost: killed by SIGKILL", "code": "worker_lost"}
        assert json.loads(logs[0].data) == told


class TestStaleOwners:
    """Whoever is no longer the owner changes nothing."""

    CALLS: dict[str, Callable[[sa.Connection, str, int], Any]] = {
        "renew": lambda c, j, f: queue.renew(c, j, f, 100.0, LEASE),
        "report": lambda c, j, f: queue.report(c, j, f, PROGRESS, checkpoint="ckpt_9", deaths=0),
        "finish": lambda c, j, f: queue.finish(c, j, f, publish_version=True),
        "fail": lambda c, j, f: queue.fail(c, j, f, "x", "y"),
        "stop": queue.stop,
        "lose": lambda c, j, f: queue.lose(c, j, f, Death("worker_lost", "z")),
    }

    @pytest.mark.parametrize("call", CALLS)
    @pytest.mark.parametrize("now", ["running", "queued", "paused", *FINAL])
    def test_nothing_changes(self, connection: sa.Connection, job: str, fence: int, call: str, now: str) -> None:
        queue.lose(connection, job, fence, Death("worker_lost", "thought dead"))
        if now != "queued":
            queue.claim(connection, 1.0, LEASE)
        if now == "paused":
            queue.ask(connection, job, "pause")
            queue.stop(connection, job, fence + 1)
        elif now == "succeeded":
            save(connection, job, fence + 1)
            queue.finish(connection, job, fence + 1, publish_version=True)
        elif now == "failed":
            queue.fail(connection, job, fence + 1, "diverged", "")
        elif now == "cancelled":
            queue.ask(connection, job, "cancel")
            queue.stop(connection, job, fence + 1)
        before = queue.find(connection, job)
        events = len(queue.events_after(connection, job, 0, 100))
        assert before.state == now
        with pytest.raises(StaleError):
            self.CALLS[call](connection, job, fence)
        if now in FINAL or now == "paused":  # nor does the owner of a job that has ended
            with pytest.raises(StaleError):
                self.CALLS[call](connection, job, fence + 1)
        assert queue.find(connection, job) == before
        assert len(queue.events_after(connection, job, 0, 100)) == events
        assert versions.newest_of(connection, "small") == (1 if now == "succeeded" else None)


class TestDeaths:
    """A job that kills its workers is given up."""

    def lose_once(self, connection: sa.Connection, job: str) -> str:
        row = queue.claim(connection, 0.0, LEASE)
        assert row is not None
        queue.lose(connection, job, row.fence, Death("worker_lost", "killed"))
        return state(connection, job)

    def test_three_without_a_checkpoint(self, connection: sa.Connection, job: str) -> None:
        assert [self.lose_once(connection, job) for _ in range(MAXIMUM_DEATHS)] == ["queued", "queued", "failed"]
        document = queue.document(queue.find(connection, job))
        assert document["error"]["code"] == "worker_lost"
        assert "3 workers were lost" in document["error"]["detail"]
        assert document["attempt"] == 3

    def test_a_checkpoint_clears_the_count(self, connection: sa.Connection, job: str) -> None:
        for _ in range(4):
            assert self.lose_once(connection, job) == "queued"
            assert self.lose_once(connection, job) == "queued"
            row = queue.claim(connection, 0.0, LEASE)
            assert row is not None
            save(connection, job, row.fence)
            queue.stop(connection, job, row.fence)
        assert queue.find(connection, job).attempt == 9


class TestWishes:
    """Cancel, pause and resume in every state."""

    def test_cancel_of_a_waiting_job_is_at_once(self, connection: sa.Connection, job: str) -> None:
        row = queue.ask(connection, job, "cancel")
        assert row.state == "cancelled"
        assert row.finished_at is not None
        assert queue.claim(connection, 0.0, LEASE) is None

    def test_pause_of_a_waiting_job_is_at_once(self, connection: sa.Connection, job: str) -> None:
        assert queue.ask(connection, job, "pause").state == "paused"
        assert queue.claim(connection, 0.0, LEASE) is None
        conflict(queue.ask, connection, job, "pause")
        assert queue.resume(connection, job).state == "queued"
        assert queue.claim(connection, 0.0, LEASE) is not None

    def test_cancel_of_a_paused_job_is_at_once(self, connection: sa.Connection, job: str) -> None:
        queue.ask(connection, job, "pause")
        assert queue.ask(connection, job, "cancel").state == "cancelled"
        assert conflict(queue.ask, connection, job, "cancel").endswith("is cancelled: it cannot be cancelled")
        assert conflict(queue.ask, connection, job, "pause").endswith("is cancelled: it cannot be paused")

    @pytest.mark.parametrize(("wish", "end"), [("cancel", "cancelled"), ("pause", "paused")])
    def test_a_running_job_ends_its_batch_first(
        self, connection: sa.Connection, job: str, fence: int, wish: Any, end: str
    ) -> None:
        assert queue.ask(connection, job, wish).state == "running"
        assert queue.ask(connection, job, wish).state == "running"
        queue.stop(connection, job, fence)
        row = queue.find(connection, job)
        assert (row.state, row.wanted, row.attempt, row.lease_until) == (end, None, 1, None)

    def test_cancel_overrides_pause_not_the_other_way(self, connection: sa.Connection, job: str, fence: int) -> None:
        queue.ask(connection, job, "pause")
        queue.ask(connection, job, "cancel")
        conflict(queue.ask, connection, job, "pause")
        conflict(queue.resume, connection, job)
        queue.stop(connection, job, fence)
        assert state(connection, job) == "cancelled"

    def test_a_pause_can_be_taken_back_before_it_happens(self, connection: sa.Connection, job: str, fence: int) -> None:
        queue.ask(connection, job, "pause")
        assert queue.resume(connection, job).state == "running"
        assert queue.report(connection, job, fence, PROGRESS) is None

    @pytest.mark.parametrize(("wish", "end"), [("cancel", "cancelled"), ("pause", "paused")])
    def test_a_wish_outlives_the_worker(
        self, connection: sa.Connection, job: str, fence: int, wish: Any, end: str
    ) -> None:
        queue.ask(connection, job, wish)
        queue.lose(connection, job, fence, Death("worker_lost", "killed"))
        assert state(connection, job) == end

    def test_a_job_that_ends_before_it_hears_of_a_wish_has_ended(
        self, connection: sa.Connection, job: str, fence: int
    ) -> None:
        save(connection, job, fence)
        queue.ask(connection, job, "cancel")
        queue.finish(connection, job, fence, publish_version=True)
        row = queue.find(connection, job)
        assert (row.state, row.wanted, row.version) == ("succeeded", None, 1)

    @pytest.mark.parametrize("final", FINAL)
    def test_final_states_stay_final(self, connection: sa.Connection, job: str, fence: int, final: str) -> None:
        if final == "succeeded":
            save(connection, job, fence)
            queue.finish(connection, job, fence, publish_version=True)
        elif final == "failed":
            queue.fail(connection, job, fence, "diverged", "")
        else:
            queue.ask(connection, job, "cancel")
            queue.stop(connection, job, fence)
        conflict(queue.ask, connection, job, "cancel")
        conflict(queue.ask, connection, job, "pause")
        conflict(queue.resume, connection, job)
        queue.abandon(connection, "small")
        queue.expire(connection, 1e12)
        assert queue.claim(connection, 0.0, LEASE) is None
        assert state(connection, job) == final

    def test_resume_of_what_is_not_paused(self, connection: sa.Connection, job: str) -> None:
        conflict(queue.resume, connection, job)
        queue.claim(connection, 0.0, LEASE)
        conflict(queue.resume, connection, job)


def test_abandoned_jobs_are_cancelled_and_their_owners_stale(connection: sa.Connection) -> None:
    registry.define(connection, a_definition(name="other"))
    mine, waiting, theirs = make(connection, 1), make(connection, 2), make(connection, 3, "other")
    row = queue.claim(connection, 0.0, LEASE)
    assert row is not None
    queue.abandon(connection, "small")
    assert [state(connection, job) for job in (mine, waiting, theirs)] == ["cancelled", "cancelled", "queued"]
    with pytest.raises(StaleError):
        queue.report(connection, mine, row.fence, PROGRESS)


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
    assert queue.drop_finished_data(connection) == []
    queue.ask(connection, "job_0000", "pause")
    queue.ask(connection, "job_0001", "cancel")
    queue.ask(connection, "job_0002", "cancel")
    assert queue.drop_finished_data(connection) == ["ds_b"]
    queue.ask(connection, "job_0000", "cancel")
    assert sorted(queue.drop_finished_data(connection)) == ["ds_a", "ds_v"]
    assert dataset(connection, "kept")["id"] == "ds_c"


def test_history_is_the_epochs_in_order(connection: sa.Connection, job: str) -> None:
    other = make(connection, 2)
    queue.add_events(connection, job, [("epoch", 2, {"epoch": 2}), ("log", None, {"level": "info"})])
    queue.add_events(connection, other, [("epoch", 1, {"epoch": 1})])
    queue.add_events(connection, job, [("epoch", 1, {"epoch": 1})])
    assert [json.loads(text)["epoch"] for text in queue.history(connection, job)] == [1, 2]
    assert (queue.newest_epoch(connection, job), queue.newest_epoch(connection, "none")) == (2, 0)


class Life(RuleBasedStateMachine):
    """Random steps of clients, owners and the clock, beside a plain model of what each job must be."""

    jobs = Bundle("jobs")

    @initialize()
    def begin(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.database = Database(Settings.read({"TRAINYARD_DATA": self.folder.name}))
        self.database.migrate()
        # One transaction for the whole life, since a flush to the disk for every step would only be slow.
        self.transaction = self.database.write()
        self.connection = self.transaction.__enter__()
        registry.define(self.connection, a_definition())
        self.now = 0.0
        self.count = self.published = 0
        #: By job: its state, attempt, deaths, fence, wish, end of lease.
        self.known: dict[str, dict[str, Any]] = {}

    def teardown(self) -> None:
        if hasattr(self, "transaction"):
            self.transaction.__exit__(None, None, None)
            self.database.dispose()
            self.folder.cleanup()

    @rule(target=jobs)
    def create(self) -> str:
        self.count += 1
        job = make(self.connection, self.count)
        self.known[job] = {"state": "queued", "attempt": 1, "deaths": 0, "fence": 0, "wish": None, "until": None}
        return job

    @rule()
    def claim(self) -> None:
        waiting = sorted(job for job, known in self.known.items() if known["state"] == "queued")
        assert queue.any_queued(self.connection) is bool(waiting)
        row = queue.claim(self.connection, self.now, LEASE)
        assert (row and row.id) == (waiting[0] if waiting else None)
        if row is not None:
            known = self.known[row.id]
            known.update(state="running", fence=known["fence"] + 1, wish=None, until=self.now + LEASE)
            assert row.fence == known["fence"]

    @rule(seconds=st.floats(0.1, 8.0))
    def time_goes_by(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def expire(self) -> None:
        queue.expire(self.connection, self.now)
        for job, known in self.known.items():
            if known["state"] == "running" and known["until"] < self.now:
                self.has_lost(job)

    def has_lost(self, job: str) -> None:
        known = self.known[job]
        known["deaths"] += 1
        if known["wish"] == "cancel":
            known["state"] = "cancelled"
        elif known["deaths"] >= MAXIMUM_DEATHS:
            known["state"] = "failed"
        else:
            known.update(state="paused" if known["wish"] == "pause" else "queued", attempt=known["attempt"] + 1)
        known["wish"] = None

    @rule(job=jobs, age=st.integers(0, 2), act=st.sampled_from(["renew", "save", "finish", "fail", "stop", "lose"]))
    def owner_acts(self, job: str, age: int, act: str) -> None:
        known = self.known[job]
        fence = known["fence"] - age
        calls: dict[str, Callable[[], Any]] = {
            "renew": lambda: queue.renew(self.connection, job, fence, self.now, LEASE),
            "save": lambda: save(self.connection, job, fence),
            "finish": lambda: queue.finish(self.connection, job, fence, publish_version=True),
            "fail": lambda: queue.fail(self.connection, job, fence, "diverged", "because"),
            "stop": lambda: queue.stop(self.connection, job, fence),
            "lose": lambda: queue.lose(self.connection, job, fence, Death("worker_lost", "killed")),
        }
        if age or known["state"] != "running":
            with pytest.raises(StaleError):
                calls[act]()
            return
        if act == "finish":  # A runner saves its last state before it says that it has finished.
            save(self.connection, job, fence)
        calls[act]()
        if act == "renew":
            known["until"] = self.now + LEASE
        elif act == "save":
            known["deaths"] = 0
        elif act == "finish":
            known.update(state="succeeded", wish=None, deaths=0)
            self.published += 1
        elif act == "fail":
            known.update(state="failed", wish=None)
        elif act == "stop":
            ends = {"cancel": "cancelled", "pause": "paused", None: "queued"}
            known.update(state=ends[known["wish"]], wish=None)
        else:
            self.has_lost(job)

    @rule(job=jobs)
    def cancel(self, job: str) -> None:
        known = self.known[job]
        if known["state"] in FINAL:
            conflict(queue.ask, self.connection, job, "cancel")
            return
        queue.ask(self.connection, job, "cancel")
        if known["state"] == "running":
            known["wish"] = "cancel"
        else:
            known["state"] = "cancelled"

    @rule(job=jobs)
    def pause(self, job: str) -> None:
        known = self.known[job]
        if known["state"] in (*FINAL, "paused") or known["wish"] == "cancel":
            conflict(queue.ask, self.connection, job, "pause")
            return
        queue.ask(self.connection, job, "pause")
        if known["state"] == "running":
            known["wish"] = "pause"
        else:
            known["state"] = "paused"

    @rule(job=jobs)
    def resume(self, job: str) -> None:
        known = self.known[job]
        if known["state"] == "running" and known["wish"] == "pause":
            queue.resume(self.connection, job)
            known["wish"] = None
        elif known["state"] == "paused":
            queue.resume(self.connection, job)
            known["state"] = "queued"
        else:
            conflict(queue.resume, self.connection, job)

    @invariant()
    def rows_are_as_expected(self) -> None:
        for job, known in getattr(self, "known", {}).items():
            row = queue.find(self.connection, job)
            told = {"state": row.state, "attempt": row.attempt, "deaths": row.deaths, "fence": row.fence}
            assert told == {name: known[name] for name in told}
            assert row.wanted == known["wish"]
            assert (row.finished_at is not None) is (row.state in FINAL)
            assert (row.error is not None) is (row.state == "failed")
            assert (row.version is not None) is (row.state == "succeeded")
            assert (row.lease_until is not None) is (row.state == "running")
            assert row.state in (*ACTIVE, *FINAL)
            told_last = states_told(self.connection, job)[-1]
            assert told_last == row.state
        if hasattr(self, "published"):
            assert (versions.newest_of(self.connection, "small") or 0) == self.published


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
