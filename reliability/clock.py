"""A step of the wall clock loses no epoch and changes no order.

``wall_clock.c`` gives the processes of one service, and nothing else on the machine, a wall clock that this program
sets forward and back. Their monotonic clock and the times of files stay as they are.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import struct
import subprocess
import tempfile
from itertools import pairwise
from pathlib import Path
from typing import Any

from reliability.figure import Figure
from testing.harness import Client, Server, eventually
from testing.samples import a_model, a_training

__all__ = ["run"]

STEPS, JOBS = 60, 40
#: Seconds by which the clock is set forward or back.
SIZES = (3_600, 86_400)
#: Of so many interruptions, one kills the trainer and its runner, and the others the runner or nothing.
TRAINER_ONE_IN = 6
SOURCE = Path(__file__).with_name("wall_clock.c")


class _Clock:
    """The wall clock of one service, as an offset to the real one."""

    def __init__(self, path: Path, chance: random.Random, figure: Figure) -> None:
        self.path, self._chance, self._figure = path, chance, figure
        self._offset = 0
        path.write_bytes(struct.pack("=q", self._offset))

    def step(self) -> None:
        """Set the clock forward or back by an hour or a day."""
        self._offset += self._chance.choice((-1, 1)) * self._chance.choice(SIZES)
        with self.path.open("r+b", buffering=0) as file:
            file.write(struct.pack("=q", self._offset))
        self._figure.count("steps of the clock")


class _Server(Server):
    """A server whose processes see another wall clock."""

    def __init__(self, data: Path, library: Path, clock: Path, **settings: object) -> None:
        super().__init__(data, **settings)
        self._variables = {"LD_PRELOAD": str(library), "WALL_CLOCK": str(clock)}

    @property
    def environment(self) -> dict[str, str]:
        return {**super().environment, **self._variables}


def run(scale: float) -> Figure:
    """Set the clock of a service forward and back at random moments, while its processes are killed."""
    compiler = shutil.which("cc")
    if compiler is None:
        return Figure(skipped="there is no C compiler")
    figure = Figure(goals={"steps of the clock": STEPS + JOBS, "jobs in turn": JOBS})
    chance = random.Random(6)
    with tempfile.TemporaryDirectory(prefix="trainyard-clock-") as folder:
        clock, library = _Clock(Path(folder) / "clock", chance, figure), Path(folder) / "wall_clock.so"
        subprocess.run([compiler, "-O2", "-Wall", "-Werror", "-shared", "-fPIC", "-o", library, SOURCE], check=True)
        server = _Server(Path(folder) / "data", library, clock.path, WORKERS=2, LEASE_SECONDS=1, REPORT_SECONDS=0.02)
        try:
            server.start_ready().define(a_model("clocked"))
            _lose_no_epoch(server, clock, chance, max(3, round(STEPS * scale)), figure)
            _take_turns(server.client, clock, max(3, round(JOBS * scale)), figure)
        finally:
            server.close()
    return figure


def _lose_no_epoch(server: Server, clock: _Clock, chance: random.Random, steps: int, figure: Figure) -> None:
    """A job that saves after each epoch goes on from its newest checkpoint, and retention keeps that one."""
    client = server.client
    checkpoint = {"every_epochs": 1, "keep": 2}
    job = client.train(a_training("clocked", epochs=10_000_000, checkpoint=checkpoint))["id"]
    newest = _after(server, job, 0, figure)
    for number in range(steps):
        clock.step()
        newest = _after(server, job, newest, figure)
        match number % TRAINER_ONE_IN:
            case 0:
                os.kill(server.trainer().pid, signal.SIGKILL)
                figure.count("trainers killed")
            case 1 | 3:
                _pause(client, job, figure)
            case 2 | 4:
                os.kill(server.busy_runner().pid, signal.SIGKILL)
                figure.count("runners killed")
        if chance.random() < 0.5:
            clock.step()
        newest = _after(server, job, newest, figure)
    client.post(f"/jobs/{job}/cancel")
    client.until_state(job, "cancelled")
    figure.count("epochs saved", newest)


def _after(server: Server, job: str, newest: int, figure: Figure) -> int:
    """The epoch of a job's newest checkpoint, once it is later than ``newest``.

    Before that, no list of checkpoints may end the epochs already saved, or be out of order.
    """

    def later() -> int | None:
        rows = server.client.get(f"/jobs/{job}/checkpoints?limit=100").json["data"]
        epochs, ids = [row["epoch"] for row in rows], [row["id"] for row in rows]
        if epochs != sorted(epochs, reverse=True):
            figure.broken.append(f"checkpoints out of order after epoch {newest}: {epochs}")
        if max(epochs, default=0) < newest:
            figure.broken.append(f"epoch {newest} was saved, and the newest checkpoint has epoch {max(epochs)}")
        if not epochs or epochs[0] <= newest:
            return None
        figure.count("newest checkpoints without the largest id", ids[0] != max(ids))
        return int(epochs[0])

    return eventually(later, 60.0, f"a checkpoint after epoch {newest} of {job}") or newest


def _pause(client: Client, job: str, figure: Figure) -> None:
    client.post(f"/jobs/{job}/pause")
    paused = client.until_state(job, "paused")["progress"]["epoch"]
    client.post(f"/jobs/{job}/resume")
    resumed = client.until_state(job, "running")["progress"]["epoch"]
    if resumed < paused:
        figure.broken.append(f"paused at epoch {paused}, resumed at epoch {resumed}")
    figure.count("pauses")


def _take_turns(client: Client, clock: _Clock, jobs: int, figure: Figure) -> None:
    """Jobs run in the order in which they were queued, and lists show that order, whatever their ids say."""
    first = client.train(a_training("clocked", epochs=10_000_000))["id"]
    queued = []
    for _ in range(jobs):
        clock.step()
        queued.append(client.train(a_training("clocked", epochs=1))["id"])
    figure.count("neighbours with ids out of order", sum(a > b for a, b in pairwise(queued)))
    listed = [row["id"] for row in client.pages("/jobs", 7)]
    if listed[: jobs + 1] != [*queued[::-1], first]:
        figure.broken.append(f"queued {queued}, listed {listed}")
    client.post(f"/jobs/{first}/cancel")
    for job in queued:
        client.wait(job)
    started = sorted(queued, key=lambda job: _start(client, job))
    figure.count("jobs in turn", sum(a == b for a, b in zip(started, queued, strict=True)))
    if started != queued:
        figure.broken.append(f"queued {queued}, started {started}")


def _start(client: Client, job: str) -> int:
    """The number of the event by which a job began to run; events are numbered in the order in which they happen."""
    events: list[dict[str, Any]] = client.pages(f"/jobs/{job}/events", 100)
    return min(int(event["id"]) for event in events if event["data"].get("state") == "running")
