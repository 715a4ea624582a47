"""One owner commits: a runner that was stopped for longer than its lease changes nothing when it continues."""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from models.formats.durable import sha256_of
from reliability.figure import Figure
from reliability.runners import Runner, Store
from testing.harness import Server, eventually, serving
from testing.samples import a_model, a_training

__all__ = ["run"]

PAUSES, PAUSES_IN_SERVICE, STEPS = 200, 12, 50_000
#: Minimum number of steps, so that stale writes occur.
LEAST_STEPS = 1_500
#: Jobs of the service that are stopped at once.
ABREAST = 3


def run(scale: float) -> Figure:
    """Stop a runner at random moments, let another one take over its job, and let the first one continue."""
    figure = Figure(goals={"pauses": PAUSES, "pauses in a service": PAUSES_IN_SERVICE, "steps": STEPS})
    moments = random.Random(4)
    with (
        tempfile.TemporaryDirectory(prefix="trainyard-owner-") as folder,
        _lives(max(LEAST_STEPS, round(STEPS * scale)), figure),
    ):
        store = Store.make(Path(folder) / "data", epochs=1_000_000, checkpoint={"every_epochs": 1, "keep": 2})
        for _ in range(max(1, round(PAUSES * scale))):
            _pause_past_the_lease(store, moments, figure)
        _in_a_service(Path(folder), max(ABREAST, round(PAUSES_IN_SERVICE * scale)), figure)
    return figure


