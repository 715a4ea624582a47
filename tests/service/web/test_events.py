"""Events over HTTP: of one job and of all jobs, as lists and as streams."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask

from models.registry.callers import Caller
from service.jobs import lifecycle
from service.jobs.events import LostEvent, add_events, newest_event_id
from service.jobs.record import JobError, State
from service.store.database import Database
from service.web import live_events
from service.web.live_events import LiveEvents, LiveEventsOfAll
from testing.harness import FINAL, Client, Server, eventually
from testing.samples import a_model, a_training, fresh
from testing.streams import Event, Stream
from tests.service.conftest import Trained

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


@pytest.fixture
def endless(client: Client) -> Iterator[str]:
    """A running job that would take minutes; cancelled after the test."""
    name = client.define(a_model(fresh("job")))["name"]
    job = client.train(a_training(name, epochs=10**6))["id"]
    client.until_epoch(job, 1)
    yield job
    if client.job(job)["state"] not in FINAL:
        client.post(f"/jobs/{job}/cancel")
        client.wait(job)


def events_of(job: str) -> str:
    return f"/jobs/{job}/events"


class TestEvents:
    """A job's events, as a list and as a stream."""

    def listed(self, client: Client, job: str) -> list[dict[str, Any]]:
        return client.pages(f"/jobs/{job}/events", 100)[::-1]

    def test_the_list_tells_everything(self, client: Client, trained: Trained) -> None:
        job = trained.jobs[0]
        events = self.listed(client, job["id"])
        for event in events:
            assert event.keys() == {"id", "type", "at", "data"}
            assert TIME.fullmatch(event["at"])
        states = [event["data"]["state"] for event in events if event["type"] == "state"]
        assert states == ["queued", "running", "succeeded"]
        epochs = [event["data"] for event in events if event["type"] == "epoch"]
        assert epochs == client.history(job["id"])
        saved = [event["data"] for event in events if event["type"] == "checkpoint"]
        assert [(one["epoch"], one["step"]) for one in saved] == [(0, 0), (5, 10)]
        assert saved[-1]["checkpoint"] == job["checkpoint"]
        assert {event["type"] for event in events} == {"state", "epoch", "checkpoint"}

    def test_the_stream_of_an_ended_job_is_the_list(self, client: Client, trained: Trained) -> None:
        job = trained.jobs[0]["id"]
        with Stream(client, events_of(job)) as stream:
            streamed = list(stream)
        listed = self.listed(client, job)
        assert streamed == [Event(event["id"], event["type"], event["data"]) for event in listed]

    def test_it_goes_on_after_the_last_one_seen(self, client: Client, trained: Trained) -> None:
        job = trained.jobs[0]["id"]
        with Stream(client, events_of(job)) as stream:
            everything = list(stream)
        for seen in (1, 4, len(everything) - 1):
            with Stream(client, events_of(job), everything[seen - 1].id) as rest:
                assert list(rest) == everything[seen:]
        with Stream(client, events_of(job), everything[-1].id) as rest:
            assert list(rest) == []

    def test_it_ends_although_the_job_ends_between_two_reads(self, app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
        """The state was read before the end, the events after it: there will be no further event to wake the stream."""
        client, parts = app.test_client(), app.extensions["trainyard"]
        job = client.post("/train", json={**a_training({**a_model(fresh("between"))}), "epochs": 1}).json["id"]
        read = lifecycle.state_of

        def read_and_end(connection: sa.Connection, job_id: str) -> State:
            state = read(connection, job_id)
            assert client.post(f"/jobs/{job_id}/cancel").status_code == 202
            return state

        monkeypatch.setattr(lifecycle, "state_of", read_and_end)
        stream = LiveEvents(parts.database, job, 0)
        assert b'"state": "cancelled"' in stream.look()
        assert stream.ended

    def test_it_is_live_and_ends_after_the_final_state(self, client: Client, endless: str) -> None:
        with Stream(client, events_of(endless)) as stream:
            events = iter(stream)
            seen = [next(events)]
            while seen[-1].type != "epoch":
                seen.append(next(events))
            assert client.post(f"/jobs/{endless}/cancel").status == 202
            seen += events
        assert (seen[-1].type, seen[-1].data) == ("state", {"state": "cancelled"})
        assert [event.id for event in seen] == sorted({event.id for event in seen})
        epochs = [event.data["epoch"] for event in seen if event.type == "epoch"]
        assert epochs == sorted(set(epochs))
        assert epochs[:1000] == list(range(1, len(epochs[:1000]) + 1))
        assert seen[-2].type == "checkpoint"
        assert seen[-2].data["epoch"] == epochs[-1]

    def test_a_client_that_leaves_frees_its_thread(self, client: Client, endless: str) -> None:
        # More than may wait at once, one after the other; each leaves in the middle.
        def opened() -> Stream | None:
            """None if the threads of disconnected clients are not all free yet."""
            stream = Stream(client, events_of(endless), refused=True)
            return stream if stream.response.status == 200 else None

        for _ in range(20):
            stream = eventually(opened, what="a free thread")
            assert stream is not None
            with stream:
                assert next(iter(stream)).type == "state"
            client.request("HEAD", f"/jobs/{endless}/events", headers={"Accept": "text/event-stream"})
        eventually(lambda: client.get(f"/jobs/{endless}?wait=0.01").status == 200, what="a free thread")

    def test_without_asking_for_a_stream_it_is_a_list(self, client: Client, trained: Trained) -> None:
        for accept in ("*/*", "application/json", "text/html, */*;q=0.1", "application/json, text/event-stream"):
            answer = client.get(f"/jobs/{trained.jobs[0]['id']}/events", headers={"Accept": accept})
            assert answer.headers["content-type"] == "application/json"


class TestEventsOfAllJobs:
    """What comes from all jobs, each event with its job."""

    def test_the_list_goes_through_the_events_of_every_job(self, client: Client, trained: Trained) -> None:
        listed = client.pages("/events", 100)
        assert [event["id"] for event in listed] == sorted((event["id"] for event in listed), reverse=True)
        for job in (each["id"] for each in trained.jobs):
            mine = [event for event in listed if event["data"]["job"] == job]
            own = client.pages(events_of(job), 100)
            assert mine == [{**event, "data": {"job": job, **event["data"]}} for event in own]

    def test_a_stream_goes_on_after_an_event(self, client: Client, trained: Trained) -> None:
        *_, first, before = (event["id"] for event in client.pages(events_of(trained.jobs[-1]["id"]), 100))
        asked: list[tuple[str, int | None]] = [(f"/events?after={before}", None), ("/events", before)]
        asked.append((f"/events?after={first}", before))
        for path, last in asked:
            with Stream(client, path, last) as stream:
                event = next(iter(stream))
            assert (event.id, event.data["job"]) == (first, trained.jobs[-1]["id"]), (path, last)

    def test_without_a_beginning_it_starts_with_what_comes_from_now_on(self, client: Client) -> None:
        name = client.define(a_model(fresh("job")))["name"]
        with Stream(client, "/events") as stream:
            assert stream.greeting() == "events of all jobs"
            job = client.train(a_training(name))["id"]
            mine: list[Event] = []
            for event in stream:
                if event.data["job"] == job:
                    mine.append(event)
                    if event.data.get("state") in FINAL:
                        break
        listed = client.pages(events_of(job), 100)[::-1]
        assert [event.id for event in mine] == [event["id"] for event in listed]
        assert [event.data for event in mine] == [{"job": job, **event["data"]} for event in listed]
        assert mine[0].data == {"job": job, "state": "queued"}

    def test_a_connection_that_is_lost_before_the_first_event_loses_none(self, app: Flask) -> None:
        """The first lines are an id, of which browsers make no event but a ``Last-Event-ID``."""
        database = app.extensions["trainyard"].database
        assert _job(app, "lost")
        newest = _newest(database)
        stream = LiveEventsOfAll(database, newest)
        assert stream.look() == b": events of all jobs\nid: %d\n\n" % newest
        assert not stream.ended
        stream.wake_at = 0.0
        assert stream.look() == b": still here\nid: %d\n\n" % newest

    def test_the_events_of_others_are_passed_over_once(self, app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
        """However many they are, a look reads so many of them, and the last one ends behind them."""
        database: Database = app.extensions["trainyard"].database
        monkeypatch.setattr(live_events, "READ_AT_ONCE", 7)
        job, before = _job(app, "others"), _newest(database)
        with database.write() as connection:
            add_events(connection, job, [LostEvent(JobError("lost", "for a test"))] * 20)
        theirs, mine = LiveEventsOfAll(database.of(Caller("somebody")), before), LiveEventsOfAll(database, before)
        looks = [(theirs.look(), mine.look()) for _ in range(3)]
        assert b"event:" not in b"".join(empty for empty, _ in looks)
        assert b"".join(found for _, found in looks).count(b"\nevent: log\n") == 20
        assert theirs.seen == mine.seen == before + 20 == _newest(database)

    def test_many_events_come_in_pieces(self, app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
        database: Database = app.extensions["trainyard"].database
        monkeypatch.setattr(live_events, "EVENTS_AT_ONCE", 5)
        job, before = _job(app, "pieces"), _newest(database)
        with database.write() as connection:
            add_events(connection, job, [LostEvent(JobError("lost", "for a test"))] * 12)
        stream = LiveEventsOfAll(database, before)
        assert [stream.look().count(b"\nevent: ") for _ in range(3)] == [5, 5, 2]
        assert stream.seen == _newest(database)

    @pytest.mark.parametrize(("query", "pointer"), [("after=x", "/after"), ("after=-1", "/after"), ("job=1", "/job")])
    def test_refusals(self, client: Client, query: str, pointer: str) -> None:
        refused = client.get(f"/events?{query}")
        assert (refused.status, refused.json["errors"][0]["pointer"]) == (422, pointer)


def _job(app: Flask, kind: str) -> str:
    """A queued job of a new model."""
    return str(app.test_client().post("/train", json=a_training(a_model(fresh(kind)))).json["id"])


def _newest(database: Database) -> int:
    with database.read() as connection:
        return newest_event_id(connection)


@pytest.mark.parametrize("count", [30, 100])
def test_streams_hold_no_thread(make_server: Callable[..., Server], count: int) -> None:
    """So many of a job and of all jobs, in one worker of two threads: all get each event, others get answers."""
    client = make_server(WORKERS=1, THREADS=2).start_ready()
    job = client.train(a_training(a_model("m"), epochs=10**6))["id"]
    with ExitStack() as opened:
        streams = [opened.enter_context(Stream(client, path)) for path in (events_of(job), "/events") * count]
        for stream in streams:
            assert stream.greeting()
        client.until_epoch(job, 1)
        assert client.get(f"/jobs/{job}").status == 200
        assert client.post(f"/jobs/{job}/cancel").status == 202
        received = [_until_the_end(stream) for stream in streams]
    for events in received:
        assert events[-1].data["state"] == "cancelled"
    # Epochs that are no points of the history for long may be missing.
    kept = [[event for event in events if event.type != "epoch"] for events in received[::2]]
    assert all(events == kept[0] for events in kept)
    for events in received[1::2]:
        assert {event.data["job"] for event in events} == {job}


def _until_the_end(stream: Stream) -> list[Event]:
    """The events up to the one with which the only job ends."""
    events = []
    for event in stream:
        events.append(event)
        if event.data.get("state") in FINAL:
            break
    return events
