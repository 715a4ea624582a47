"""The runner's journal if its job is taken over between two of its transactions, or it is to stop."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from models.registry import checkpoints, models
from models.training.checkpoint import CheckpointKind
from reliability.lives import make_job
from service.jobs import lifecycle
from service.jobs.journal import JobJournal
from service.jobs.record import Job, JobError
from service.settings import Settings
from service.store.database import Database
from service.store.files import FileKind, FileStore
from testing.runs import a_definition, a_run

LEASE = 10.0


class Signal:
    """A signal in memory; a wait is noted and takes no time."""

    def __init__(self) -> None:
        self.stop = False
        self.waits: list[float] = []

    def stopping(self) -> bool:
        return self.stop

    def wait(self, seconds: float) -> None:
        self.waits.append(seconds)


class Owner:
    """One owner of the one job, with a run that is never started."""

    def __init__(self, folder: Path) -> None:
        self.database = Database(Settings.read({"TRAINYARD_DATA": str(folder)}))
        self.database.migrate()
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
            return [checkpoint["id"] for checkpoint in checkpoints.checkpoint_rows(connection, 100, None, job=self.job)]


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
