"""The trainer: one supervisor that claims queued jobs and has each run by an engine.

It holds and renews a lease on every running job, gives the job to the engine, and records how its runner ended.
"""

from __future__ import annotations

import logging
import math
import os
import secrets
import signal
import socket
import threading
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from time import monotonic, sleep, time
from types import FrameType

import sqlalchemy as sa

from models.clock import utc_now
from models.formats.durable import UnreachableError
from service import tracing
from service.access.audit import drop_old_records
from service.jobs import lifecycle
from service.jobs.deletion import drop_old_jobs
from service.jobs.engines.engine import Engine, Order, Placement
from service.jobs.engines.local import LocalEngine
from service.jobs.outcome import Died, Failed, Finished, Outcome, Stale, Stopped
from service.jobs.record import Job, JobError
from service.niceness import TRAINING, give_way
from service.settings import Settings, SettingsError
from service.store.database import Database
from service.store.files import FileKind, FileStore
from service.store.locks import Lock, Locks, LockTakenError
from service.store.storage_check import require_storage
from service.store.storage_errors import start_problem
from service.store.tables import TRAINERS
from service.tracing import Span
from service.upkeep.supervisor import UpkeepSupervisor

__all__ = ["Trainer", "main"]

_log = logging.getLogger("trainyard.trainer")

POLL_SECONDS = 0.05
#: Seconds between two searches for unused rows and files.
TIDY_SECONDS = 1.0
#: Seconds between two searches for jobs that ended long ago.
OLD_JOBS_SECONDS = 3600.0
#: Number of leases without a heartbeat after which a trainer is deleted from the table.
DEAD_LEASES = 5
#: Maximum number of seconds for which a web service that restarts its workers is absent.
GRACE_SECONDS = 3.0
#: Seconds after which runners that were asked to stop are killed.
STOP_SECONDS = 30.0


@dataclass(frozen=True)
class Assignment:
    """A job that a runner carries out; ``begin`` is in seconds since 1970."""

    job: Job
    placement: Placement
    begin: float = field(default_factory=time)


