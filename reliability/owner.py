"""One owner commits: a runner that was stopped past its lease changes nothing when it goes on."""

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
#: So few that not even a stale write is among them would prove nothing.
LEAST_STEPS = 1_500
#: Jobs of the service that are stopped at once.
ABREAST = 3


def run(scale: float) -> Figure:
    """Stop a runner at random moments, have another one take its job over, and let the first one go on."""
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
    """The queue's state machine beside what happens in the block, in a process of its own, since this one forks."""
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
    # Time goes by, the lease runs out, and the job is claimed under the next number.
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
        # What the first owner had begun to write goes with it; nothing else may come or go.
        if before.get(place) != after.get(place) and not (place.endswith(".partial") and place not in after):
            figure.broken.append(f"{place} was changed by the first owner")
    figure.broken += store.damage(sweep=False)
    owner.kill()
    figure.broken += store.damage()


def _stop_off_the_database(store: Store, one: Runner, seconds: float) -> None:
    """SIGSTOP after so many seconds; where it then holds the database, which nobody could take over, a bit later."""
    time.sleep(seconds)
    while True:
        os.kill(one.pid, signal.SIGSTOP)
        if _is_free(store.data):
            return
        os.kill(one.pid, signal.SIGCONT)
        time.sleep(0.002)


def _is_free(data: Path) -> bool:
    """Whether nobody holds the database."""
    with closing(sqlite3.connect(data / "trainyard.db", timeout=0.05, isolation_level=None)) as database:
        try:
            database.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError:
            return False
        database.execute("ROLLBACK")
    return True


def _everything(store: Store) -> dict[str, Any]:
    """Every row of the database and every file, by a name of its place."""
    found: dict[str, Any] = {path.name: path.stat().st_size for path in (store.data / "checkpoints").iterdir()}
    named = {f"{checkpoint}.h5" for checkpoint in store.named()}
    # A file that is renamed and not yet named may be deleted by the one who made it.
    found = {name: size for name, size in found.items() if name in named}
    with closing(sqlite3.connect(store.data / "trainyard.db")) as database:
        for table in ("jobs", "checkpoints", "versions", "events", "models", "datasets"):
            found[f"table {table}"] = database.execute(f"SELECT * FROM {table} ORDER BY 1").fetchall()
    return found


def _in_a_service(folder: Path, pauses: int, figure: Figure) -> None:
    """Jobs of a whole service: their trainer ends those that stand still; one that was killed leaves that to fences."""
    settings = {"WORKERS": 1, "PARALLEL_JOBS": ABREAST, "LEASE_SECONDS": 1, "RETRY_SECONDS": 0.05}
    with serving(folder / "service", REPORT_SECONDS=0.05, **settings) as server:
        server.client.define(a_model("paused"))
        for number in range(-(-pauses // ABREAST)):
            policy = {"every_epochs": 200, "keep": 2}
            jobs = [server.client.train(a_training("paused", epochs=10**7, checkpoint=policy)) for _ in range(ABREAST)]
            _stop_all(server, [job["id"] for job in jobs], figure, with_trainer=bool(number % 2))


def _stop_all(server: Server, jobs: list[str], figure: Figure, *, with_trainer: bool) -> None:
    """Stop all runners at once past their leases, kill the trainer or let it live, and let the runners go on."""
    for job in jobs:
        server.client.until_epoch(job, 1)
    trainer = server.trainer().pid
    stopped = [one.pid for one in server.processes("service runner") if one.parent == trainer][: len(jobs)]
    _signal(stopped, signal.SIGSTOP)
    if with_trainer:
        _signal([trainer], signal.SIGKILL)
        if not _free_soon(server):
            # One holds the database: nobody can take anything over before it goes on.
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
        with suppress(ProcessLookupError):  # Its trainer may have ended it.
            os.kill(pid, number)


def _was_taken_over(server: Server, job: str) -> bool:
    answer = server.client.get(f"/jobs/{job}")
    if answer.status == 503:  # as long as one that stands still holds the database
        return False
    return bool(answer.json["attempt"] == 2 and answer.json["state"] == "running")


def _free_soon(server: Server) -> bool:
    """Whether nobody who stands still holds the database; others do for a moment."""
    try:
        return eventually(lambda: _is_free(server.data), 2.0)
    except AssertionError:
        return False


def _check_files(server: Server, figure: Figure) -> None:
    """The files there are are those that the database names, whose digests they have."""
    with closing(sqlite3.connect(server.data / "trainyard.db")) as database:
        named = {f"{name}.h5": digest for name, digest in database.execute("SELECT id, sha256 FROM checkpoints")}
    for name, digest in named.items():
        path = server.data / "checkpoints" / name
        if not path.exists() or sha256_of(path) != digest:
            figure.broken.append(f"{name} is not as the database knows it")
