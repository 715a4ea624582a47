"""The local engine: each runner is a process of this machine, started ahead of time and waiting for its order.

A runner is a fresh interpreter, so nothing of one job is left for the next, and it can be killed. It reads its order
from standard input, whose end means "save and stop", and writes its outcome to standard output.
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
from service.jobs.outcome import Died, Outcome, decode
from service.jobs.record import JobError
from service.processes import close, pipe, start
from service.settings import Settings

__all__ = ["LocalEngine", "LocalPlacement"]

_log = logging.getLogger("trainyard.engine")

#: The end of a runner that was stopped by a signal and not continued in time.
HELD_UP = JobError("worker_lost", "stopped by a signal for as long as a lease")
#: A runner that ended before it got an order is replaced after so many seconds.
RESTART_SECONDS = 1.0


class LocalPlacement:
    """A process that runs one order."""

    def __init__(self, order: Order, process: subprocess.Popen[bytes], lease: float, oom_kills: OomKills) -> None:
        self._order, self._lease, self._oom_kills = order, lease, oom_kills
        self.process = process
        self._line = b""
        self._outcome: Outcome | None = None
        #: Since when the process is stopped by a signal, and whether it was killed because of that.
        self._stopped_at: float | None = None
        self._held_up = False
        # A runner that died while it waited is found by its end, like any other.
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
        """Take what the process has written, and at the end of that, which is its own end, the outcome."""
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
        """End a process that has been stopped by a signal for as long as a lease lasts.

        Its job would wait for it without an end, and the database too if it was stopped within a commit.
        """
        with suppress(ChildProcessError):  # It has ended, as the end of its output shows.
            change = os.waitid(os.P_PID, self.process.pid, os.WSTOPPED | os.WCONTINUED | os.WNOHANG)
            if change is not None:
                self._stopped_at = monotonic() if change.si_code == os.CLD_STOPPED else None
        since = self._stopped_at
        if since is not None and not self._held_up and monotonic() - since > self._lease:
            _log.warning("the runner of job %s was stopped for as long as a lease; it is killed", self._order.job)
            self._held_up = True
            self.process.kill()


class LocalEngine:
    """Starts runners, of which one waits ready for the next order."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._oom_kills = OomKills()
        self._waiting: subprocess.Popen[bytes] | None = None
        self._next_start = 0.0
        self._placements: list[LocalPlacement] = []

    def ready(self) -> bool:
        """Whether a runner waits; one is started if there is none."""
        if self._waiting is not None and self._waiting.poll() is not None:
            # It has ended without an order. One that cannot even start is not started again without a pause.
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

    def wait(self, seconds: float) -> None:
        self._placements = [one for one in self._placements if not pipe(one.process.stdout).closed]
        select.select([pipe(one.process.stdout) for one in self._placements], [], [], seconds)

    def close(self) -> None:
        """End the runner that waits."""
        if self._waiting is not None:
            close(self._waiting)
            self._waiting.wait()
            self._waiting = None

    def _start(self) -> subprocess.Popen[bytes]:
        # A BLAS thread that spins for long after a product takes its core from the updates that follow.
        threads = {"OPENBLAS_NUM_THREADS": str(self._settings.job_threads), "OPENBLAS_THREAD_TIMEOUT": "10"}
        return start(self._settings, "runner", variables=threads, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
