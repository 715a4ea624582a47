"""Answers that wait while the database does not answer."""

from __future__ import annotations

import json
from collections.abc import Callable
from time import monotonic
from typing import Any

import pytest
import sqlalchemy as sa

from reliability.lives import make_job
from service.jobs import lifecycle
from service.store.database import Database
from service.web.live_events import LiveEvents
from service.web.routes import jobs

Away = Callable[[bool], None]


@pytest.fixture
def away(database: Database, monkeypatch: pytest.MonkeyPatch) -> Away:
    """Has the database go away, or come back."""
    read = database.read

    def refuse() -> Any:
        raise sa.exc.OperationalError("SELECT 1", None, ConnectionError("nobody listens"))

    return lambda is_away: monkeypatch.setattr(database, "read", refuse if is_away else read)


@pytest.fixture
def job(database: Database) -> str:
    with database.write() as connection:
        return make_job(connection, 1)


def waiting(database: Database, job: str, seconds: float) -> Any:
    with database.read() as connection:
        found = lifecycle.find(connection, job)
    return jobs._Ended(database, found, None, monotonic() + seconds)


def test_the_end_of_a_job_is_seen_afterwards(database: Database, job: str, away: Away) -> None:
    answer = waiting(database, job, 60.0)
    assert answer.look() == b""
    seen = answer.seen
    away(True)
    assert answer.look() == b""
    assert (answer.ended, answer.seen) == (False, seen)
    away(False)
    with database.write() as connection:
        lifecycle.cancel(connection, job)
    assert json.loads(answer.look())["state"] == "cancelled"
    assert answer.ended


def test_a_wait_that_is_over_ends_with_what_was_read_last(database: Database, job: str, away: Away) -> None:
    answer = waiting(database, job, 0.0)
    away(True)
    assert json.loads(answer.look())["state"] == "queued"
    assert answer.ended


def test_a_stream_of_events_goes_on_afterwards(database: Database, job: str, away: Away) -> None:
    answer = LiveEvents(database, job, 0)
    assert b'"queued"' in answer.look()
    away(True)
    assert answer.look() == b""
    assert not answer.ended
    away(False)
    with database.write() as connection:
        lifecycle.cancel(connection, job)
    assert b'"cancelled"' in answer.look()
    assert answer.ended
