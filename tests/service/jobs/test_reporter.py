"""The runner's journal if its job is taken over between two of its transactions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from models.registry import checkpoints, models
from reliability.lives import make_job
from service.jobs import lifecycle
from service.jobs.exit_causes import Death
from service.jobs.journal import Reporter
from service.settings import Settings
from service.store.database import Database
from service.store.files import Storage
from testing.runs import a_definition, a_run

LEASE = 10.0


class Owner:
    """One owner of the one job, with a run that is never started."""

    def __init__(self, folder: Path) -> None:
        self.database = Database(Settings.read({"TRAINYARD_DATA": str(folder)}))
        self.database.migrate()
        self.storage = Storage(folder)
        with self.database.write() as connection:
            models.define_model(connection, a_definition())
            self.job = make_job(connection, 1)
        self.run = a_run(keep=0)
        self.row = self.claim()
        self.reporter = Reporter(self.database, self.storage, self.row, self.row.fence, self.run)

    def claim(self) -> sa.Row[Any]:
        with self.database.write() as connection:
            row = lifecycle.claim(connection, 0.0, LEASE)
        assert row is not None
        return row

    def save(self) -> None:
        self.reporter.checkpoint(self.run.checkpoint(), "between")
        assert self.reporter.settle()

    def is_taken_over(self) -> None:
        with self.database.write() as connection:
            lifecycle.lose(connection, self.job, self.row.fence, Death("worker_lost", "held up"), 0.0, 0.0)
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
    assert newest == owner.reporter.newest
    assert [path.stem for path in (owner.storage.data / "checkpoints").iterdir()] == [newest]


def test_one_that_is_taken_over_before_it_deletes_old_ones_leaves_them(
    owner: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner.save()
    flush = owner.reporter.flush

    def flush_and_be_taken_over(*arguments: Any, **columns: Any) -> None:
        flush(*arguments, **columns)
        owner.is_taken_over()

    monkeypatch.setattr(owner.reporter, "flush", flush_and_be_taken_over)
    owner.save()
    assert len(owner.named()) == 2
    assert all(owner.storage.checkpoint(checkpoint).exists() for checkpoint in owner.named())
    assert owner.reporter.lost


def test_one_that_is_taken_over_before_it_names_a_file_takes_that_away(owner: Owner) -> None:
    owner.save()
    before = owner.named()
    owner.is_taken_over()
    owner.reporter.checkpoint(owner.run.checkpoint(), "between")
    assert not owner.reporter.settle()
    assert owner.named() == before
    assert [path.stem for path in (owner.storage.data / "checkpoints").iterdir()] == before
