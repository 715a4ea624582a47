"""A service under attack, and what is watched of it: other clients' latency, its workers' lives and their memory."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import sleep
from typing import NamedTuple
from urllib.parse import urlsplit

from reliability.figure import Figure
from reliability.groups import memory_group
from security.bystander import HEALTH, PREDICT, Seen, beside
from testing.harness import Client, Server
from testing.samples import a_model, a_training

__all__ = ["Goal", "Watch", "watched"]

#: Memory in bytes of the control group that holds all processes of the service, if this machine allows one: two
#: workers of RESIDENT each, gunicorn's own process, the trainer and its runners.
GROUP = 2 * 2**30
#: Bytes that a web worker may have in memory at any time.
RESIDENT = 600 * 2**20
#: Seconds for which another client is measured without an attack.
QUIET_SECONDS = 5.0
#: The model that the other client asks.
MODEL = "asked"


class Goal(NamedTuple):
    """What must hold for another client. Times are in seconds."""

    #: p99 of ``/predict`` may be this, or ``times`` that without an attack if it is more.
    p99: float = 0.05
    times: float = 3.0
    #: Longest time of ``/health/live``. A container's health check usually waits for some seconds.
    health: float = 2.0
    #: Whether 503 is an answer, beside 200.
    refusals: bool = False
    #: Bytes that a worker may have in memory.
    resident: int = RESIDENT


@dataclass
class Watch:
    """A running service. ``timed`` is whether goals of speed count: a short form says nothing about them."""

    server: Server
    figure: Figure
    timed: bool
    quiet: float = 0.0  # p99 of /predict in seconds without an attack

    @property
    def client(self) -> Client:
        """A client of the service."""
        return self.server.client

    @property
    def port(self) -> int:
        """The port that the service listens on."""
        port = urlsplit(self.client.base).port
        assert port is not None
        return port

    def workers(self) -> list[int]:
        """The process ids of the web workers."""
        assert self.server.process is not None
        master = self.server.process.pid
        return [each.pid for each in self.server.processes("gunicorn") if each.parent == master]

    def broke(self, case: str) -> None:
        """Record a case in which the service was harmed."""
        self.figure.broken.append(case)

    @contextmanager
    def attack(self, name: str, goal: Goal = Goal()) -> Iterator[None]:  # noqa: B008 - a tuple
        """Watch the service during a with-block, print one line, and record what does not reach the goal."""
        before = self.workers()
        for pid in before:
            # The peak of resident memory begins anew (proc(5)).
            Path(f"/proc/{pid}/clear_refs").write_text("5")
        with beside(self.port, MODEL) as seen:
            yield
        after = self.workers()
        if before != after:
            self.broke(f"{name}: web workers {sorted({*before} - {*after})} ended")
        peak = max((peak_of(pid) for pid in after), default=0)
        if peak > goal.resident:
            self.broke(f"{name}: a web worker had {peak >> 20} MB in memory, {goal.resident >> 20} are allowed")
        self._judge(name, seen, goal)
        self.figure.count("attacks")
        times = "; ".join(f"{kind}: {each}" for kind, each in seen.items())
        print(f"    {name}: {peak >> 20} MB (goal {goal.resident >> 20}) in a worker; {times}", flush=True)

    def _judge(self, name: str, seen: dict[str, Seen], goal: Goal) -> None:
        accepted = {200, 503} if goal.refusals else {200}
        for kind, each in seen.items():
            self.figure.count("answers to others", len(each.times))
            for failure in each.failures:
                self.broke(f"{name}: {kind} of another client: {failure}")
            # Health checks are never refused.
            strange = each.seconds.keys() - (accepted if kind != HEALTH else {200})
            if strange or not each.times:
                self.broke(f"{name}: {kind} of another client was answered with {sorted(strange) or 'nothing'}")
        if not self.timed:
            return
        allowed = max(goal.p99, goal.times * self.quiet)
        if seen[PREDICT].p99 > allowed:
            self.broke(f"{name}: p99 of {PREDICT} was {seen[PREDICT].p99 * 1000:.0f} ms (goal {allowed * 1000:.0f})")
        if seen[HEALTH].longest > goal.health:
            self.broke(f"{name}: {HEALTH} took {seen[HEALTH].longest:.1f} s (goal {goal.health:g})")


def peak_of(pid: int) -> int:
    """The largest resident memory of a process in bytes (VmHWM of proc(5))."""
    line = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


@contextmanager
def watched(
    figure: Figure, scale: float, memory: int = GROUP, place: Path | None = None, **settings: object
) -> Iterator[Watch]:
    """A service with a model, in a control group of so many bytes if possible, for the time of a with-block.

    Its data directory is in ``place``, if that is given. In a full test, another client is measured without an attack
    at first.
    """
    with tempfile.TemporaryDirectory(prefix="trainyard-security-") as folder, memory_group(memory) as group:
        if group is None:
            print("    no memory control group can be created here: peaks of memory are those of /proc alone")
        server = Server((place or Path(folder)) / "data", **settings)
        try:
            server.start()
            if group is not None:
                for process in server.processes():
                    (group / "cgroup.procs").write_text(str(process.pid))
            server.client.define(a_model(MODEL))
            trainer = server.run_beside("trainer") if settings.get("TRAINER") == "external" else None
            server.client.run(a_training(MODEL))
            if trainer is not None:  # The queue then stands still until another one is started.
                trainer.terminate()
                trainer.wait(30)
            watch = Watch(server, figure, timed=scale >= 1)
            if watch.timed:
                with beside(watch.port, MODEL) as seen:
                    sleep(QUIET_SECONDS)
                watch.quiet = seen[PREDICT].p99
                print(f"    without an attack: {'; '.join(f'{kind}: {each}' for kind, each in seen.items())}")
            yield watch
            if server.client.get("/health/ready").status != 200:
                watch.broke("the service is not ready any more")
        finally:
            server.close()