class Trainer:
    """Claims jobs and supervises their runners until asked to stop."""

    def __init__(self, settings: Settings, engine: Engine, *, while_web_lives: bool) -> None:
        self.settings = settings
        self.database = Database(settings)
        self.files = FileStore.of(settings)
        self.name = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
        self._engine = engine
        self._watch_web = while_web_lives
        self._web_seen = monotonic()
        self._assignments: list[Assignment] = []
        #: Jobs whose runners have died, until upkeep has their names.
        self._died: set[str] = set()
        self._stopping = False
        self._started_at = utc_now()
        self._next_beat = self._next_look = self._next_upkeep = self._next_tidying = self._next_old_jobs = 0.0
        #: When the next job may be claimed, and the rows of ended jobs to delete; both change only with the database.
        most = settings.max_running_jobs
        self._due = self.database.cached(lambda connection: lifecycle.next_due(connection, most))
        self._finished_data = self.database.cached(lifecycle.finished_data)

    def run(self) -> None:
        """Work until a signal arrives or, if asked to, until the last web process has ended."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        self._hold_reserve()
        with suppress(OSError):
            self.files.sweep()
        upkeep = UpkeepSupervisor(self.settings, self.database, self.files)
        # Its first heartbeat notes that it is there, as soon as the database takes it.
        _log.info("trainer %s has started", self.name)
        try:
            while not self._stopping:
                try:
                    self.turn()
                    self._turn_upkeep(upkeep)
                except sa.exc.OperationalError as error:
                    # Keep the running jobs while the database is busy or absent; their leases limit the time.
                    _log.warning("the database did not answer: %s", error.orig)
                    sleep(1.0)
                self._engine.wait(POLL_SECONDS, self.database.changes.wakes())
        finally:
            try:
                self.release_all()
                upkeep.stop()
                self.set_presence(False)
            except sa.exc.OperationalError as error:
                _log.warning("the database did not answer; the next trainer waits for the leases: %s", error.orig)
            _log.info("trainer %s has stopped", self.name)
            tracing.flush(2.0)

    def _turn_upkeep(self, upkeep: UpkeepSupervisor) -> None:
        if monotonic() >= self._next_upkeep:
            upkeep.clear_after(self._died)
            self._died.clear()
            upkeep.turn()
            self._next_upkeep = monotonic() + 0.5

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self._stopping = True

    def turn(self) -> None:
        """Do all due work, without waiting. Raises SQLAlchemy's OperationalError."""
        if self._watch_web and monotonic() >= self._next_look:
            # First, so that it also happens while the database does not answer.
            self._look_for_web()
            self._next_look = monotonic() + 0.5
        ready = self._engine.ready()
        self._record_ends()
        if monotonic() >= self._next_beat:
            self._beat()
        if ready and len(self._assignments) < self.settings.parallel_jobs:
            self._claim()
        if monotonic() >= self._next_tidying:
            self._tidy()
            self._next_tidying = monotonic() + TIDY_SECONDS

    def _claim(self) -> None:
        due = self._due()
        if due is None or due > self.database.now():
            return
        with self.database.write() as connection:
            now, most = self.database.now(connection), self.settings.max_running_jobs
            job = lifecycle.claim(connection, now, self.settings.lease_seconds, most)
        if job is not None:
            self._assignments.append(Assignment(job, self._engine.place(Order(job.id, job.fence))))

    def _beat(self) -> None:
        """Renew this trainer's leases, and end the ownership of jobs with expired leases.

        The next heartbeat comes after a quarter of a lease, but soon after another trainer's lease ends.
        """
        now, lease, retry = self.database.now(), self.settings.lease_seconds, self.settings.retry_seconds
        # This connection's commits do not count as changes; otherwise an idle trainer would repeat its selects.
        with self.database.changes.write() as connection:
            self._be_present(connection, now)
            # This trainer's leases come first, so that it keeps its jobs if it was delayed itself.
            for assignment in self._assignments:
                job = assignment.job
                try:
                    lifecycle.renew(connection, job.id, job.fence, now, lease)
                except lifecycle.StaleError as error:
                    _log.warning("%s; its runner is killed", error)
                    assignment.placement.kill()
            end = lifecycle.next_lease_end(connection)
            set_back = lifecycle.waits_too_long(connection, now, lease, retry)
        if set_back:
            with self.database.write() as connection:
                lifecycle.shorten_waits(connection, now, lease, retry)
        if end is not None and end < now:
            with self.database.write() as connection:
                lifecycle.expire(connection, now, retry)
        self._next_beat = monotonic() + min(lease / 4, math.inf if end is None else max(1.0, end - now))

    def _tidy(self) -> None:
        """Delete unused data: rows of training requests whose jobs have ended, old jobs, old records."""
        if self._finished_data():
            with self.database.write() as connection:
                unused = lifecycle.drop_finished_data(connection)
            self._ask_place(lambda: self.files.delete(FileKind.DATASET, *unused))
        self._hold_reserve()
        if monotonic() >= self._next_old_jobs:
            more = drop_old_jobs(self.database, self.settings.job_retention_days)
            more = drop_old_records(self.database, self.settings.audit_retention_days) or more
            self._next_old_jobs = monotonic() + (0.0 if more else OLD_JOBS_SECONDS)

    def _sweep(self) -> None:
        """Delete incomplete files of runners that have died."""

        def sweep() -> None:
            with suppress(OSError):
                for name in self.files.sweep_incomplete():
                    _log.info("removed %s, whose writer was killed", name)

        self._ask_place(sweep)

    def _ask_place(self, work: Callable[[], None]) -> None:
        """Do what asks the place of the files: beside the loop if that is elsewhere, and may take long to answer.

        Heartbeats cannot wait for it. If this process ends meanwhile, what is left is cleared away later.
        """

        def work_beside() -> None:
            try:
                work()
            except OSError as error:
                _log.warning("files are not cleared away yet: %s", error)

        if self.files.place.shared:
            threading.Thread(target=work_beside, daemon=True).start()
        else:
            work()

    def _hold_reserve(self) -> None:
        """Have space on the disk that deletions can be given; if there is none now, there may be later."""
        with suppress(OSError):
            self.files.disk.hold_reserve()

    def _look_for_web(self) -> None:
        """Stop ``GRACE_SECONDS`` after the last web process has ended, or at once if the data directory is missing."""
        if not self.files.exists():
            _log.error("there is no directory %s any more", self.settings.data)
            self._stopping = True
        elif not self.files.locks.is_free(Lock.WEB):
            self._web_seen = monotonic()
        elif monotonic() - self._web_seen > GRACE_SECONDS:
            _log.info("the web service has ended")
            self._stopping = True

    def _record_ends(self) -> None:
        """Record how runners ended; if the database does not answer, the next call does it."""
        # Ask all placements before using the database: a runner that was stopped within a commit blocks it, until
        # this call kills that runner.
        ended = [(one, outcome) for one in self._assignments if (outcome := one.placement.outcome()) is not None]
        for assignment, outcome in ended:
            try:
                self._record(assignment.job, outcome)
            except lifecycle.StaleError as error:
                _log.warning("%s; how it ended here is not recorded", error)
            self._assignments.remove(assignment)
            word, seconds = type(outcome).__name__.lower(), time() - assignment.begin
            _log.info("job %s: %s after %.2f s", assignment.job.id, word, seconds)
            if tracing.is_on():
                _trace(assignment, outcome)
            if not isinstance(outcome, (Finished, Stopped)):
                self._died.add(assignment.job.id)
                self._sweep()

    def _record(self, job: Job, outcome: Outcome) -> None:
        with self.database.write() as connection:
            match outcome:
                case Finished():
                    lifecycle.finish(connection, job.id, job.fence, bool(job.training["publish"]))
                case Stopped():
                    lifecycle.stop(connection, job.id, job.fence)
                case Failed(code, detail):
                    lifecycle.fail(connection, job.id, job.fence, code, detail)
                case Died(cause):
                    now = self.database.now(connection)
                    lifecycle.lose(connection, job.id, job.fence, cause, now, self.settings.retry_seconds)
                case Stale():
                    pass

    def release_all(self) -> None:
        """Have every runner save and stop, and queue its job again. Raises SQLAlchemy's OperationalError."""
        self._engine.close()
        for assignment in self._assignments:
            assignment.placement.ask_to_stop()
        until = monotonic() + STOP_SECONDS
        while self._assignments:
            if monotonic() >= until:
                for assignment in self._assignments:
                    assignment.placement.kill()
            self._record_ends()
            self._engine.wait(POLL_SECONDS)

    def set_presence(self, present: bool) -> None:
        """Add this trainer to the table of trainers, or remove it."""
        with self.database.write() as connection:
            if present:
                self._be_present(connection, self.database.now(connection))
            else:
                connection.execute(sa.delete(TRAINERS).where(TRAINERS.c.id == self.name))

    def _be_present(self, connection: sa.Connection, now: float) -> None:
        """Note in the table that this trainer is alive; delete trainers that have been silent for long."""
        seen = connection.execute(sa.update(TRAINERS).where(TRAINERS.c.id == self.name).values(seen_at=now))
        if seen.rowcount == 0:
            # The row is missing: this trainer is new, or another one deleted its row while it was stopped.
            values = {"id": self.name, "started_at": self._started_at, "seen_at": now}
            connection.execute(sa.insert(TRAINERS).values(**values))
        # One that was seen in the future was seen before the clock was set back.
        silence = DEAD_LEASES * self.settings.lease_seconds
        dead = sa.not_(TRAINERS.c.seen_at.between(now - silence, now + silence))
        connection.execute(sa.delete(TRAINERS).where(dead))


