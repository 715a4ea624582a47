"""The trainer over an engine in memory: what it claims, renews, records and gives back. No process is started."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from time import time
from typing import Any

import pytest
import sqlalchemy as sa
import sqlalchemy.event

from models.formats.durable import FileRecord
from models.registry import models
from models.registry.checkpoints import add_checkpoint
from models.registry.datasets import add_dataset
from reliability.lives import make_job
from service.jobs import lifecycle, trainer
from service.jobs.engines.engine import Order
from service.jobs.events import events_after
from service.jobs.outcome import Died, Failed, Finished, Outcome, Stale, Stopped
from service.jobs.record import Job, JobError, State
from service.jobs.trainer import Trainer
from service.settings import Settings
from service.store.files import FileKind
from service.store.tables import JOBS, TRAINERS
from testing.databases import place_database
from testing.engines import MemoryEngine, MemoryPlacement
from testing.harness import ROOT, eventually
from testing.runs import a_definition

KILLED = JobError("worker_lost", "killed by SIGKILL")
#: No heartbeat is due in a test but the first one.
SETTINGS = {"TRAINYARD_LEASE_SECONDS": "3600", "TRAINYARD_RETRY_SECONDS": "60", "TRAINYARD_PARALLEL_JOBS": "2"}


class House:
    """A trainer, its engine, and a database with one model."""

    def __init__(self, folder: Path) -> None:
        self.engine = MemoryEngine()
        place_database(folder)
        settings = Settings.read({**SETTINGS, "TRAINYARD_DATA": str(folder)})
        self.trainer = Trainer(settings, self.engine, while_web_lives=False)
        self.database = self.trainer.database
        with self.database.write() as connection:
            models.define_model(connection, a_definition())

    def queue(self, number: int = 1) -> str:
        with self.database.write() as connection:
            return make_job(connection, number)

    def place(self, number: int = 1) -> MemoryPlacement:
        """A job in the hands of a runner."""
        job_id = self.queue(number)
        self.trainer.turn()
        placement = self.engine.placements[-1]
        assert placement.order.job == job_id
        return placement

    def job(self, job_id: str) -> Job:
        with self.database.read() as connection:
            return lifecycle.find(connection, job_id)

    def save(self, order: Order) -> None:
        """What a runner does before it says that it has finished."""
        values = {"id": "ckpt_1", "model": "small", "job": order.job, "kind": "last", "epoch": 1, "step": 1}
        with self.database.write() as connection:
            progress = lifecycle.Progress(1, 1, 1.0, 0.0, None)
            lifecycle.report(connection, order.job, order.fence, progress, checkpoint="ckpt_1", deaths=0)
            add_checkpoint(connection, {**values, "metrics": "{}", "created_at": ""}, FileRecord(1, "00"))


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    built = House(tmp_path)
    yield built
    built.database.dispose()


def test_jobs_are_claimed_as_they_came_and_as_many_as_are_allowed(house: House) -> None:
    jobs = [house.queue(number) for number in (1, 2, 3)]
    for _ in range(4):
        house.trainer.turn()
    assert [placement.order for placement in house.engine.placements] == [Order(job, 1) for job in jobs[:2]]
    assert [house.job(job).state for job in jobs] == [State.RUNNING, State.RUNNING, State.QUEUED]
    house.engine.placements[0].ended = Stopped()
    house.trainer.turn()
    # The one that stopped is older than the one that waited.
    assert house.engine.placements[2].order == Order(jobs[0], 2)


def test_no_job_is_claimed_that_cannot_be_placed(house: House) -> None:
    house.engine.capacity = 0
    job = house.queue()
    house.trainer.turn()
    assert house.job(job).state is State.QUEUED
    house.engine.capacity = 1
    house.trainer.turn()
    assert house.job(job).state is State.RUNNING


@pytest.mark.parametrize(
    ("outcome", "state", "error"),
    [
        (Finished(), State.SUCCEEDED, None),
        (Stopped(), State.QUEUED, None),
        (Failed("diverged", "in step 3"), State.FAILED, JobError("diverged", "in step 3")),
        (Died(KILLED), State.QUEUED, None),
    ],
)
def test_an_outcome_is_recorded(house: House, outcome: Outcome, state: State, error: JobError | None) -> None:
    placement = house.place()
    house.save(placement.order)
    house.engine.capacity = 1  # Nothing is claimed again.
    placement.ended = outcome
    house.trainer.turn()
    job = house.job(placement.order.job)
    assert (job.state, job.error) == (state, error)
    assert job.version == (1 if state is State.SUCCEEDED else None)
    assert (job.attempt, job.deaths) == ((2, 1) if isinstance(outcome, Died) else (1, 0))
    before = job
    house.trainer.turn()
    assert house.job(job.id) == before


def test_a_job_that_publishes_nothing_succeeds_without_a_version(house: House) -> None:
    placement = house.place()
    house.save(placement.order)
    with house.database.write() as connection:
        connection.execute(sa.update(JOBS).values(request='{"publish": false}'))
    house.engine.capacity = 1
    # The trainer goes by the request as it was claimed.
    placement.ended = Stopped()
    house.trainer.turn()
    house.engine.capacity = 2
    house.trainer.turn()
    house.engine.placements[1].ended = Finished()
    house.trainer.turn()
    job = house.job(placement.order.job)
    assert (job.state, job.version) == (State.SUCCEEDED, None)


@pytest.mark.parametrize("outcome", [Finished(), Stopped(), Failed("diverged", ""), Died(KILLED), Stale()])
def test_the_end_of_a_runner_whose_job_was_taken_over_changes_nothing(house: House, outcome: Outcome) -> None:
    placement = house.place()
    job_id = placement.order.job
    with house.database.write() as connection:
        lifecycle.lose(connection, job_id, placement.order.fence, KILLED, 0.0, 0.0)
        lifecycle.claim(connection, 0.0, 1e12)
    before = house.job(job_id)
    placement.ended = outcome
    house.trainer.turn()
    assert house.job(job_id) == before
    assert (before.state, before.fence) == (State.RUNNING, 2)


def test_a_heartbeat_renews_leases_and_kills_runners_whose_job_was_taken_away(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine, lost = house.place(1), house.place(2)
    ends = [house.job(one.order.job).lease_until for one in (mine, lost)]
    with house.database.write() as connection:
        lifecycle.lose(connection, lost.order.job, lost.order.fence, KILLED, 0.0, 0.0)
    now = monotonic_of_trainer(monkeypatch)
    now[0] += 900.0
    house.trainer.turn()
    renewed = house.job(mine.order.job).lease_until
    assert renewed is not None
    assert ends[0] is not None
    assert renewed > ends[0]
    assert (mine.killed, lost.killed) == (False, True)


def test_a_heartbeat_expires_the_leases_of_dead_trainers(house: House) -> None:
    job_id = house.queue()
    with house.database.write() as connection:
        lifecycle.claim(connection, time() - 100.0, 50.0)
    house.trainer.turn()
    job = house.job(job_id)
    # Lost once, it may be claimed at once, which the same turn does.
    assert (job.state, job.attempt, job.fence) == (State.RUNNING, 2, 2)
    with house.database.read() as connection:
        reported = [event.data for event in events_after(connection, job_id, 0, 100) if event.type == "log"]
    assert len(reported) == 1
    assert "sent no heartbeat" in reported[0]


def test_rows_of_jobs_that_have_ended_are_deleted(house: House) -> None:
    path = house.trainer.files.path(FileKind.DATASET, "ds_1")
    path.write_bytes(b"rows")
    with house.database.write() as connection:
        values = {"id": "ds_1", "name": None, "rows": 1, "features": ["a"], "classes": [0, 1], "created_at": ""}
        add_dataset(connection, values, FileRecord(4, "00"))
        lifecycle.cancel(connection, make_job(connection, 1))
    house.trainer.turn()
    assert not path.exists()


class TestIdle:
    """A trainer that has nothing to do hardly writes, and asks nothing twice."""

    @pytest.fixture
    def clock(self, house: House, monkeypatch: pytest.MonkeyPatch) -> list[float]:
        """The trainer's clocks, of which a test moves the hands by ``clock[0] += seconds``."""
        now = monotonic_of_trainer(monkeypatch)
        begin = now[0]
        monkeypatch.setattr(house.trainer.database, "now", lambda *_: 1e9 + now[0] - begin)
        return now

    @pytest.fixture
    def statements(self, house: House) -> list[str]:
        """What is sent to the database from now on, without what only one kind of database needs."""
        found: list[str] = []

        def note(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
            if statement.startswith("SELECT pg_advisory_xact_lock"):
                found.append("BEGIN IMMEDIATE")
            elif not statement.startswith("PRAGMA"):
                found.append(statement)

        sqlalchemy.event.listen(house.database.engine, "before_cursor_execute", note)
        return found

    def turns(self, house: House, clock: list[float], seconds: float, step: float = 1.0) -> None:
        for _ in range(round(seconds / step)):
            clock[0] += step
            house.trainer.turn()

    def test_it_writes_once_in_a_quarter_of_a_lease(
        self, house: House, clock: list[float], statements: list[str]
    ) -> None:
        house.trainer.turn()
        self.turns(house, clock, 5.0)
        statements.clear()
        self.turns(house, clock, 900.0)
        assert statements.count("BEGIN IMMEDIATE") == 1
        written = [statement for statement in statements if statement.split()[0] in ("UPDATE", "INSERT", "DELETE")]
        assert [statement.split()[:3] for statement in written] == [
            ["UPDATE", "trainers", "SET"],
            ["DELETE", "FROM", "trainers"],
        ]

    def test_its_own_heartbeats_do_not_make_it_ask_again(
        self, house: House, clock: list[float], statements: list[str]
    ) -> None:
        house.trainer.turn()
        self.turns(house, clock, 5.0)
        statements.clear()
        self.turns(house, clock, 3400.0, 50.0)
        assert statements.count("BEGIN IMMEDIATE") == 3
        # Within a heartbeat it asks whether a lease has ended or ends too late, and nothing else.
        selects = [statement for statement in statements if statement.startswith("SELECT")]
        assert len(selects) == 6
        assert all("lease_until" in statement for statement in selects)

    def test_it_takes_a_job_in_the_next_turn(self, house: House, clock: list[float]) -> None:
        self.turns(house, clock, 5.0)
        job_id = house.queue()
        house.trainer.turn()
        assert house.job(job_id).state is State.RUNNING

    def test_it_takes_a_job_that_has_to_wait_when_it_is_due(self, house: House, clock: list[float]) -> None:
        job_id = house.queue()
        with house.database.write() as connection:
            connection.execute(sa.update(JOBS).values(not_before=house.trainer.database.now() + 30.0))
        self.turns(house, clock, 29.0)
        assert house.job(job_id).state is State.QUEUED
        self.turns(house, clock, 1.0)
        assert house.job(job_id).state is State.RUNNING

    @pytest.mark.parametrize("left", [0.5, 5.0, 9.5])
    def test_it_takes_over_soon_after_a_lease_ends(self, house: House, clock: list[float], left: float) -> None:
        """Within a second, though heartbeats are rare."""
        house.engine.capacity = 0
        job_id = house.queue()
        with house.database.write() as connection:
            lifecycle.claim(connection, house.trainer.database.now(), left)
        house.trainer.turn()
        self.turns(house, clock, left, 0.5)
        assert house.job(job_id).state is State.RUNNING
        self.turns(house, clock, 1.5, 0.5)
        assert (house.job(job_id).state, house.job(job_id).attempt) == (State.QUEUED, 2)

    def test_a_clock_that_is_set_forward_takes_no_job_from_a_living_trainer(
        self, house: House, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        placement = house.place()
        later = house.database.now() + 86_400.0
        monkeypatch.setattr(house.database, "now", lambda *_: later)
        house.trainer._next_beat = 0.0
        house.trainer.turn()
        job = house.job(placement.order.job)
        assert (job.state, job.fence, job.attempt) == (State.RUNNING, 1, 1)
        assert job.lease_until == later + house.trainer.settings.lease_seconds

    @pytest.mark.parametrize("seconds", [3600.0, 86400.0])
    def test_a_clock_that_is_set_back_delays_no_job(self, house: House, clock: list[float], seconds: float) -> None:
        """A lease and a delay that began before count from the moment at which that is seen."""
        house.engine.capacity = 0
        lost, delayed = house.queue(1), house.queue(2)
        now, lease = house.trainer.database.now(), house.trainer.settings.lease_seconds
        with house.database.write() as connection:
            assert lifecycle.claim(connection, now + seconds, lease).id == lost  # type: ignore[union-attr]
            values = {"not_before": now + seconds + house.trainer.settings.retry_seconds}
            connection.execute(sa.update(JOBS).where(JOBS.c.id == delayed).values(**values))
        self.turns(house, clock, lease / 4 + 1.0, 0.5)
        assert house.job(lost).state is State.RUNNING  # for as long as a lease, in case its owner lives
        self.turns(house, clock, lease + 1.0, 0.5)
        assert (house.job(lost).state, house.job(lost).attempt) == (State.QUEUED, 2)
        house.engine.capacity = 1
        house.trainer.turn()
        assert house.job(lost).state is State.RUNNING
        with house.database.read() as connection:
            due = lifecycle.find(connection, delayed).not_before
        assert due is not None
        assert due <= house.trainer.database.now()

    def test_rows_of_a_job_are_deleted_within_a_second_of_its_end(self, house: House, clock: list[float]) -> None:
        house.engine.capacity = 0
        self.turns(house, clock, 5.0)
        path = house.trainer.files.path(FileKind.DATASET, "ds_1")
        path.write_bytes(b"rows")
        with house.database.write() as connection:
            values = {"id": "ds_1", "name": None, "rows": 1, "features": ["a"], "classes": [0, 1], "created_at": ""}
            add_dataset(connection, values, FileRecord(4, "00"))
            job_id = make_job(connection, 1)
        self.turns(house, clock, 5.0)
        assert path.exists()
        before = house.trainer.database.changes.mark()
        with house.database.write() as connection:
            lifecycle.cancel(connection, job_id)
        # With PostgreSQL, the notification comes a moment after the commit.
        eventually(lambda: house.trainer.database.changes.mark() != before, what="the commit")
        self.turns(house, clock, 1.0)
        assert not path.exists()

    def test_old_jobs_are_looked_for_once_an_hour(self, house: House, clock: list[float]) -> None:
        def end_long_ago(number: int) -> str:
            with house.database.write() as connection:
                job_id = make_job(connection, number)
                lifecycle.cancel(connection, job_id)
                values = {"finished_at": "2001-01-01T00:00:00.000Z"}
                connection.execute(sa.update(JOBS).where(JOBS.c.id == job_id).values(**values))
            return job_id

        def known(job_id: str) -> bool:
            with house.database.read() as connection:
                return connection.scalar(sa.select(JOBS.c.id).where(JOBS.c.id == job_id)) is not None

        first = end_long_ago(1)
        house.trainer.turn()
        assert not known(first)
        second = end_long_ago(2)
        self.turns(house, clock, 3590.0, 10.0)
        assert known(second)
        self.turns(house, clock, 20.0)
        assert not known(second)

    def test_rows_of_dead_trainers_are_deleted(self, house: House, clock: list[float]) -> None:
        now = house.trainer.database.now()
        with house.database.write() as connection:
            rows = [("dead", now - 5.1 * 3600.0), ("silent", now - 4.9 * 3600.0), ("alive", now)]
            for name, seen in rows:
                connection.execute(sa.insert(TRAINERS).values(id=name, started_at="", seen_at=seen))
        house.trainer.turn()
        with house.database.read() as connection:
            names = set(connection.scalars(sa.select(TRAINERS.c.id)))
        assert names == {"silent", "alive", house.trainer.name}

    def test_one_that_was_deleted_comes_back(self, house: House, clock: list[float]) -> None:
        house.trainer.turn()
        with house.database.write() as connection:
            connection.execute(sa.delete(TRAINERS))
        self.turns(house, clock, 900.0, 900.0)
        with house.database.read() as connection:
            (row,) = connection.execute(sa.select(TRAINERS))
        assert (row.id, row.seen_at) == (house.trainer.name, house.trainer.database.now())


def monotonic_of_trainer(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock of the trainer that a test moves."""
    now = [trainer.monotonic()]
    monkeypatch.setattr(trainer, "monotonic", lambda: now[0])
    return now


class TestDatabaseThatDoesNotAnswer:
    """What the trainer learned is not lost."""

    def test_an_outcome_is_recorded_when_it_answers_again(self, house: House, monkeypatch: pytest.MonkeyPatch) -> None:
        placement = house.place()
        house.engine.capacity = 1
        placement.ended = Failed("diverged", "in step 3")
        write = house.database.write

        def fail() -> Any:
            raise sa.exc.OperationalError("BEGIN", None, Exception("database is locked"))

        monkeypatch.setattr(house.database, "write", fail)
        for _ in range(2):
            with pytest.raises(sa.exc.OperationalError):
                house.trainer.turn()
        monkeypatch.setattr(house.database, "write", write)
        assert house.job(placement.order.job).state is State.RUNNING
        house.trainer.turn()
        assert house.job(placement.order.job).error == JobError("diverged", "in step 3")


class TestRelease:
    """A trainer that ends gives its jobs back."""

    def test_runners_save_and_their_jobs_are_queued(self, house: House) -> None:
        one, other = house.place(1), house.place(2)
        one.when_asked, other.when_asked = Stopped(), Failed("diverged", "")
        house.trainer.release_all()
        assert house.engine.closed
        assert (one.asked, other.asked, one.killed, other.killed) == (True, True, False, False)
        assert house.job(one.order.job).state is State.QUEUED
        assert house.job(other.order.job).state is State.FAILED

    def test_one_that_does_not_stop_is_killed(self, house: House, monkeypatch: pytest.MonkeyPatch) -> None:
        placement = house.place()
        placement.when_killed = Died(KILLED)
        now = monotonic_of_trainer(monkeypatch)

        killed: list[bool] = []

        def time_goes_by(_seconds: float) -> None:
            killed.append(placement.killed)
            now[0] += trainer.STOP_SECONDS / 2

        monkeypatch.setattr(house.engine, "wait", time_goes_by)
        house.trainer.release_all()
        assert killed == [False, False, True]
        assert house.job(placement.order.job).deaths == 1

    def test_a_trainer_is_in_the_table_while_it_runs(self, house: House) -> None:
        def names() -> list[str]:
            with house.database.read() as connection:
                return list(connection.scalars(sa.select(TRAINERS.c.id)))

        house.trainer.set_presence(True)
        assert names() == [house.trainer.name]
        house.trainer.set_presence(False)
        assert names() == []


@pytest.mark.processes
def test_it_imports_neither_numpy_nor_hdf5() -> None:
    """They would lie in its memory for as long as the service runs."""
    source = "import sys, service.jobs.trainer; print(*{'numpy', 'h5py'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", source], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_a_second_trainer_leaves(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    settings = Settings.read({"TRAINYARD_DATA": str(tmp_path)})
    first = Trainer(settings, MemoryEngine(), while_web_lives=False)
    with first.files.locks.exclusive(trainer.Lock.TRAINER), caplog.at_level(logging.ERROR):
        assert trainer.main(settings, while_web_lives=False) == 1
        assert trainer.main(settings, while_web_lives=True) == 1
    assert caplog.messages == [f"another trainer runs in {tmp_path}"]
