"""The local engine: each runner is a process of this machine, started ahead of time and waiting for its order.

A runner is a new interpreter, so jobs share no state, and it can be killed. It reads its order from standard input and
writes its outcome to standard output. The end of its standard input means "save and stop".
"""

from __future__ import annotations

import logging
import os
import select
import subprocess
from contextlib import suppress
from time import monotonic

from service.jobs.engines.engine import Order
from service.jobs.exit_causes import OomKills, cause_of
from service.jobs.hold_ups import HELD_UP, HoldUp
from service.jobs.outcome import Died, Outcome, decode
from service.processes import close, pipe, start
from service.settings import Settings

__all__ = ["LocalEngine", "LocalPlacement"]

_log = logging.getLogger("trainyard.engine")

#: Seconds after which a runner that ended before it got an order is replaced.
RESTART_SECONDS = 1.0


class LocalPlacement:
    """A process that runs one order."""

    def __init__(self, order: Order, process: subprocess.Popen[bytes], lease: float, oom_kills: OomKills) -> None:
        self._order, self._oom_kills = order, oom_kills
        self.process = process
        self._line = b""
        self._outcome: Outcome | None = None
        self._hold_up = HoldUp(process.pid, lease)
        #: Whether it was killed because a signal had stopped it for too long.
        self._held_up = False
        # If the runner died while it waited, its end is detected later, like any other.
        with suppress(BrokenPipeError):
            pipe(process.stdin).write(order.encode().encode() + b"\n")
            pipe(process.stdin).flush()

    def outcome(self) -> Outcome | None:
        """The outcome that the process wrote or, if it wrote none, the cause of its death."""
        if self._outcome is None:
            self._end_if_held_up()
            self._read()
        return self._outcome

    def ask_to_stop(self) -> None:
        pipe(self.process.stdin).close()

    def kill(self) -> None:
        self.process.kill()

    def _read(self) -> None:
        """Read the process's output; at its end, the process has ended, and the outcome is complete."""
        output = pipe(self.process.stdout)
        while select.select([output], [], [], 0)[0]:
            piece = os.read(output.fileno(), 65_536)
            if piece:
                self._line += piece
                continue
            status = self.process.wait()
            close(self.process)
            if self._line.endswith(b"\n"):
                self._outcome = decode(self._line)
            else:
                cause = HELD_UP if self._held_up else cause_of(status, self._oom_kills.since_last())
                self._outcome = Died(cause)
            return

    def _end_if_held_up(self) -> None:
        """Kill a process that a signal has stopped for the time of a lease."""
        if not self._held_up and self._hold_up.is_too_long():
            _log.warning("the runner of job %s was stopped for as long as a lease; it is killed", self._order.job)
            self._held_up = True
            self.process.kill()


class LocalEngine:
    """Starts runners; one of them always waits for the next order."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._oom_kills = OomKills()
        self._waiting: subprocess.Popen[bytes] | None = None
        self._next_start = 0.0
        self._placements: list[LocalPlacement] = []

    def ready(self) -> bool:
        """Whether a runner waits for an order. Starts one if there is none."""
        if self._waiting is not None and self._waiting.poll() is not None:
            # It has ended without an order. The pause keeps a runner that cannot start from being restarted in a loop.
            close(self._waiting)
            self._waiting, self._next_start = None, monotonic() + RESTART_SECONDS
        if self._waiting is None and monotonic() >= self._next_start:
            self._waiting = self._start()
        return self._waiting is not None

    def place(self, order: Order) -> LocalPlacement:
        assert self._waiting is not None
        placement = LocalPlacement(order, self._waiting, self._settings.lease_seconds, self._oom_kills)
        self._waiting = None
        self._placements.append(placement)
        return placement

    def wait(self, seconds: float, wakes: int | None = None) -> None:
        self._placements = [one for one in self._placements if not pipe(one.process.stdout).closed]
        watched = [pipe(one.process.stdout).fileno() for one in self._placements]
        select.select(watched if wakes is None else [*watched, wakes], [], [], seconds)

    def close(self) -> None:
        """End the waiting runner."""
        if self._waiting is not None:
            close(self._waiting)
            self._waiting.wait()
            self._waiting = None

    def _start(self) -> subprocess.Popen[bytes]:
        # After a product, BLAS threads spin for some time and would occupy the cores that the updates need.
        threads = {"OPENBLAS_NUM_THREADS": str(self._settings.job_threads), "OPENBLAS_THREAD_TIMEOUT": "10"}
        return start(self._settings, "runner", variables=threads, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
