"""Serving survives training: predictions while jobs publish, processes are killed and web workers are replaced.

Clients keep their connections and never repeat a request. Some send without pauses, some pause for longer than the
server keeps an idle connection, some send requests slowly, and some close their end of a connection late. Meanwhile
jobs train and publish, their runners and the trainer are killed, gunicorn reloads, and workers end on request or by
themselves after some requests. After a job has reported a version, every client's next request must get it.
"""

from __future__ import annotations

import os
import random
import signal
import tempfile
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from reliability.figure import Figure
from reliability.predicting import Client, Habit, Question, Trial, Version, check
from reliability.samples import MEMBERS, TABLE, table_rows
from testing.harness import FINAL, Process, Server

__all__ = ["run"]

GOALS = {
    "predictions": 100_000,
    "versions published": 20,
    "runners killed": 30,
    "trainers killed": 10,
    "reloads": 10,
    "workers asked to end": 10,
    "workers recycled": 10,
}
#: Time limit of a full run in seconds.
TIME_LIMIT = 480.0
#: A worker ends by itself after this number of requests, or up to twice as many.
RECYCLE_AFTER = 5000
#: The disturbances of a round, and the maximum time between two of them in seconds.
DISTURBANCES = (
    *("runners killed", "reloads", "trainers killed"),
    *("workers asked to end", "runners killed", "runners killed"),
)
QUIET = 2.0
#: The clients; gunicorn keeps an idle connection for five seconds.
CLIENTS = [
    *[Habit("at once")] * 6,
    *[Habit("after a short pause", pause=1.0)] * 2,
    *[Habit("after a long pause", pause=7.0)] * 8,
    *[Habit("sent slowly", halt=1.5)] * 2,
    *[Habit("closed late", lateness=1.5)] * 2,
]
#: By model of a matrix: number of inputs, hidden units and rows of a large request.
MATRICES = {"narrow": (2, [8], 40), "broad": (64, [128, 128], 600)}
#: The models of a table, of which one has several members, and rows of a large request.
MIXED, SEVERAL, MANY_MIXED = "mixed", "several", 200
MODELS = (*MATRICES, MIXED, SEVERAL)
CLASSES = ["red", "green", "blue"]
LOST = {"worker_lost", "member_lost"}


class RecyclingServer(Server):
    """A server whose workers end after some requests and are replaced."""

    def __init__(self, data: Path, recycle_after: int, **settings: object) -> None:
        super().__init__(data, **settings)
        self._recycle = f"--max-requests {recycle_after} --max-requests-jitter {recycle_after}"

    @property
    def environment(self) -> dict[str, str]:
        return {**super().environment, "GUNICORN_CMD_ARGS": self._recycle}

    @property
    def arbiter(self) -> int:
        assert self.process is not None
        return self.process.pid

    def workers(self) -> list[Process]:
        """Return the web workers, the oldest first."""
        return [one for one in self.processes("gunicorn") if one.parent == self.arbiter]


