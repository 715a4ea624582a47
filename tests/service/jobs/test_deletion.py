"""Ended jobs are deleted with their events, in small transactions; what they made stays."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa
import sqlalchemy.event

from models.clock import rfc3339
from models.errors import ConflictError, MissingError
from reliability.lives import make_job
from service.jobs import deletion, lifecycle
from service.jobs.deletion import delete_job, drop_old_jobs
from service.jobs.record import ACTIVE, FINAL
from service.store.database import Database
from service.store.tables import EVENTS, JOBS, SWEEPS
from service.web.live_events import EVENTS_AT_ONCE, LiveEvents
from testing.databases import rows_of
from testing.harness import Server, eventually
from testing.samples import DATA, ROWS, a_model, a_training, without_jobs

DAYS = 30.0


def days_ago(days: float) -> str:
    return rfc3339(datetime.now(UTC) - timedelta(days=days))


@pytest.fixture
def make(database: Database) -> Callable[..., str]:
    """Makes a job in some state, ended some days ago, with some events."""
    count = iter(range(1, 10_000))

    def make_one(state: str, ended: float, events: int = 3) -> str:
        with database.write() as connection:
            job = make_job(connection, next(count))
            # An active job has no such time; only its state must keep it.
            values = {"state": state, "created_at": days_ago(1000.0), "finished_at": days_ago(ended)}
            connection.execute(sa.update(JOBS).where(JOBS.c.id == job).values(**values))
            connection.execute(sa.delete(EVENTS).where(EVENTS.c.job == job))
            rows = [{"job": job, "type": "log", "at": days_ago(1000.0), "data": "{}"}] * events
            if rows:
                connection.execute(sa.insert(EVENTS), rows)
        return job

    return make_one


def events_of(database: Database) -> dict[str, int]:
    """Number of events by job."""
    with database.read() as connection:
        rows = connection.execute(sa.select(EVENTS.c.job, sa.func.count().label("number")).group_by(EVENTS.c.job))
        return {row.job: row.number for row in rows}


def jobs_of(database: Database) -> set[str]:
    with database.read() as connection:
        return set(connection.scalars(sa.select(JOBS.c.id)))


@contextlib.contextmanager
def transactions(database: Database) -> Iterator[list[str]]:
    """Every transaction that writes, while the block runs."""
    found: list[str] = []

    def note(connection: sa.Connection) -> None:
        if not connection.get_execution_options().get("reading"):
            found.append("begin")

    sqlalchemy.event.listen(database.engine, "begin", note)
    try:
        yield found
    finally:
        sqlalchemy.event.remove(database.engine, "begin", note)


def test_what_ended_long_ago_is_deleted_and_all_else_stays(database: Database, make: Callable[..., str]) -> None:
    gone = {make(state, DAYS + 0.01) for state in FINAL}
    kept = {make(state, DAYS - 0.01) for state in FINAL} | {make(state, DAYS + 0.01) for state in ACTIVE}
    assert drop_old_jobs(database, DAYS) is False
    assert jobs_of(database) == kept
    assert events_of(database) == dict.fromkeys(kept, 3)
    assert not gone & kept
    with database.read() as connection:
        assert lifecycle.next_due(connection) is not None


def test_zero_keeps_all(database: Database, make: Callable[..., str]) -> None:
    job = make("succeeded", 10_000.0)
    with transactions(database) as begun:
        assert drop_old_jobs(database, 0.0) is False
    assert (jobs_of(database), events_of(database), begun) == ({job}, {job: 3}, [])


def test_nothing_is_written_if_there_is_nothing_to_delete(database: Database, make: Callable[..., str]) -> None:
    make("succeeded", DAYS - 1.0)
    make("queued", 0.0)
    with transactions(database) as begun:
        assert drop_old_jobs(database, DAYS) is False
    assert begun == []


@pytest.mark.parametrize("events", [0, 9, 10, 11, 20, 95])
def test_transactions_are_small(
    database: Database, make: Callable[..., str], monkeypatch: pytest.MonkeyPatch, events: int
) -> None:
    monkeypatch.setattr(deletion, "ROWS_AT_ONCE", 10)
    for number in (1, events, 2):
        make("failed", DAYS + 1.0, number)
    rows = [3 + 3 + events]
    while True:
        with transactions(database) as begun:
            more = drop_old_jobs(database, DAYS)
        rows.append(len(jobs_of(database)) + sum(events_of(database).values()))
        assert len(begun) <= 1
        assert 0 <= rows[-2] - rows[-1] <= 10
        assert events_of(database).keys() <= jobs_of(database)
        if not more:
            break
        assert rows[-2] - rows[-1] == 10
    assert rows[-1] == 0


@pytest.mark.parametrize("events", [0, 8, 9, 10, 11, 95])
def test_one_job_is_deleted_in_small_transactions(
    database: Database, make: Callable[..., str], monkeypatch: pytest.MonkeyPatch, events: int
) -> None:
    monkeypatch.setattr(deletion, "ROWS_AT_ONCE", 10)
    job, other = make("failed", 0.0, events), make("failed", 0.0, 3)
    with database.write() as connection:
        connection.execute(sa.insert(SWEEPS), [{"job": each, "plan": "{}"} for each in (job, other)])
    with transactions(database) as begun:
        delete_job(database, job)
    assert len(begun) <= events // 10 + 2
    assert (jobs_of(database), events_of(database)) == ({other}, {other: 3})
    with database.read() as connection:
        assert list(connection.scalars(sa.select(SWEEPS.c.job))) == [other]


@pytest.mark.parametrize("state", ACTIVE)
def test_a_job_that_has_not_ended_is_not_deleted(database: Database, make: Callable[..., str], state: str) -> None:
    job = make(state, 0.0)
    with pytest.raises(ConflictError, match=f"is {state}; cancel it first") as refusal:
        delete_job(database, job)
    assert refusal.value.code == "job_active"
    assert (jobs_of(database), events_of(database)) == ({job}, {job: 3})


def test_a_job_that_is_not_there_is_not_deleted(database: Database) -> None:
    with pytest.raises(MissingError):
        delete_job(database, "job_none")


def test_a_stream_of_events_ends_if_its_job_is_deleted(database: Database, make: Callable[..., str]) -> None:
    job = make("succeeded", 0.0, 2 * EVENTS_AT_ONCE + 1)
    stream = LiveEvents(database, job, 0)
    assert stream.look().count(b"\nevent: log\n") == EVENTS_AT_ONCE
    assert not stream.ended
    delete_job(database, job)
    assert b"event:" not in stream.look()
    assert stream.ended


def test_what_a_deleted_job_made_goes_on_working(make_server: Callable[..., Server]) -> None:
    server = make_server(WORKERS=1)
    client = server.start_ready()
    client.define(a_model("kept"))
    assert client.post("/datasets", {"name": "rows", **DATA}).status == 201
    headers = {"Idempotency-Key": "once"}
    body = a_training("kept", data={"dataset": "rows"}, checkpoint={"every_epochs": 2})
    sent = client.post("/train", body, headers=headers)
    old = client.wait(sent.json["id"])
    by_request = client.run(a_training("kept", checkpoint={"every_epochs": 2}))
    recent = client.run(a_training("kept"))
    paths = ("/models/kept/versions", "/models/kept/checkpoints", f"/checkpoints/{old['checkpoint']}")
    running = client.train(a_training("kept", epochs=10**6))["id"]
    answer = client.delete(f"/jobs/{running}")
    assert (answer.status, answer.json["code"]) == (409, "job_active")
    client.post(f"/jobs/{running}/cancel")
    client.wait(running)
    before = [client.get(path).json for path in paths] + without_jobs([client.get("/models/kept").json])
    assert before[0]["data"][2]["job"] == old["id"]
    assert client.delete(f"/jobs/{running}").status == 204
    answer = client.delete(f"/jobs/{by_request['id']}")
    assert (answer.status, answer.body) == (204, b"")
    assert client.delete(f"/jobs/{by_request['id']}").json["code"] == "not_found"
    assert [job["id"] for job in client.pages("/jobs", 10)] == [recent["id"], old["id"]]
    server.terminate()
    server.wait_until_gone()
    with rows_of(server.data) as connection:
        connection.execute(sa.update(JOBS).where(JOBS.c.id == old["id"]).values(finished_at=days_ago(31.0)))

    client = server.start_ready()
    eventually(lambda: client.get(f"/jobs/{old['id']}").status == 404, what="the old job is deleted")
    for gone in (old["id"], by_request["id"]):
        for path in ("", "/history", "/events", "/checkpoints"):
            assert client.get(f"/jobs/{gone}{path}").json["code"] == "not_found", path
        for wish in ("cancel", "pause", "resume"):
            assert client.post(f"/jobs/{gone}/{wish}").status == 404, wish
    assert [job["id"] for job in client.pages("/jobs", 10)] == [recent["id"]]
    assert client.job(recent["id"]) == recent
    assert [client.get(path).json for path in paths] + without_jobs([client.get("/models/kept").json]) == before
    assert client.get(f"/checkpoints/{old['checkpoint']}/file").status == 200
    assert client.post("/predict", {"model": "kept", "version": 1, "inputs": ROWS}).status == 200
    again = client.post("/train", body, headers=headers)
    assert (again.status, again.json, again.headers["idempotent-replayed"]) == (202, sent.json, "true")
    following = client.run(a_training("kept", start_from=old["checkpoint"]))
    assert following["version"] == 4
    assert server.run_beside("verify").wait(60) == 0
    assert client.delete("/datasets/rows").status == 204
