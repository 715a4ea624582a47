"""The processes for upkeep that a trainer starts: each runs only while it has work.

They are separate so that the trainer need not load the libraries that read HDF5.
"""

from __future__ import annotations

import json
import select
import subprocess
from collections.abc import Collection, Sequence
from contextlib import suppress
from time import monotonic

import sqlalchemy as sa

from models.registry.versions import State, states
from service.processes import close, pipe, start
from service.settings import Settings
from service.store.database import Database
from service.store.files import FileKind, FileStore
from service.store.naming import TABLES, unnamed
from service.store.places import OLD_SECONDS

__all__ = ["UpkeepSupervisor"]

#: Seconds from a change until the process that writes models' files starts, so that it does not take cores from a new
#: model's first job; and seconds without a change after which it ends.
DELAY_SECONDS, LINGER_SECONDS = 1.0, 10.0
#: Seconds before another try after a failure.
PAUSE_SECONDS = 2.0
#: Maximum number of files in one request to the writer, so that a request fits into a pipe.
FILES_AT_ONCE = 50
#: Seconds for which ``stop`` waits for a disk that hangs.
STOP_SECONDS = 10.0
#: The state in a file that was there before this process.
_UNKNOWN: State = ()


class UpkeepSupervisor:
    """Has all files checked once, and keeps the files of models equal to the database while the trainer runs."""

    def __init__(self, settings: Settings, database: Database, files: FileStore) -> None:
        self._settings = settings
        self._check: subprocess.Popen[bytes] | None = None
        self._checked = not _has_files(database, files)
        self._database, self._files = database, files
        #: Jobs whose runners have died, the process that clears away after some of them, and these.
        self._lost: set[str] = set()
        self._clearing: subprocess.Popen[bytes] | None = None
        self._cleared: set[str] = set()
        self._writer: subprocess.Popen[bytes] | None = None
        #: The state of each model that its file has; and the states that the writer was asked for last.
        self._written: dict[str, State] = dict.fromkeys(files.ids(FileKind.MODEL), _UNKNOWN)
        self._asked: dict[str, State | None] = {}
        self._states = database.cached(states)
        #: The states that all files have.
        self._settled: dict[str, State] | None = None
        self._ending: list[subprocess.Popen[bytes]] = []
        #: The time of the first change since the last writer ended.
        self._changed: float | None = None
        self._used = self._next_check = self._next_request = self._next_clearing = 0.0

    def turn(self) -> None:
        """Start, ask and end processes as needed, without waiting. Raises SQLAlchemy's OperationalError."""
        self._ending = [process for process in self._ending if process.poll() is None]
        self._run_check()
        self._run_clearing()
        self._listen()
        if self._asked or monotonic() < self._next_request:
            return
        if not self._ask(DELAY_SECONDS) and self._writer is not None and monotonic() - self._used > LINGER_SECONDS:
            self._dismiss_writer()

    def clear_after(self, jobs: Collection[str]) -> None:
        """Have files without a row cleared away that runners of these jobs have left, which have died."""
        self._lost.update(jobs)

    def _run_clearing(self) -> None:
        """Start the process that clears away, if there is something; again after a pause if it was cut short."""
        if self._clearing is not None:
            if self._clearing.poll() is None:
                return
            if self._clearing.returncode == 0:
                self._lost -= self._cleared
            close(self._clearing)
            self._clearing, self._next_clearing = None, monotonic() + PAUSE_SECONDS
        # Not before the check of all files, which moves aside what was there before.
        if not self._lost or not self._checked or monotonic() < self._next_clearing:
            return
        # Where several machines write, what was left just now is too new, and this must not wait for an answer.
        if self._files.place.shared or not unnamed(self._database, self._files)[FileKind.CHECKPOINT]:
            self._lost.clear()
            return
        self._cleared, self._clearing = set(self._lost), self._start("clear", *sorted(self._lost))

    def stop(self) -> None:
        """Have the last changes written and end all processes. Raises SQLAlchemy's OperationalError."""
        until = monotonic() + STOP_SECONDS
        for process in (self._check, self._clearing):
            if process is not None:
                close(process)
                self._ending.append(process)
        try:
            while monotonic() < until and (self._asked or self._ask()):
                select.select([pipe(self._writer.stdout)] if self._writer else [], [], [], until - monotonic())
                self._listen()
                if monotonic() < self._next_request:
                    break  # It failed. The next trainer tries again.
        finally:
            if self._writer is not None:
                self._dismiss_writer()
            for process in self._ending:
                _wait_or_kill(process, until)

    def _run_check(self) -> None:
        """Start the check of all files; again after a pause if it was cut short."""
        if self._check is None:
            if not self._checked and monotonic() >= self._next_check:
                self._check = self._start("check")
            elif self._checked and self._files.place.shared and monotonic() >= self._next_check + OLD_SECONDS:
                # What no row names there can be cleared away by now, if it was too new for that the last time.
                self._checked = False
        elif self._check.poll() is not None:
            self._checked = self._check.returncode == 0
            close(self._check)
            self._check, self._next_check = None, monotonic() + PAUSE_SECONDS

    def _ask(self, delay: float = 0.0) -> bool:
        """Ask for the files of models that changed; False if there are none, or the writer is to start later."""
        now = self._states()
        if now is self._settled:
            return False
        changed = [name for name in self._written.keys() | now.keys() if self._written.get(name) != now.get(name)]
        if not changed:
            self._changed, self._settled = None, now
            return False
        if self._writer is None:
            self._changed = self._changed or monotonic()
            if monotonic() - self._changed < delay:
                return False
            self._writer, self._changed = self._start("model-files"), None
        self._asked = {name: now.get(name) for name in changed[:FILES_AT_ONCE]}
        self._used = monotonic()
        with suppress(BrokenPipeError):  # The writer has ended, and with it its output.
            pipe(self._writer.stdin).write(json.dumps([*self._asked]).encode() + b"\n")
            pipe(self._writer.stdin).flush()
        return True

    def _listen(self) -> None:
        """Record what the writer has done, or that it has ended."""
        if self._writer is None or not select.select([pipe(self._writer.stdout)], [], [], 0)[0]:
            return
        line = pipe(self._writer.stdout).readline()
        done: Sequence[str] = json.loads(line) if line else ()
        for name in done:
            state = self._asked.pop(name)
            if state is None:
                self._written.pop(name, None)
            else:
                self._written[name] = state
        if self._asked:
            self._asked, self._next_request = {}, monotonic() + PAUSE_SECONDS
        if not line:
            self._dismiss_writer()

    def _dismiss_writer(self) -> None:
        assert self._writer is not None
        close(self._writer)
        self._ending.append(self._writer)
        self._writer, self._asked = None, {}

    def _start(self, *work: str) -> subprocess.Popen[bytes]:
        # A new session: an interrupt at the terminal is for the trainer, and this process ends when the trainer does.
        return start(
            self._settings,
            "upkeep",
            *work,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )


def _has_files(database: Database, files: FileStore) -> bool:
    """Whether there is anything to check: a file, or a row that names one."""
    if any(files.ids(kind) for kind in TABLES):
        return True
    with database.read() as connection:
        return any(connection.scalar(sa.select(table.c.id).limit(1)) is not None for table in TABLES.values())


def _wait_or_kill(process: subprocess.Popen[bytes], until: float) -> None:
    try:
        process.wait(max(0.0, until - monotonic()))
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