def training(model: str, seed: int) -> dict[str, Any]:
    """Return a request for a job of about half a second, with checkpoints from which a killed job continues."""
    checkpoint = {"every_epochs": 40}
    if model in (MIXED, SEVERAL):
        data = {"rows": table_rows(seed, 120), "label": TABLE.label}
        if model == SEVERAL:
            return {"model": model, "data": data, "seed": seed, "checkpoint": checkpoint}
        request = {"model": model, "data": data, "epochs": 200, "batch_size": 60, "seed": seed}
        return {**request, "checkpoint": checkpoint}
    inputs, _, _ = MATRICES[model]
    rows = np.random.default_rng(seed).normal(size=(120, inputs)).astype(np.float32)
    labels = [CLASSES[int(row[0] > 0) + int(row[1] > 0)] for row in rows]
    epochs = 1000 if model == "narrow" else 150
    return {
        "model": model,
        "data": {"inputs": rows.tolist(), "labels": labels},
        "epochs": epochs,
        "batch_size": 60,
        "seed": seed,
        "checkpoint": {"every_epochs": max(1, epochs // 5)},
    }


def define_and_publish(server: Server) -> None:
    """Define each model and publish its version 1."""
    for model, (inputs, hidden, _) in MATRICES.items():
        server.client.define({"name": model, "inputs": inputs, "classes": CLASSES, "hidden": hidden})
    server.client.define(TABLE.named(MIXED))
    server.client.define(MEMBERS.named(SEVERAL))
    for model in MODELS:
        server.client.run(training(model, seed=0))


def questions() -> list[Question]:
    """Return single rows and a large body for each model, with different content types and versions."""
    generator, binary = np.random.default_rng(0), "application/octet-stream"
    found = [
        Question(model, {"inputs": generator.normal(size=(rows, inputs)).tolist()}, version, kind)
        for model, (inputs, _, many) in MATRICES.items()
        for rows, version, kind in (
            *((1, None, "application/json"), (1, None, None), (1, None, binary)),
            *((1, 1, None), (many, None, binary)),
        )
    ]
    records = [{name: row[name] for name in row if name != TABLE.label} for row in table_rows(99, MANY_MIXED)]
    columns = sorted(records[0])
    lists = {"columns": columns, "rows": [[row[name] for name in columns] for row in records[:1]]}
    given = ({"rows": records[1:2]}, None), (lists, None), ({"rows": records[2:3]}, 1), ({"rows": records}, None)
    several = ({"rows": records[:1]}, None), (lists, 1), ({"rows": records}, None)
    found += [Question(MIXED, rows, version, None) for rows, version in given]
    return found + [Question(SEVERAL, rows, version, None) for rows, version in several]


def publish(trial: Trial, server: Server, model: str) -> None:
    """Train one version after the other; every later request must get a version that a job has reported."""
    seed = 0
    while not trial.over.is_set():
        seed += 1
        job = server.client.train(training(model, seed))
        while job["state"] not in FINAL and not trial.over.is_set():
            job = server.client.get(f"/jobs/{job['id']}?wait=1").json
        if job["state"] == "succeeded":
            trial.published[model] = max(trial.published[model], job["version"])
            trial.count("versions published")
        elif job["state"] == "failed" and job["error"]["code"] not in LOST:
            trial.broke(f"{model}: {job['error']}")


def disturb(trial: Trial, server: RecyclingServer) -> None:
    """Kill processes, reload gunicorn and end workers, one after the other, at random moments.

    Each round waits until a version has been published, so that a slow machine also publishes versions.
    """
    chance = random.Random(0)
    while not trial.over.is_set():
        before = sum(trial.published.values())
        while sum(trial.published.values()) == before and not trial.over.wait(0.05):
            pass
        for action in DISTURBANCES:
            if trial.over.wait(chance.uniform(0.0, QUIET)):
                return
            if _act(server, action):
                trial.count(action)


def _act(server: RecyclingServer, action: str) -> bool:
    """Send the signal of an action to its process; return False if there is currently no such process."""
    number, victims = {
        "runners killed": (signal.SIGKILL, lambda: server.processes("service runner")),
        "trainers killed": (signal.SIGKILL, lambda: server.processes("service trainer")),
        "workers asked to end": (signal.SIGTERM, server.workers),
        "reloads": (signal.SIGHUP, lambda: server.processes("gunicorn")),
    }[action]
    found = victims()
    if not found:
        return False
    try:
        os.kill(found[0].pid, number)
    except ProcessLookupError:
        return False  # The process has already ended.
    return True


def recycled(trial: Trial, server: RecyclingServer) -> None:
    """Count the workers that ended by themselves, from the log."""
    known = 0
    while not trial.over.wait(0.2):
        now = server.log.count("Autorestarting worker after current request")
        trial.count("workers recycled", now - known)
        known = now


def versions_of(server: Server) -> dict[str, dict[int, Version]]:
    """Return all versions by model and number."""
    return {
        model: {
            one["version"]: Version(
                one["version"],
                datetime.fromisoformat(one["created_at"]),
                server.data / "checkpoints" / f"{one['checkpoint']}.h5",
            )
            for one in server.client.pages(f"/models/{model}/versions", 100)
        }
        for model in MODELS
    }


def run(scale: float) -> Figure:
    """Run clients and disturbances until each count has reached ``scale`` times its goal."""
    figure = Figure(goals=dict(GOALS))
    # At least two versions: one before and one during the first disturbances.
    least = {"versions published": 2}
    goals = {what: max(least.get(what, 1), round(goal * scale)) for what, goal in GOALS.items()}
    with tempfile.TemporaryDirectory(prefix="trainyard-serving-") as folder:
        recycle_after = max(1200, round(RECYCLE_AFTER * min(1.0, scale)))
        server = RecyclingServer(Path(folder) / "data", recycle_after, LEASE_SECONDS=1)
        try:
            server.start_ready()
            define_and_publish(server)
            place = urlsplit(server.client.base)
            assert place.hostname is not None
            assert place.port is not None
            trial = Trial((place.hostname, place.port), questions(), figure, goals, dict.fromkeys(MODELS, 1))
            _run(trial, server, max(60.0, TIME_LIMIT * scale))
            check(trial, versions_of(server))
        finally:
            server.close()
    return figure


def _run(trial: Trial, server: RecyclingServer, seconds: float) -> None:
    tasks = [(recycled, (trial, server)), (disturb, (trial, server)), (trial.supervise, (seconds,))]
    tasks += [(publish, (trial, server, model)) for model in MODELS]
    tasks += [(Client(trial, number, habit).run, ()) for number, habit in enumerate(CLIENTS)]
    with ThreadPoolExecutor(len(tasks)) as pool:
        running = [pool.submit(task, *arguments) for task, arguments in tasks]
        try:
            for each in running:
                each.result()
        finally:
            trial.over.set()
