"""The runner's journal if its job is taken over between two of its transactions, or it is to stop."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from models.registry import checkpoints, models
from models.training.checkpoint import CheckpointKind
from nncore.training import Epoch
from reliability.lives import make_job
from service.jobs import journal, lifecycle
from service.jobs.events import events_after
from service.jobs.journal import EndOfInput, JobJournal
from service.jobs.record import Job, JobError
from service.store.counters import Total, totals
from service.store.files import FileKind, FileStore
from testing.databases import new_database
from testing.runs import a_definition, a_run

LEASE = 10.0


class Signal:
    """A signal in memory, on which nobody waits."""

    def __init__(self) -> None:
        self.stop = False

    def stopping(self) -> bool:
        return self.stop

    def wait(self, seconds: float) -> None:
        raise AssertionError(f"a wait of {seconds} seconds")


class Owner:
    """One owner of the one job, with a run that is never started."""

    def __init__(self, folder: Path) -> None:
        self.database = new_database(folder)
        self.files = FileStore(folder)
        with self.database.write() as connection:
            models.define_model(connection, a_definition())
            self.job = make_job(connection, 1)
        self.run = a_run(keep=0)
        self.held = self.claim()
        self.signal = Signal()
        self.journal = JobJournal(self.database, self.files, self.held, self.run, self.signal)

    def claim(self) -> Job:
        with self.database.write() as connection:
            job = lifecycle.claim(connection, 0.0, LEASE)
        assert job is not None
        return job

    def save(self) -> None:
        self.journal.checkpoint(self.run.checkpoint(), CheckpointKind.BETWEEN)
        assert self.journal.settle()

    def is_taken_over(self) -> None:
        with self.database.write() as connection:
            lifecycle.lose(connection, self.job, self.held.fence, JobError("worker_lost", "held up"), 0.0, 0.0)
        self.claim()

    def named(self) -> list[str]:
        with self.database.read() as connection:
            return [checkpoint.id for checkpoint in checkpoints.list_checkpoints(connection, 100, None, job=self.job)]


@pytest.fixture
def owner(tmp_path: Path) -> Owner:
    return Owner(tmp_path)


def test_its_owner_deletes_old_checkpoints(owner: Owner) -> None:
    owner.save()
    owner.save()
    (newest,) = owner.named()
    assert newest == owner.journal.newest
    assert [path.stem for path in (owner.files.data / "checkpoints").iterdir()] == [newest]


def test_one_that_is_taken_over_before_it_deletes_old_ones_leaves_them(
    owner: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner.save()
    flush = owner.journal.flush

    def flush_and_be_taken_over(*arguments: Any, **columns: Any) -> None:
        flush(*arguments, **columns)
        owner.is_taken_over()

    monkeypatch.setattr(owner.journal, "flush", flush_and_be_taken_over)
    owner.save()
    assert len(owner.named()) == 2
    assert all(owner.files.stat(FileKind.CHECKPOINT, checkpoint) for checkpoint in owner.named())
    assert owner.journal.lost


def test_one_that_is_taken_over_before_it_names_a_file_takes_that_away(owner: Owner) -> None:
    owner.save()
    before = owner.named()
    owner.is_taken_over()
    owner.journal.checkpoint(owner.run.checkpoint(), CheckpointKind.BETWEEN)
    assert not owner.journal.settle()
    assert owner.named() == before
    assert [path.stem for path in (owner.files.data / "checkpoints").iterdir()] == before


def counted(owner: Owner) -> tuple[float, ...]:
    """Epochs, rows of them, checkpoints, and bytes of these."""
    with owner.database.read() as connection:
        found = totals(connection)
    names = (Total.EPOCHS, Total.ROWS_TRAINED, Total.CHECKPOINTS, Total.CHECKPOINT_BYTES)
    return tuple(found[name] for name in names)


def test_what_is_reported_counts(owner: Owner, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once, also if it is saved; again if the answer was lost or it is trained again; not after the job is lost."""
    rows = len(owner.run.rows)
    for number in (1, 2):
        owner.journal.epoch(an_epoch(number))
    owner.journal.flush()
    assert counted(owner) == (2, 2 * rows, 0, 0)
    owner.save()
    size = sum(path.stat().st_size for path in (owner.files.data / "checkpoints").iterdir())
    assert counted(owner) == (2, 2 * rows, 1, size)

    write = owner.database.write

    @contextmanager
    def lose_the_answer() -> Iterator[Any]:
        with write() as connection:
            yield connection
        raise sa.exc.OperationalError("COMMIT", None, Exception("no answer"))

    owner.journal.epoch(an_epoch(3))
    with monkeypatch.context() as patch:
        patch.setattr(owner.database, "write", lose_the_answer)
        with pytest.raises(sa.exc.OperationalError):
            owner.journal.flush()
    owner.journal.flush()
    assert counted(owner) == (4, 4 * rows, 1, size)
    owner.journal.flush()
    assert counted(owner) == (4, 4 * rows, 1, size)

    owner.is_taken_over()
    owner.journal.epoch(an_epoch(4))
    owner.journal.flush()
    assert owner.journal.lost
    assert counted(owner) == (4, 4 * rows, 1, size)
    with owner.database.read() as connection:
        held = lifecycle.find(connection, owner.job)
    another = JobJournal(owner.database, owner.files, held, owner.run, owner.signal)
    for number in (2, 3, 4):
        another.epoch(an_epoch(number))
    another.flush()
    assert counted(owner) == (7, 7 * rows, 1, size)


def an_epoch(number: int) -> Epoch:
    return Epoch(number, 0.5, 0.5, None, None, 0.1, 0.01)


