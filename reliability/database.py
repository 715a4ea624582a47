"""What is acknowledged outlives the failures of a PostgreSQL server, and loaded versions go on answering meanwhile.

A real service with two web workers and a trainer runs on a real server, which is killed and restarted, and whose
connections it cuts, at random moments, while clients define models, move an alias and train, and another client asks
for predictions all the time. At the end, everything that was acknowledged is there once, every job has succeeded once,
and its files have the bits of a run that nothing disturbed.
"""

from __future__ import annotations

import json
import random
import tempfile
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic, sleep
from typing import Any

from reliability.figure import Figure
from testing.harness import Answer, Client, Server
from testing.jobs import arrays
from testing.postgresql import PostgreSQL, postgresql
from testing.samples import ROWS, a_model, a_training

__all__ = ["run"]

FAILURES = 200
#: Seeds of the jobs, each of which always trains the same network.
SEEDS = (1, 2, 3, 4)
#: Epochs of a job, with a checkpoint now and then.
EPOCHS, EVERY = 1500, 300
#: Clients that train, and clients that define models and move an alias.
TRAINING, DEFINING = 2, 2
#: Seconds within which a request must be answered other than by 503, and a job must end after the last failure.
PATIENCE, END_PATIENCE = 60.0, 600.0


def run(scale: float) -> Figure:
    """Disturb the server at random moments; ``scale`` multiplies the number of failures."""
    figure = Figure(goals={"failures of the server": FAILURES})
    with tempfile.TemporaryDirectory(prefix="trainyard-database-") as folder, postgresql(durable=True) as database:
        url = database.create("trainyard")
        server = Server(Path(folder) / "data", DATABASE_URL=url, LEASE_SECONDS=5, REPORT_SECONDS=0.05, PARALLEL_JOBS=2)
        try:
            client = server.start_ready()
            trial = _Trial(server, client, database, figure)
            trial.prepare()
            trial.disturb(max(4, round(FAILURES * scale)))
            trial.check()
        finally:
            server.close()
    return figure


