"""The table of transitions: every sequence against a real database, and what OpenAPI and the docs say of it."""

from __future__ import annotations

from collections import Counter

import sqlalchemy as sa

from models.errors import ConflictError
from models.formats.durable import FileRecord
from models.registry.checkpoints import add_checkpoint
from reliability.lives import make_job
from service.jobs import lifecycle
from service.jobs.events import events_after
from service.jobs.lifecycle import MAXIMUM_DEATHS, Progress, StaleError
from service.jobs.record import ACTIVE, FINAL, Job, JobError, State, Wish
from service.jobs.transitions import TRANSITIONS, Situation, Trigger, accepting
from testing.harness import ROOT

#: Triggers in a sequence. Those that are refused change nothing, so no sequence goes on from there.
LENGTH = 5
KILLED = JobError("worker_lost", "killed by SIGKILL")


def pull(connection: sa.Connection, job: Job, trigger: Trigger) -> None:
    """Have it happen to a job, as clients and trainers do; raises ConflictError or StaleError, or does nothing."""
    match trigger:
        case Trigger.CANCEL:
            lifecycle.cancel(connection, job.id)
        case Trigger.PAUSE:
            lifecycle.pause(connection, job.id)
        case Trigger.RESUME:
            lifecycle.resume(connection, job.id)
        case Trigger.ABANDON:
            lifecycle.abandon(connection, job.model)
        case Trigger.CLAIM:
            lifecycle.claim(connection, 1e12, 10.0)
        case Trigger.FINISH:
            lifecycle.finish(connection, job.id, job.fence, publish_version=True)
        case Trigger.FAIL:
            lifecycle.fail(connection, job.id, job.fence, "diverged", "in step 3")
        case Trigger.STOP:
            lifecycle.stop(connection, job.id, job.fence)
        case Trigger.LOSE | Trigger.GIVE_UP:
            lifecycle.lose(connection, job.id, job.fence, KILLED, 0.0, 1.0)


def possible(job: Job) -> list[Trigger]:
    """Triggers that can happen to a job: the number of its deaths decides whether a loss is the last."""
    last = job.deaths == MAXIMUM_DEATHS - 1
    return [trigger for trigger in Trigger if trigger is not (Trigger.LOSE if last else Trigger.GIVE_UP)]


def is_whole(job: Job, before: Job) -> None:
    """What holds for every job in its state."""
    assert (job.finished_at is not None) is (job.state in FINAL)
    assert (job.lease_until is not None) is (job.state is State.RUNNING)
    assert job.wish is None or job.state is State.RUNNING
    assert (job.error is not None) is (job.state is State.FAILED)
    assert (job.version is not None) is (job.state is State.SUCCEEDED)
    assert job.not_before is None or job.state is State.QUEUED
    assert job.fence >= before.fence


def walk(connection: sa.Connection, job: Job, length: int, tried: Counter[tuple[Situation, Trigger]]) -> None:
    """Every sequence of so many triggers from here, each taken back afterwards."""
    situation = Situation(job.state, job.wish)
    for trigger in possible(job):
        tried[situation, trigger] += 1
        following = TRANSITIONS[situation].get(trigger)
        events = len(events_after(connection, job.id, 0, 100))
        with connection.begin_nested() as savepoint:
            try:
                pull(connection, job, trigger)
                refused = False
            except (ConflictError, StaleError):
                refused = True
            now = lifecycle.find(connection, job.id)
            if following is None:
                assert now == job, f"{trigger} changed a job that was {situation}"
                assert refused or trigger in (Trigger.CLAIM, Trigger.ABANDON)
                assert len(events_after(connection, job.id, 0, 100)) == events
            else:
                assert not refused, f"{trigger} was refused while {situation}"
                assert Situation(now.state, now.wish) == following
                is_whole(now, job)
                if now.state is not job.state:
                    assert f'"{now.state}"' in events_after(connection, job.id, 0, 100)[-1].data
                if length > 1:
                    walk(connection, now, length - 1, tried)
            savepoint.rollback()


def test_every_sequence_follows_the_table(connection: sa.Connection) -> None:
    job_id = make_job(connection, 1)
    values = {"id": "ckpt_1", "model": "small", "job": job_id, "kind": "between", "epoch": 1, "step": 7}
    add_checkpoint(connection, {**values, "metrics": "{}", "created_at": ""}, FileRecord(1, "00"))
    job = lifecycle.claim(connection, 0.0, 10.0)
    assert job is not None
    lifecycle.report(connection, job_id, job.fence, Progress(1, 7, 0.1, 3.0, None), checkpoint="ckpt_1")
    lifecycle.stop(connection, job_id, job.fence)
    tried: Counter[tuple[Situation, Trigger]] = Counter()
    walk(connection, lifecycle.find(connection, job_id), LENGTH, tried)
    # A loss that is the last takes three claims, which is longer than these sequences: from its third claim on.
    for _ in range(MAXIMUM_DEATHS - 1):
        job = lifecycle.claim(connection, 1e12, 10.0)
        assert job is not None
        lifecycle.lose(connection, job_id, job.fence, KILLED, 0.0, 1.0)
    walk(connection, lifecycle.find(connection, job_id), 3, tried)
    running = {situation for situation in TRANSITIONS if situation.state is State.RUNNING}
    missing = {(situation, trigger) for situation in TRANSITIONS for trigger in Trigger} - tried.keys()
    # Only a job that runs can be lost, so the number of deaths does not matter elsewhere.
    assert {situation for situation, _ in missing} <= TRANSITIONS.keys() - running
    assert {trigger for _, trigger in missing} <= {Trigger.LOSE, Trigger.GIVE_UP}


def test_the_table_has_every_situation() -> None:
    assert set(TRANSITIONS) == {Situation(state) for state in State} | {Situation(State.RUNNING, wish) for wish in Wish}
    assert set(State) == {*ACTIVE, *FINAL}
    for situation, following in TRANSITIONS.items():
        assert bool(following) is (situation.state in ACTIVE)
        assert set(following.values()) <= TRANSITIONS.keys()


def test_which_states_accept_what_clients_ask() -> None:
    assert accepting(Trigger.CANCEL) == ["queued", "running", "paused"]
    assert accepting(Trigger.PAUSE) == ["queued", "running (unless a cancel is pending)"]
    assert accepting(Trigger.RESUME) == ["running (while a pause is pending)", "paused"]
    assert accepting(Trigger.CLAIM) == ["queued"]


def name(situation: Situation) -> str:
    return situation.state if situation.wish is None else f"{situation.state}, {situation.wish} pending"


def table() -> str:
    """The transitions as docs/architecture.md shows them: a row for each trigger."""
    columns = [situation for situation, following in TRANSITIONS.items() if following]
    rows = [["", *map(name, columns)], ["---"] * (len(columns) + 1)]
    for trigger in Trigger:
        following = [TRANSITIONS[situation].get(trigger) for situation in columns]
        rows.append([f"**{trigger}**", *(name(each) if each else "" for each in following)])
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def test_the_documentation_has_the_table() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text()
    _, _, rest = text.partition("<!-- transitions -->\n")
    found, _, _ = rest.partition("<!-- /transitions -->")
    assert found.strip() == table().strip(), f"docs/architecture.md must have between its marks:\n{table()}"
