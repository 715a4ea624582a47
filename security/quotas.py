"""More than there may be: floods of models, datasets and jobs end at their quotas, and take no turn from others."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from contextlib import closing
from typing import Any

from reliability.figure import Figure
from security.at_once import at_once
from security.watch import Goal, Watch, watched
from testing.harness import Client, eventually

__all__ = ["run"]

#: The quotas of the service that is flooded.
QUOTAS = {"MAX_MODELS": 300, "MAX_DATASETS": 100, "MAX_QUEUED_JOBS": 60}
#: Clients that send at the same time.
CLIENTS = 64
#: How many more requests are sent than may succeed.
TIMES = 3
#: Epochs of a job that would take minutes, and at most so many points of its history and bytes of its database.
EPOCHS, POINTS, GROWTH = 10_000_000, 10_000, 16 * 2**20
#: Epochs after which it is cancelled.
TRAINED = 100_000
GOALS = {"requests of floods": 1_200, "refused by a quota": 300, "jobs in turn": 3}
#: Writers wait for each other; that others are refused while the database is busy is no harm.
_GOAL = Goal(p99=0.25, refusals=True)
DATA = {"inputs": [[0.0, 1.0], [1.0, 0.0]], "labels": [0, 1]}


def run(scale: float) -> Figure:
    """Flood a service with what is stored, let one owner fill the queue, and let one job run on and on."""
    figure = Figure(goals=dict(GOALS))
    quotas = {name: max(5, int(number * scale)) for name, number in QUOTAS.items()}
    with watched(figure, scale, ACCESS_LOG="on", **quotas) as watch:
        _endless(watch, scale)
        _flood(watch, "models", quotas["MAX_MODELS"], "/models", lambda number: _small(f"m{number}"))
        _flood(watch, "datasets", quotas["MAX_DATASETS"], "/datasets", lambda number: {"name": f"d{number}", **DATA})
        _turns(watch)
        _queue(watch, quotas["MAX_QUEUED_JOBS"])
        _log(watch)
    return figure


def _small(name: str) -> dict[str, Any]:
    return {"name": name, "inputs": 2, "classes": 2, "hidden": [4]}


def _flood(watch: Watch, what: str, most: int, path: str, document: Any) -> None:
    """Sixty-four clients send what is stored; it ends at the quota, whatever they send at the same time."""
    count = TIMES * most
    with watch.attack(f"{count} {what} for a quota of {most}", _GOAL):
        answers = [
            answer
            for start in range(0, count, CLIENTS)
            for answer in at_once(
                CLIENTS, lambda number, start=start: watch.client.post(path, document(start + number))
            )
        ]
    got = Counter(getattr(answer, "status", repr(answer)) for answer in answers)
    refused = [answer for answer in answers if getattr(answer, "status", 0) == 429]
    watch.figure.count("requests of floods", len(answers))
    watch.figure.count("refused by a quota", len(refused))
    if got.keys() - {201, 429, 503}:
        watch.broke(f"{what}: must be 201, 429 or 503. Received: {dict(got)}")
    if any("retry-after" not in answer.headers or answer.json["code"] != f"too_many_{what}" for answer in refused):
        watch.broke(f"{what}: a refusal must have Retry-After and the code too_many_{what}")
    there = watch.server.stored()[what]
    if there > most or (not refused and count > most):
        watch.broke(f"{what}: there are {there}, and {most} may be")


def _turns(watch: Watch) -> None:
    """One owner fills the queue; the jobs of two others start after few of its own."""

    def queued(owner: str) -> str:
        request = {"model": _small("turns"), "data": DATA, "epochs": 200}
        answer = watch.client.post("/train", request, headers={"Trainyard-Owner": owner})
        assert answer.status == 202, answer
        return str(answer.json["id"])

    with watch.attack("one owner fills the queue", _GOAL):
        greedy = [queued("greedy") for _ in range(4)]
        others = [queued(owner) for owner in ("modest", "patient")]
        for job in [*greedy, *others]:
            watch.client.wait(job)
    starts = {job: watch.client.job(job)["started_at"] for job in [*greedy, *others]}
    for job in others:
        before = sum(starts[each] < starts[job] for each in greedy)
        if before > 2:
            watch.broke(f"a job of another owner must wait for one or two of a full queue. Received: {before}")
        watch.figure.count("jobs in turn")
    watch.figure.count("jobs in turn")


def _queue(watch: Watch, most: int) -> None:
    """More jobs than may wait; then they are cancelled and deleted."""
    model = _small("queued")
    request = {"model": model, "data": DATA, "epochs": TRAINED}  # More epochs would need more disk than there may be.
    headers = {"Trainyard-Owner": "greedy"}
    count = TIMES * most
    with watch.attack(f"{count} jobs for a quota of {most}", _GOAL):
        answers = at_once(count, lambda _: watch.client.post("/train", request, headers=headers))
        jobs = [answer.json["id"] for answer in answers if answer.status == 202]
        for job in jobs:
            watch.client.post(f"/jobs/{job}/cancel")
        eventually(lambda: _deleted(watch.client, jobs), 60.0, "all jobs deleted")
    got = Counter(answer.status for answer in answers)
    watch.figure.count("requests of floods", count)
    watch.figure.count("refused by a quota", got[429])
    if got.keys() - {202, 429, 503} or not got[429] or len(jobs) > most + 1:  # One may run beside those that wait.
        watch.broke(f"jobs: at most {most} may wait. Received: {dict(got)}")


def _deleted(client: Client, jobs: list[str]) -> bool:
    """Whether all these jobs are deleted; deletes those that have ended."""
    left = [job for job in jobs if client.delete(f"/jobs/{job}").status not in (204, 404)]
    return not left


def _endless(watch: Watch, scale: float) -> None:
    """A job of millions of epochs writes no more than its history may have, and is deleted whole."""
    request = {"model": _small("endless"), "data": DATA, "epochs": EPOCHS}
    before = _events(watch)
    size = (watch.server.data / "trainyard.db").stat().st_size
    with watch.attack(f"a job of {EPOCHS:,} epochs", _GOAL):
        job = watch.client.train(request)["id"]
        wanted = int(TRAINED * min(scale, 1.0))
        eventually(lambda: watch.client.job(job)["progress"]["epoch"] >= wanted, 60.0, f"{wanted} epochs")
        watch.client.post(f"/jobs/{job}/cancel")
        watch.client.wait(job)
    epochs = watch.client.job(job)["progress"]["epoch"]
    points = _events(watch) - before
    grown = (watch.server.data / "trainyard.db").stat().st_size - size
    if points > POINTS + 100 or grown > GROWTH:
        watch.broke(f"{epochs:,} epochs must be at most {POINTS:,} points. Received: {points:,}, {grown:,} bytes")
    print(f"    {epochs:,} epochs of {EPOCHS:,}: {points:,} events, {grown:,} bytes")
    if watch.client.delete(f"/jobs/{job}").status != 204 or _events(watch) != before:
        watch.broke("a deleted job must leave no event")


def _events(watch: Watch) -> int:
    with closing(sqlite3.connect(f"file:{watch.server.data}/trainyard.db?mode=ro", uri=True)) as database:
        return int(database.execute("SELECT count(*) FROM events").fetchone()[0])


def _log(watch: Watch) -> None:
    """Each refusal has a line with its code, and none has a row."""
    watch.server.until_logged('"too_many_jobs"')
    lines = [json.loads(line) for line in watch.server.log.splitlines() if '"event":"request"' in line]
    codes = {line["code"] for line in lines}
    if not {"too_many_models", "too_many_datasets", "too_many_jobs"} <= codes:
        watch.broke(f"the log must have a line for each refusal. Received: {codes}")
    if any(line["route"] is None or "request_id" not in line for line in lines):
        watch.broke("each line of a request must have its route and its id")