@dataclass
class _Trial:
    """A running service on a server that fails, what clients were told, and what was wrong."""

    server: Server
    client: Client
    database: PostgreSQL
    figure: Figure
    over: threading.Event = field(default_factory=threading.Event)
    #: The jobs that were acknowledged, with their seeds; models that were defined; the version that an alias has.
    jobs: dict[str, int] = field(default_factory=dict)
    models: list[str] = field(default_factory=list)
    alias: int = 0
    #: How often that alias was moved.
    moves: int = 0
    #: The bits that a job of each seed ends with, and what the loaded version answers.
    bits: dict[int, dict[str, bytes]] = field(default_factory=dict)
    answer: Any = None

    def prepare(self) -> None:
        """Run one job of each seed undisturbed, and load a version."""
        for name in ("trained", "served"):
            self.client.define(a_model(name))
        for seed in SEEDS:
            job = self.client.run(self._training(seed))
            self.bits[seed] = self._bits(job["checkpoint"])
        self.client.run(a_training("served", epochs=5))
        self.client.run(a_training("served", epochs=7))
        for _ in range(20):  # Each worker has it loaded.
            self.answer = self._predicted().json

    def _training(self, seed: int) -> dict[str, Any]:
        return a_training("trained", seed=seed, epochs=EPOCHS, checkpoint={"every_epochs": EVERY, "keep": 2})

    def _bits(self, checkpoint: str) -> dict[str, bytes]:
        return arrays(self.server.data / "checkpoints" / f"{checkpoint}.h5", "parameters", "optimizer")

    def _predicted(self) -> Answer:
        return self.client.post("/predict", {"model": "served", "version": 2, "inputs": ROWS[:2]})

    def disturb(self, failures: int) -> None:
        """Let clients work while the server fails so many times."""
        with ThreadPoolExecutor(TRAINING + DEFINING + 2) as threads:
            work = [
                *(threads.submit(self._train, number) for number in range(TRAINING)),
                *(threads.submit(self._define, number) for number in range(DEFINING)),
                threads.submit(self._move_alias),
                threads.submit(self._predict),
            ]
            try:
                self._fail(failures)
            finally:
                self.over.set()
            for one in work:
                one.result(2 * PATIENCE)

    def _fail(self, failures: int) -> None:
        chance = random.Random(7)
        ways: dict[str, Callable[[], None]] = {
            "kills of all its processes": self._kill,
            "kills of its first process": self._kill_postmaster,
            "restarts": self._restart,
            "cuts of all connections": self._cut,
        }
        for number in range(failures):
            what, moved = list(ways)[number % len(ways)], self.moves
            ways[what]()
            self.figure.count("failures of the server")
            self.figure.count(what)
            until = monotonic() + PATIENCE
            while self.moves == moved and monotonic() < until:
                sleep(0.01)
            sleep(chance.uniform(0.0, 2.0))  # so that failures hit different moments

    def _kill(self) -> None:
        self.database.kill()
        self.database.start()

    def _kill_postmaster(self) -> None:
        self.database.kill_postmaster()
        self.database.start()

    def _restart(self) -> None:
        self.database.stop()
        self.database.start()

    def _cut(self) -> None:
        self.figure.count("connections cut", self.database.cut_connections("trainyard"))

    def _insist(self, method: str, path: str, document: Any, headers: dict[str, str] | None = None) -> Answer:
        """Repeat a request until the database answers it."""
        until = monotonic() + PATIENCE
        while True:
            answer = self.client.request(method, path, document, headers)
            if answer.status != 503:
                return answer
            self.figure.count("requests that were to be repeated")
            if "retry-after" not in answer.headers or monotonic() > until:
                self.figure.broken.append(f"{method} {path}: {answer}")
                return answer
            sleep(0.05)

    def _train(self, number: int) -> None:
        """Have at most one job at a time, and retry under a key until it is acknowledged."""
        for turn in range(10**6):
            if self.over.is_set():
                return
            seed = SEEDS[(turn + number) % len(SEEDS)]
            key = {"Idempotency-Key": f"train-{number}-{turn}"}
            answer = self._insist("POST", "/train", self._training(seed), key)
            if answer.status != 202:
                self.figure.broken.append(f"POST /train: {answer}")
                return
            job = answer.json["id"]
            self.jobs[job] = seed
            while not self.over.is_set():
                found = self._insist("GET", f"/jobs/{job}?wait=5", None)
                if found.status != 200:
                    self.figure.broken.append(f"{job} was acknowledged: {found}")
                    return
                if found.json["state"] in ("succeeded", "failed", "cancelled"):
                    break

    def _define(self, number: int) -> None:
        for turn in range(10**6):
            if self.over.is_set():
                return
            name = f"m-{number}-{turn}"
            answer = self._insist("POST", "/models", a_model(name))
            if answer.status not in (200, 201):
                self.figure.broken.append(f"POST /models: {answer}")
                return
            self.models.append(name)
            shown = self._insist("GET", f"/models/{name}", None)
            if shown.status != 200:
                self.figure.broken.append(f"{name} was acknowledged, and then: {shown}")

    def _move_alias(self) -> None:
        """What an alias was set to is what the next prediction by it uses."""
        turn = 0
        while not self.over.is_set():
            turn += 1
            version = 1 + turn % 2
            answer = self._insist("PUT", "/models/served/aliases/moving", {"version": version})
            if answer.status != 200:
                self.figure.broken.append(f"PUT alias: {answer}")
                return
            self.alias = version
            body = {"model": "served", "version": "moving", "inputs": ROWS[:2]}
            found = self._insist("POST", "/predict", body)
            if found.status != 200 or found.json["version"] != version:
                self.figure.broken.append(f"the alias was moved to version {version}, and then: {found}")
            self.moves += 1

    def _predict(self) -> None:
        """A loaded version answers all the time."""
        while not self.over.is_set():
            answer = self._predicted()
            self.figure.count("predictions")
            if answer.status != 200 or answer.json != self.answer:
                self.figure.broken.append(f"a loaded version: {answer}")
            sleep(0.002)

    def check(self) -> None:
        """Everything that was acknowledged is there, once, and right."""
        for job, seed in self.jobs.items():
            self._check_job(self.client.wait(job, END_PATIENCE), seed)
        made = {job["id"] for job in self.client.pages("/jobs", 100)}
        others = made - self.jobs.keys()
        known = len(SEEDS) + 2
        if len(others) != known:
            self.figure.broken.append(f"{len(others) - known} jobs that nobody asked for")
        if self.client.get("/models/served/aliases/moving").json["version"] != self.alias:
            self.figure.broken.append("the alias is not where it was moved to")
        defined = {model["name"] for model in self.client.pages("/models", 100)}
        self.figure.broken += [f"{name} was acknowledged and is lost" for name in self.models if name not in defined]
        self.figure.count("models defined", len(self.models))
        self.figure.count("moves of an alias", self.moves)

    def _check_job(self, job: dict[str, Any], seed: int) -> None:
        self.figure.count("jobs")
        self.figure.count("attempts", job["attempt"])
        if job["state"] != "succeeded":
            self.figure.broken.append(f"{job['id']} is {job['state']}: {job['error']}")
            return
        if self._bits(job["checkpoint"]) != self.bits[seed]:
            self.figure.broken.append(f"{job['id']} has other bits than the undisturbed run with seed {seed}")
        epochs = [epoch["epoch"] for epoch in self.client.history(job["id"])]
        if epochs != sorted(set(epochs)) or epochs[-1] != EPOCHS:
            self.figure.broken.append(f"{job['id']}: its history has the epochs {epochs}")
        versions = self.client.pages("/models/trained/versions", 100)
        if [one["job"] for one in versions].count(job["id"]) != 1:
            self.figure.broken.append(f"{job['id']} has not one version")
        events = self.client.get(f"/jobs/{job['id']}/events?limit=100", headers={"Accept": "application/json"})
        ends = [one for one in events.json["data"] if one["type"] == "state" and one["data"]["state"] == "succeeded"]
        if len(ends) != 1:
            self.figure.broken.append(f"{job['id']} ended {len(ends)} times: {json.dumps(ends)}")
