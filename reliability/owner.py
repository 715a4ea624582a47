"""One owner commits: a runner that was stopped past its lease changes nothing when it goes on."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis.stateful import invariant, run_state_machine_as_test

from reliability.figure import Figure
from reliability.runners import Runner, Store
from tests.service.test_queue import Life

__all__ = ["run"]

PAUSES, STEPS = 200, 50_000
#: Steps of one random life of the queue.
LIFE = 200


def run(scale: float) -> Figure:
    """Stop a runner at random moments, have another one take its job over, and let the first one go on."""
    figure = Figure(goals={"pauses": PAUSES, "steps of the state machine": STEPS})
    moments = random.Random(4)
    with tempfile.TemporaryDirectory(prefix="trainyard-owner-") as folder:
        store = Store.make(Path(folder) / "data", epochs=1_000_000, checkpoint={"every_epochs": 1, "keep": 2})
        for _ in range(max(1, round(PAUSES * scale))):
            _pause_past_the_lease(store, moments, figure)
    _live(max(1, round(STEPS * scale)), figure)
    return figure


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
    figure.broken += store.damage()
    os.kill(owner.pid, signal.SIGCONT)
    owner.kill()


def _stop_off_the_database(store: Store, one: Runner, seconds: float) -> None:
    """SIGSTOP after so many seconds; where it then holds the database, which nobody could take over, a bit later."""
    time.sleep(seconds)
    while True:
        os.kill(one.pid, signal.SIGSTOP)
        with closing(sqlite3.connect(store.data / "trainyard.db", timeout=0.05, isolation_level=None)) as database:
            try:
                database.execute("BEGIN EXCLUSIVE")
                database.execute("ROLLBACK")
            except sqlite3.OperationalError:
                os.kill(one.pid, signal.SIGCONT)
                time.sleep(0.002)
                continue
        return


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


def _live(steps: int, figure: Figure) -> None:
    """The queue's random lives, each beside a plain model that is compared after every step."""

    class Counted(Life):
        @invariant()
        def one_step_more(self) -> None:
            figure.count("steps of the state machine")

    options = settings(
        max_examples=max(1, steps // LIFE),
        stateful_step_count=LIFE,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    while figure.counts.get("steps of the state machine", 0) < steps:
        try:
            run_state_machine_as_test(Counted, settings=options)
        except AssertionError as error:
            figure.broken.append(f"the state machine: {error}")
            return