def test_it_stops_when_the_engine_asks(owner: Owner) -> None:
    assert not owner.journal.stopping()
    owner.signal.stop = True
    owner.journal._due = 0.0  # It looks every so often.
    assert owner.journal.stopping()
    assert not owner.journal.lost


@pytest.mark.parametrize("wish", ["cancel", "pause"])
def test_it_stops_when_a_client_wishes(owner: Owner, wish: str) -> None:
    with owner.database.write() as connection:
        getattr(lifecycle, wish)(connection, owner.job)
    assert owner.journal.stopping()


class FullDisk:
    """A disk on which the first ``failures`` files do not fit."""

    def __init__(self, owner: Owner, monkeypatch: pytest.MonkeyPatch, failures: int) -> None:
        self.put, self.failures, self.tries = owner.files.put, failures, 0
        monkeypatch.setattr(owner.files, "put", self)

    def __call__(self, *arguments: Any) -> Any:
        self.tries += 1
        if self.tries <= self.failures:
            raise OSError(errno.ENOSPC, "No space left on device")
        return self.put(*arguments)


def error_of(owner: Owner) -> JobError | None:
    with owner.database.read() as connection:
        return lifecycle.find(connection, owner.job).error


def test_the_last_save_is_tried_until_it_succeeds(owner: Owner, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = FullDisk(owner, monkeypatch, failures=2)
    errors: list[JobError | None] = []
    now = [journal.monotonic()]
    monkeypatch.setattr(journal, "monotonic", lambda: now[0])

    def wait(seconds: float) -> None:
        errors.append(error_of(owner))
        now[0] += seconds

    monkeypatch.setattr(owner.signal, "wait", wait)
    owner.journal.checkpoint(owner.run.checkpoint(), CheckpointKind.LAST)
    assert disk.tries == 3
    assert {error.code if error else None for error in errors} == {"storage_full"}
    assert (owner.named(), error_of(owner), owner.journal.unsaved) == ([owner.journal.newest], None, False)
    with owner.database.read() as connection:
        logs = [event for event in events_after(connection, owner.job, 0, 100) if event.type == "log"]
    assert len(logs) == 1  # the same trouble is logged once


def test_the_last_save_is_given_up_when_the_run_is_to_stop(owner: Owner, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = FullDisk(owner, monkeypatch, failures=1000)

    def wait(_seconds: float) -> None:
        owner.signal.stop = True

    monkeypatch.setattr(owner.signal, "wait", wait)
    owner.journal.checkpoint(owner.run.checkpoint(), CheckpointKind.LAST)
    assert (disk.tries, owner.named(), owner.journal.unsaved) == (1, [], True)


def test_the_end_of_a_stream_is_a_signal() -> None:
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as stream:
        signal = EndOfInput(stream)
        signal.wait(0.0)
        assert not signal.stopping()
        os.close(writing)
        signal.wait(60.0)  # returns at once
        assert signal.stopping()


class TestADatabaseThatIsAway:
    """It does not answer when a checkpoint is to be named."""

    @pytest.fixture
    def away(self, owner: Owner, monkeypatch: pytest.MonkeyPatch) -> list[bool]:
        """Whether it is."""
        state = [False]
        for name in ("read", "write"):
            opened = getattr(owner.database, name)

            @contextmanager
            def use(opened: Any = opened) -> Iterator[sa.Connection]:
                if state[0]:
                    raise sa.exc.OperationalError("SELECT 1", None, ConnectionError("nobody listens"))
                with opened() as connection:
                    yield connection

            monkeypatch.setattr(owner.database, name, use)
        return state

    def test_training_goes_on_and_the_next_save_is_named(self, owner: Owner, away: list[bool]) -> None:
        owner.save()
        (first,) = owner.named()
        away[0] = True
        for _ in range(5):
            owner.journal.checkpoint(owner.run.checkpoint(), CheckpointKind.BETWEEN)
            assert not owner.journal.settle() or owner.journal.newest == first
        assert not owner.journal.stopping()
        files = owner.files.ids(FileKind.CHECKPOINT)
        assert len(files) == 2, "one whose name may be there, and no more of them while the database is away"
        away[0] = False
        owner.save()
        (newest,) = owner.named()
        assert newest not in files
        assert owner.files.ids(FileKind.CHECKPOINT) == {newest}

    def test_it_is_reported_afterwards(self, owner: Owner, away: list[bool]) -> None:
        away[0] = True
        owner.journal.checkpoint(owner.run.checkpoint(), CheckpointKind.BETWEEN)
        assert not owner.journal.settle()
        away[0] = False
        owner.journal.flush()
        with owner.database.read() as connection:
            assert lifecycle.find(connection, owner.job).error == JobError(
                "database_unavailable", "database: nobody listens"
            )
        owner.save()
        with owner.database.read() as connection:
            assert lifecycle.find(connection, owner.job).error is None

    def test_a_name_that_was_committed_without_an_answer_counts(
        self, owner: Owner, away: list[bool], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        flush = owner.journal.flush

        def flush_and_lose_the_answer(*arguments: Any, **columns: Any) -> None:
            flush(*arguments, **columns)
            away[0] = True
            raise sa.exc.OperationalError("COMMIT", None, ConnectionError("the answer was lost"))

        monkeypatch.setattr(owner.journal, "flush", flush_and_lose_the_answer)
        owner.journal.checkpoint(owner.run.checkpoint(), CheckpointKind.BETWEEN)
        assert not owner.journal.settle()
        monkeypatch.setattr(owner.journal, "flush", flush)
        away[0] = False
        (named,) = owner.named()
        owner.save()
        assert named not in owner.files.ids(FileKind.CHECKPOINT), "as superfluous as any other"
        assert owner.named() == [owner.journal.newest]
