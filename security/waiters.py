"""Clients that wait for a job hold no thread, and each has the end of it soon."""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path
from typing import Any

from reliability.figure import Figure
from security.crowd import Crowd, Habit, Member
from security.watch import Goal, Watch, watched
from testing.harness import FINAL, eventually
from testing.samples import a_training

__all__ = ["run"]

GOALS = {"waiting for the end": 2_000, "streams of events": 2_000}
#: Seconds within which a waiting client has the end of a job.
SOON = 1.0
#: Threads of a worker beside its pool: the loop, the watch for changes, and those of libraries.
OTHER_THREADS = 8
#: Threads of a worker's pool: by default, and in the short form, which has fewer clients.
DEFAULT_THREADS, THREADS = 16, 4
#: Clients of each kind that come at a time, once a second: more at once would be refused as too many.
PACE = 50
#: Seconds for everything, whatever the machine is busy with.
PATIENCE = 55.0
_ENDS = ("a job that succeeds", "a job that is cancelled")


def run(scale: float) -> Figure:
    """Let as many clients wait for jobs, and as many read their events, as there are thousands of them at scale 1."""
    figure = Figure(goals=dict(GOALS))
    each = int(GOALS["waiting for the end"] * scale) // len(_ENDS)
    pool = DEFAULT_THREADS if scale >= 1 else THREADS
    with watched(figure, scale, TRAINER="external", THREADS=pool) as watch:
        for end in _ENDS:
            _wait(watch, end, each, pool)
    return figure


def _wait(watch: Watch, end: str, each: int, pool: int) -> None:
    client, figure, trainer = watch.client, watch.figure, None
    job = client.train(a_training("asked"))["id"]
    host = b"Host: localhost\r\nConnection: close\r\n"
    habits = (
        Habit("waiting for the end", f"GET /jobs/{job}?wait=60 HTTP/1.1\r\n".encode() + host + b"\r\n"),
        Habit(
            "streams of events",
            f"GET /jobs/{job}/events HTTP/1.1\r\n".encode() + host + b"Accept: text/event-stream\r\n\r\n",
        ),
    )
    name = f"{each:,} clients that wait and {each:,} streams, for {end}"
    # Each change of the job is sent to every stream. While so many answers are due, lists may be refused.
    with watch.attack(name, Goal(p99=0.25, times=1.0, health=SOON, refusals=True)), Crowd(watch.port) as crowd:
        for place in range(0, each, PACE):
            crowd.join(habits, min(PACE, each - place))
            crowd.live(1.0 if watch.timed else 0.0)
        crowd.live(PATIENCE, lambda: all(one.received for one in crowd.members if one.habit is habits[1]))
        for pid in watch.workers():
            threads = len(list(Path(f"/proc/{pid}/task").iterdir()))
            if threads > pool + OTHER_THREADS:
                watch.broke(f"{name}: a worker has {threads} threads, its pool has {pool}")
        if end == _ENDS[0]:
            trainer = watch.server.run_beside("trainer")
        else:
            eventually(lambda: client.post(f"/jobs/{job}/cancel").status == 202, what="the job is cancelled")
        crowd.live(PATIENCE, lambda: all(member.ended is not None for member in crowd.members))
    if trainer is not None:
        trainer.terminate()
        trainer.wait(30)
    ended = client.job(job)
    late = sorted(_lateness(watch, member, ended, name) for member in crowd.members)
    middle, longest = late[len(late) // 2], late[-1]
    print(f"    {name}: half had the end after {middle:.2f} s, the last one after {longest:.2f} (goal {SOON:g})")
    if watch.timed and longest > SOON:
        watch.broke(f"{name}: the last one had the end after {longest:.2f} s (goal {SOON:g})")
    if ended["state"] not in FINAL:
        watch.broke(f"{name}: the job has not ended: {ended}")
    for habit in habits:
        figure.count(habit.name, each)


def _lateness(watch: Watch, member: Member, job: dict[str, Any], name: str) -> float:
    """Seconds from the end of the job to the last byte of an answer, which must have the job's last state."""
    states = re.findall(rb'"state":\s*"(\w+)"', member.answer + member.tail)
    if member.ended is None or member.status != 200 or not states or states[-1].decode() != job["state"]:
        watch.broke(f"{name}: {member.habit.name}: must have {job['state']}. Received: {member.tail!r}")
    return member.last - datetime.fromisoformat(job["finished_at"]).timestamp()