def _trace(assignment: Assignment, outcome: Outcome) -> None:
    job = assignment.job
    attributes: dict[str, str | int | float] = {
        "trainyard.job": job.id,
        "trainyard.model": job.model,
        "trainyard.attempt": job.attempt,
        "trainyard.outcome": type(outcome).__name__.lower(),
    }
    match outcome:
        case Failed(code, _) | Died(JobError(code, _)):
            attributes["error.type"] = code
    tracing.send(Span("job", assignment.begin, time(), attributes, "error.type" in attributes))


def main(settings: Settings, *, while_web_lives: bool) -> int:
    """Run the trainer of a data directory; the exit status.

    It is 1 if another trainer is running there, and 4 if the directory or the database cannot be used.
    """
    with ExitStack() as held:
        try:
            require_storage(settings)
            held.enter_context(Locks(settings.data).exclusive(Lock.TRAINER))
            give_way(TRAINING)
            trainer = Trainer(settings, LocalEngine(settings), while_web_lives=while_web_lives)
            trainer.database.migrate()
        except LockTakenError:
            if not while_web_lives:
                _log.error("another trainer runs in %s", settings.data)
            return 1
        except SettingsError as error:
            _log.error("%s", error)
            return 4
        except (OSError, sa.exc.OperationalError) as error:
            _log.error("%s", start_problem(error, settings.data))
            return 4
        try:
            trainer.run()
        except UnreachableError as error:
            _log.error("%s", start_problem(error, settings.data))
            return 4
    return 0
