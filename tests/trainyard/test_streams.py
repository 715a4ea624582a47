"""Following jobs over connections that break and services that restart."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from testing.harness import Server
from testing.samples import DATA, fresh
from tests.trainyard.proxy import answered, before, closed, cut, response
from trainyard import Epoch, Job, JobFailed, NotFound, Trainyard, Unreachable
from trainyard.event_stream import Event, parse


def a_job(ty: Trainyard, epochs: int, **options: Any) -> Job:
    """A job of so many epochs on twelve points."""
    document = {"data": DATA, "model": {"name": fresh("followed"), "hidden": [4]}, "epochs": epochs}
    return Job.of(ty.request("POST", "/train", {**document, **options}).json(), ty)


def test_a_job_gives_its_epochs_and_ends(ty: Trainyard) -> None:
    """Live, and again when it has ended; they are those of the history."""
    job = a_job(ty, 50)
    live = list(job)
    assert [epoch.number for epoch in live] == list(range(1, 51))
    assert live == list(job) == job.history()
    assert live[-1].loss is not None
    assert live[0].member is None
    ended = job.wait()
    assert (ended.state, ended.version, ended.has_ended, job.has_ended) == ("succeeded", 1, True, False)
    assert ended.model.default == 1


def test_epochs_go_on_after_lost_connections(server: Server) -> None:
    """Each connection but the last breaks in the middle; no epoch is lost, and none comes twice."""
    job = a_job(Trainyard(server.client.base), 300)
    with before(server.client.base, cut(3_000), closed, cut(9_000), cut(70), cut(20_000)) as proxy:
        numbers = [epoch.number for epoch in Job(Trainyard(proxy.url), job.id, job.model_name, "running")]
    assert numbers == list(range(1, 301))
    resumed = [line for head in proxy.heads for line in head.splitlines() if line.lower().startswith("last-event-id")]
    assert len(resumed) >= 3
    assert len(proxy.heads) >= 6


@pytest.mark.parametrize("after", [70, 17])
def test_a_head_that_breaks_off_is_no_end_of_a_job_that_has_ended(server: Server, after: int) -> None:
    """In a field, and behind the status line: the body's length is lost, so that nothing would look like all."""
    job = a_job(Trainyard(server.client.base), 20).wait()
    with before(server.client.base, cut(after)) as proxy:
        assert len(list(Job(Trainyard(proxy.url), job.id, job.model_name, "running"))) == 20


def test_a_service_that_is_busy_is_asked_again(server: Server) -> None:
    job = a_job(Trainyard(server.client.base), 5)
    away = response("503 Service Unavailable", Retry_After="0")
    with before(server.client.base, answered(away), answered(away)) as proxy:
        assert len(list(Job(Trainyard(proxy.url), job.id, job.model_name, "running"))) == 5


def test_a_restart_is_no_end(make_server: Callable[..., Server]) -> None:
    """The service restarts on its address while a job is followed and waited for: both go on."""
    server = make_server()
    address = server.start_ready().base
    job = a_job(Trainyard(address), 3000, checkpoint={"every_epochs": 100})
    seen, states = list[int](), list[str]()
    some = threading.Event()

    def follow() -> None:
        for epoch in job:
            seen.append(epoch.number)
            if epoch.number >= 100:
                some.set()

    def wait() -> None:
        states.append(job.wait().state)

    threads = [threading.Thread(target=follow), threading.Thread(target=wait)]
    for thread in threads:
        thread.start()
    assert some.wait(60)
    server.terminate()
    server.settings["BIND"] = address.removeprefix("http://")
    server.start()
    for thread in threads:
        thread.join(120)
    assert states == ["succeeded"]
    assert len(seen) == len(set(seen))
    assert sorted(seen) == list(range(1, 3001))


def test_members_name_themselves(ty: Trainyard) -> None:
    """Two networks of two epochs each."""
    job = a_job(ty, 2, folds=2)
    assert {(epoch.member, epoch.number) for epoch in job} == {(1, 1), (1, 2), (2, 1), (2, 2)}
    assert [(epoch.member, epoch.number) for epoch in job.history()] == [(1, 1), (1, 2), (2, 1), (2, 2)]
    assert [epoch.number for epoch in job.history(member=2)] == [1, 2]
    ended = job.wait()
    assert len(ended.members) == 2
    assert ended.held_out is not None


def test_a_job_that_fails_says_why(ty: Trainyard) -> None:
    wild = {"inputs": [[1e30], [-1e30], [1e30]], "labels": ["a", "b", "b"]}
    job = a_job(ty, 1000, data=wild, optimizer={"type": "sgd", "learning_rate": 1e6})
    list(job)  # its end is no error of the epochs
    with pytest.raises(JobFailed) as caught:
        job.wait()
    assert caught.value.code == "diverged"
    assert caught.value.job.state == "failed"
    assert str(caught.value) == f"{job.id} failed: {caught.value.detail} [diverged]"


def test_a_job_that_is_cancelled_has_not_succeeded(ty: Trainyard) -> None:
    job = a_job(ty, 10_000_000)
    job.cancel()
    with pytest.raises(JobFailed, match="the job was cancelled"):
        job.wait()


def test_waiting_has_an_end(ty: Trainyard) -> None:
    job = a_job(ty, 10_000_000)
    with pytest.raises(TimeoutError, match=job.id):
        job.wait(timeout=0.3)
    job.cancel()


def test_a_job_that_is_deleted_meanwhile_is_gone(ty: Trainyard) -> None:
    job = a_job(ty, 1).wait()
    job.delete()
    with pytest.raises(NotFound):
        list(job)
    with pytest.raises(NotFound):
        job.refresh()


def test_a_service_that_stays_away_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainyard.waiting.AWAY", 0.5)
    job = Job(Trainyard("http://127.0.0.1:9"), "job_000000000000000000000", "x", "running")
    with pytest.raises(Unreachable):
        list(job)
    with pytest.raises(Unreachable):
        job.wait()


def test_the_events_of_all_jobs(ty: Trainyard) -> None:
    """From now on: those of a job that begins later."""
    last = max((event.id for job in ty.jobs() for event in job.list_events()), default=0)
    first, second = a_job(ty, 2), a_job(ty, 3)
    epochs: dict[str, list[int]] = {first.id: [], second.id: []}
    ended = set()
    events = ty.events(after=last)
    for event in events:
        if event.type == "epoch" and event.data["job"] in epochs:
            epochs[event.data["job"]].append(Epoch.of(event.data).number)
        if event.type == "state" and event.data["job"] in epochs:
            assert event.data["state"] in ("queued", "running", "succeeded")
            ended |= {event.data["job"]} if event.data["state"] == "succeeded" else set()
        if ended >= epochs.keys():
            break
    assert list(epochs.values()) == [[1, 2], [1, 2, 3]]


def test_streams_are_parsed() -> None:
    """Comments, several lines of data, fields that are not known, no space behind the colon."""
    whole = [": hello", "", "id: 7", "event: epoch", "retry: 5", 'data: {"epoch":', "data: 1}", ""]
    rest = ["id:8", "event:log", "data:{}", "", 'data: {"cut":']
    assert list(parse(whole + rest)) == [Event(7, "epoch", {"epoch": 1}), Event(8, "log", {})]
