"""The trainer: one supervisor that claims queued jobs and runs each in a process of its own.

It holds a lease on every job it runs and renews it, hands the job to a runner that waits ready, and records how the
runner ended. A runner is a fresh interpreter, so nothing of one job is left for the next, and it can be killed.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import secrets
import select
import signal
import socket
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from time import monotonic, sleep, time
from types import FrameType
from typing import Any

import sqlalchemy as sa

from models.clock import utc_now
from service.jobs import lifecycle
from service.jobs.exit_causes import Death, OomKills, death_of
from service.processes import TRAINER_LOCK, WEB_LOCK, close, is_free, pipe, start
from service.settings import Settings
from service.store.database import Database
from service.store.files import Storage
from service.store.tables import TRAINERS
from service.upkeep.supervisor import Housekeeper

__all__ = ["Trainer", "main"]

_log = logging.getLogger("trainyard.trainer")

POLL_SECONDS = 0.05
#: A web service that restarts its workers is gone for less than this.
GRACE_SECONDS = 3.0
#: The end of a runner that was stopped, and not continued in time.
HELD_UP = Death("worker_lost", "stopped by a signal for as long as a lease")
#: Runners that were told to stop save their state in less than this, or are killed.
STOP_SECONDS = 30.0


@dataclass
class Assignment:
    """A job in the hands of a runner."""

    job: str
    fence: int
    publish: bool
    process: subprocess.Popen[bytes]
    outcome: dict[str, Any] | None = None  # how the runner ended, once it has
    stopped_at: float | None = None  # since when the runner is stopped by a signal
    held_up: bool = False  # whether it was ended for that


class Trainer:
    """Claims jobs and supervises their runners until told to stop."""

    def __init__(self, settings: Settings, *, while_web_lives: bool) -> None:
        self.settings = settings
        self.database = Database(settings)
        self.storage = Storage(settings.data)
        self.name = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
        self._watch_web = while_web_lives
        self._web_seen = monotonic()
        self._assignments: list[Assignment] = []
        self._waiting: subprocess.Popen[bytes] | None = None
        self._stopping = False
        self._oom_kills = OomKills()
        self._next_beat = self._next_look = self._next_start = self._next_housekeeping = 0.0

    def run(self) -> None:
        """Work until a signal comes or, where asked to, the last web process is gone."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        self._set_presence(True)
        for name in self.storage.sweep():
            _log.info("removed %s, whose writer was killed", name)
        housekeeper = Housekeeper(self.settings, self.database, self.storage)
        _log.info("trainer %s is at work", self.name)
        try:
            while not self._stopping:
                try:
                    self._turn()
                    self._keep_house(housekeeper)
                except sa.exc.OperationalError as error:
                    # A busy or absent database is no reason to give up the jobs in hand; leases bound how long.
                    _log.warning("the database did not answer: %s", error.orig)
                    sleep(1.0)
                self._pause()
        finally:
            try:
                self._release_all()
                housekeeper.stop()
                self._set_presence(False)
            except sa.exc.OperationalError as error:
                _log.warning("the database did not answer; leases tell the next trainer: %s", error.orig)
            _log.info("trainer %s has stopped", self.name)

    def _keep_house(self, housekeeper: Housekeeper) -> None:
        if monotonic() >= self._next_housekeeping:
            housekeeper.turn()
            self._next_housekeeping = monotonic() + 0.5

    def _pause(self) -> None:
        """Sleep until the next turn, or until a runner has something to tell."""
        select.select([pipe(assignment.process.stdout) for assignment in self._assignments], [], [], POLL_SECONDS)

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self._stopping = True

    def _turn(self) -> None:
        if self._watch_web and monotonic() >= self._next_look:
            # First, so that it is done also where the database does not answer.
            self._look_for_web()
            self._next_look = monotonic() + 0.5
        if self._waiting is not None and self._waiting.poll() is not None:
            # It has ended without a job. One that cannot even start is not started again without a pause.
            self._waiting, self._next_start = None, monotonic() + 1.0
        if self._waiting is None and monotonic() >= self._next_start:
            self._waiting = self._start_runner()
        for assignment in self._assignments:
            # Before anything of the database, which one that was stopped within a commit holds up for all.
            self._end_if_held_up(assignment)
        for assignment in list(self._assignments):
            if select.select([pipe(assignment.process.stdout)], [], [], 0)[0]:
                self._record_end(assignment)
        if monotonic() >= self._next_beat:
            self._beat()
            self._next_beat = monotonic() + min(1.0, self.settings.lease_seconds / 4)
        if self._waiting is not None and len(self._assignments) < self.settings.parallel_jobs:
            self._claim(self._waiting)

    def _start_runner(self) -> subprocess.Popen[bytes]:
        # A BLAS thread that spins for long after a product takes its core from the updates that follow.
        threads = {"OPENBLAS_NUM_THREADS": str(self.settings.job_threads), "OPENBLAS_THREAD_TIMEOUT": "10"}
        return start(self.settings, "runner", variables=threads, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def _claim(self, runner: subprocess.Popen[bytes]) -> None:
        with self.database.read() as connection:
            if not lifecycle.any_queued(connection, time()):
                return
        with self.database.write() as connection:
            row = lifecycle.claim(connection, time(), self.settings.lease_seconds)
        if row is None:
            return
        self._waiting = None
        publish = bool(json.loads(row.request)["publish"])
        self._assignments.append(Assignment(row.id, row.fence, publish, runner))
        # A runner that died while it waited is found by its end, like any other.
        with suppress(BrokenPipeError):
            pipe(runner.stdin).write(json.dumps({"job": row.id, "fence": row.fence}).encode() + b"\n")
            pipe(runner.stdin).flush()

    def _beat(self) -> None:
        now = time()
        with self.database.write() as connection:
            connection.execute(sa.update(TRAINERS).where(TRAINERS.c.id == self.name).values(seen_at=now))
            # Our own leases come first: having been held up ourselves is no reason to take our jobs from us.
            for assignment in self._assignments:
                try:
                    lifecycle.renew(connection, assignment.job, assignment.fence, now, self.settings.lease_seconds)
                except lifecycle.StaleError as error:
                    _log.warning("%s; its runner is ended", error)
                    assignment.process.kill()
            lifecycle.expire(connection, now, self.settings.retry_seconds)
            unused = lifecycle.drop_finished_data(connection)
        for dataset_id in unused:
            self.storage.dataset(dataset_id).unlink(missing_ok=True)

    def _look_for_web(self) -> None:
        """Stop some time after the last web process, and at once where the data directory itself is gone."""
        if not self.settings.data.exists():
            _log.error("the directory %s is gone", self.settings.data)
            self._stopping = True
        elif not is_free(self.settings.data / WEB_LOCK):
            self._web_seen = monotonic()
        elif monotonic() - self._web_seen > GRACE_SECONDS:
            _log.info("the web service is gone")
            self._stopping = True

    def _end_if_held_up(self, assignment: Assignment) -> None:
        """End a runner that has been stopped for as long as a lease lasts.

        Its job, and the database where it was stopped within a commit, would wait for it without an end.
        """
        with suppress(ChildProcessError):  # It is gone, which its output tells.
            change = os.waitid(os.P_PID, assignment.process.pid, os.WSTOPPED | os.WCONTINUED | os.WNOHANG)
            if change is not None:
                assignment.stopped_at = monotonic() if change.si_code == os.CLD_STOPPED else None
        since = assignment.stopped_at
        if since is not None and not assignment.held_up and monotonic() - since > self.settings.lease_seconds:
            _log.warning("the runner of job %s was stopped for as long as a lease; it is ended", assignment.job)
            assignment.held_up = True
            assignment.process.kill()

    def _outcome(self, assignment: Assignment) -> dict[str, Any]:
        """How a runner ended, told by itself or by its end."""
        process = assignment.process
        line = pipe(process.stdout).read()  # to its end, which is the end of the process
        status = process.wait()
        if line.endswith(b"\n"):
            told: dict[str, Any] = json.loads(line)
            return told
        death = HELD_UP if assignment.held_up else death_of(status, self._oom_kills.since_last())
        return {"outcome": "died", **death._asdict()}

    def _record_end(self, assignment: Assignment) -> None:
        """Record how a runner ended; where the database does not answer, this is called again."""
        if assignment.outcome is None:
            assignment.outcome = self._outcome(assignment)
        job, fence, outcome = assignment.job, assignment.fence, assignment.outcome
        try:
            with self.database.write() as connection:
                match outcome["outcome"]:
                    case "finished":
                        lifecycle.finish(connection, job, fence, assignment.publish)
                    case "stopped":
                        lifecycle.stop(connection, job, fence)
                    case "failed":
                        lifecycle.fail(connection, job, fence, outcome["code"], outcome["detail"])
                    case "died":
                        death = Death(outcome["code"], outcome["detail"])
                        lifecycle.lose(connection, job, fence, death, time(), self.settings.retry_seconds)
        except lifecycle.StaleError as error:
            _log.warning("%s; how it ended here is not recorded", error)
        close(assignment.process)
        self._assignments.remove(assignment)

    def _release_all(self) -> None:
        """Have every runner save and stop, and put its job back into the queue."""
        if self._waiting is not None:
            close(self._waiting)
            self._waiting.wait()
        for assignment in self._assignments:
            pipe(assignment.process.stdin).close()
        until = monotonic() + STOP_SECONDS
        for assignment in list(self._assignments):
            try:
                assignment.process.wait(max(0.0, until - monotonic()))
            except subprocess.TimeoutExpired:
                assignment.process.kill()
                assignment.process.wait()
            self._record_end(assignment)

    def _set_presence(self, present: bool) -> None:
        with self.database.write() as connection:
            connection.execute(sa.delete(TRAINERS).where(TRAINERS.c.id == self.name))
            if present:
                values = {"id": self.name, "started_at": utc_now(), "seen_at": time()}
                connection.execute(sa.insert(TRAINERS).values(**values))


def main(settings: Settings, *, while_web_lives: bool) -> int:
    """Run the trainer of a data directory; 1 where another one is at work there."""
    settings.data.mkdir(parents=True, exist_ok=True)
    with (settings.data / TRAINER_LOCK).open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if not while_web_lives:
                _log.error("another trainer is at work in %s", settings.data)
            return 1
        trainer = Trainer(settings, while_web_lives=while_web_lives)
        trainer.database.migrate()
        trainer.run()
    return 0