@contextmanager
def _lives(steps: int, figure: Figure) -> Iterator[None]:
    """Run the queue's state machine in parallel with the block, in another process because this one forks."""
    command = [sys.executable, "-m", "reliability.lives", str(steps)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as lives:
        try:
            yield
        except BaseException:
            lives.kill()
            raise
        out, err = lives.communicate()
    if lives.returncode:
        figure.broken.append(f"the state machine: {err}")
        return
    for what, number in json.loads(out).items():
        figure.count(what, number)


def _pause_past_the_lease(store: Store, moments: random.Random, figure: Figure) -> None:
    stale = store.start()
    _stop_off_the_database(store, stale, moments.uniform(0.05, 0.4))
    # The start claims the job with the next fencing number, as after the end of the lease.
    owner = store.start()
    _stop_off_the_database(store, owner, moments.uniform(0.0, 0.3))
    before = _everything(store)
    os.kill(stale.pid, signal.SIGCONT)
    outcome = stale.outcome()
    after = _everything(store)
    figure.count("pauses")
    if outcome.get("outcome") != "lost":
        figure.broken.append(f"the first owner ended with {outcome}")
    for place in before.keys() | after.keys():
        # The first owner may remove its own temporary file; nothing else may change.
        if before.get(place) != after.get(place) and not (place.endswith(".partial") and place not in after):
            figure.broken.append(f"{place} was changed by the first owner")
    figure.broken += store.damage(sweep=False)
    owner.kill()
    figure.broken += store.damage()


def _stop_off_the_database(store: Store, one: Runner, seconds: float) -> None:
    """Send SIGSTOP after ``seconds``, or later if the runner then holds the database lock, which blocks a takeover."""
    time.sleep(seconds)
    while True:
        os.kill(one.pid, signal.SIGSTOP)
        if _is_free(store.data):
            return
        os.kill(one.pid, signal.SIGCONT)
        time.sleep(0.002)


def _is_free(data: Path) -> bool:
    """Return whether the database is not locked."""
    with closing(sqlite3.connect(data / "trainyard.db", timeout=0.05, isolation_level=None)) as database:
        try:
            database.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError:
            return False
        database.execute("ROLLBACK")
    return True


def _everything(store: Store) -> dict[str, Any]:
    """Return every row of the database and the size of every file, by table and file name."""
    found: dict[str, Any] = {path.name: path.stat().st_size for path in (store.data / "checkpoints").iterdir()}
    named = {f"{checkpoint}.h5" for checkpoint in store.named()}
    # A file that is renamed but not yet in the database may be deleted by its owner.
    found = {name: size for name, size in found.items() if name in named}
    with closing(sqlite3.connect(store.data / "trainyard.db")) as database:
        for table in ("jobs", "checkpoints", "versions", "events", "models", "datasets"):
            found[f"table {table}"] = database.execute(f"SELECT * FROM {table} ORDER BY 1").fetchall()
    return found


def _in_a_service(folder: Path, pauses: int, figure: Figure) -> None:
    """Stop runners of a complete service. A live trainer ends them; without it, fencing numbers refuse their writes."""
    settings = {"WORKERS": 1, "PARALLEL_JOBS": ABREAST, "LEASE_SECONDS": 1, "RETRY_SECONDS": 0.05}
    with serving(folder / "service", REPORT_SECONDS=0.05, **settings) as server:
        server.client.define(a_model("paused"))
        for number in range(-(-pauses // ABREAST)):
            policy = {"every_epochs": 200, "keep": 2}
            jobs = [server.client.train(a_training("paused", epochs=10**7, checkpoint=policy)) for _ in range(ABREAST)]
            _stop_all(server, [job["id"] for job in jobs], figure, with_trainer=bool(number % 2))


def _stop_all(server: Server, jobs: list[str], figure: Figure, *, with_trainer: bool) -> None:
    """Stop all runners until their leases expire, with or without killing the trainer, and let the runners continue."""
    for job in jobs:
        server.client.until_epoch(job, 1)
    trainer = server.trainer().pid
    stopped = [one.pid for one in server.processes("service runner") if one.parent == trainer][: len(jobs)]
    _signal(stopped, signal.SIGSTOP)
    if with_trainer:
        _signal([trainer], signal.SIGKILL)
        if not _free_soon(server):
            # A stopped runner holds the database lock, so no takeover is possible before it continues.
            figure.count("held the database")
            _signal(stopped, signal.SIGCONT)
    for job in jobs:
        eventually(lambda job=job: _was_taken_over(server, job), 40.0, f"{job} is taken over")  # type: ignore[misc]
    _signal(stopped, signal.SIGCONT)
    eventually(lambda: not {one.pid for one in server.processes("service runner")} & set(stopped), what="they leave")
    figure.count("pauses in a service", len(stopped))
    for job in jobs:
        assert server.client.post(f"/jobs/{job}/cancel").status == 202
    for job in jobs:
        ended = server.client.wait(job)
        if (ended["state"], ended["attempt"], ended["version"]) != ("cancelled", 2, None):
            figure.broken.append(f"{job} was taken over once and cancelled, and is {ended}")
    _check_files(server, figure)


def _signal(processes: list[int], number: signal.Signals) -> None:
    for pid in processes:
        with suppress(ProcessLookupError):  # The trainer may have ended it.
            os.kill(pid, number)


def _was_taken_over(server: Server, job: str) -> bool:
    answer = server.client.get(f"/jobs/{job}")
    if answer.status == 503:  # a stopped runner holds the database lock
        return False
    return bool(answer.json["attempt"] == 2 and answer.json["state"] == "running")


def _free_soon(server: Server) -> bool:
    """Return whether the database is unlocked within two seconds; running processes lock it only for a moment."""
    try:
        return eventually(lambda: _is_free(server.data), 2.0)
    except AssertionError:
        return False


def _check_files(server: Server, figure: Figure) -> None:
    """Verify that every file in the database exists and has its digest."""
    with closing(sqlite3.connect(server.data / "trainyard.db")) as database:
        named = {f"{name}.h5": digest for name, digest in database.execute("SELECT id, sha256 FROM checkpoints")}
    for name, digest in named.items():
        path = server.data / "checkpoints" / name
        if not path.exists() or sha256_of(path) != digest:
            figure.broken.append(f"{name} does not match the database")
