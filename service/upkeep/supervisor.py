"""The trainer's end of the housekeeping (``service.upkeep``): processes that live while there is work for them.

What they need to read HDF5 would otherwise lie in the trainer's memory for good.
"""

from __future__ import annotations

import json
import select
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from time import monotonic

import sqlalchemy as sa

from models.registry.tables import CHECKPOINTS, DATASETS
from models.registry.versions import State, states
from service.processes import close, pipe, start
from service.settings import Settings
from service.store.database import Database
from service.store.files import Storage

__all__ = ["Housekeeper"]

#: The process that keeps models' files starts when a change is so old, so that a new model's first job has the cores;
#: it ends when there was nothing to do for so long.
DELAY_SECONDS, LINGER_SECONDS = 1.0, 10.0
#: After something failed it is tried again so much later.
PAUSE_SECONDS = 2.0
#: What is asked for at once, so that a question fits into a pipe.
FILES_AT_ONCE = 50
#: Stopping waits no longer for a disk that hangs.
STOP_SECONDS = 10.0
#: Of a file of which nothing is known but that it is there.
_UNKNOWN: State = ()


class Housekeeper:
    """Has everything checked once, and models' files follow the registry, for as long as a trainer is at work."""

    def __init__(self, settings: Settings, database: Database, storage: Storage) -> None:
        self._settings = settings
        self._check: subprocess.Popen[bytes] | None = None
        self._checked = not _has_files(database, storage)
        self._keeper: subprocess.Popen[bytes] | None = None
        #: Of which state of each model the file is; what the keeper was asked for and has not answered yet.
        self._kept: dict[str, State] = dict.fromkeys(storage.model_names(), _UNKNOWN)
        self._asked: dict[str, State | None] = {}
        self._states = database.cached(states)
        #: The states that all files are of.
        self._settled: dict[str, State] | None = None
        self._leaving: list[subprocess.Popen[bytes]] = []
        #: When a change was first seen for which there is no keeper yet.
        self._changed: float | None = None
        self._used = self._next_check = self._next_question = 0.0

    def turn(self) -> None:
        """Start, ask and end processes as is called for, without waiting; raises SQLAlchemy's OperationalError."""
        self._leaving = [process for process in self._leaving if process.poll() is None]
        self._see_to_check()
        self._hear()
        if self._asked or monotonic() < self._next_question:
            return
        if not self._ask(DELAY_SECONDS) and self._keeper is not None and monotonic() - self._used > LINGER_SECONDS:
            self._dismiss_keeper()

    def stop(self) -> None:
        """Have the last changes written, and all processes end; raises SQLAlchemy's OperationalError."""
        until = monotonic() + STOP_SECONDS
        if self._check is not None:
            close(self._check)
            self._leaving.append(self._check)
        try:
            while monotonic() < until and (self._asked or self._ask()):
                select.select([pipe(self._keeper.stdout)] if self._keeper else [], [], [], until - monotonic())
                self._hear()
                if monotonic() < self._next_question:
                    break  # It cannot be done now; the next trainer sees to it.
        finally:
            if self._keeper is not None:
                self._dismiss_keeper()
            for process in self._leaving:
                _wait_or_kill(process, until)

    def _see_to_check(self) -> None:
        """Start the check of everything; once more, after a pause, where it could not be brought to its end."""
        if self._check is None:
            if not self._checked and monotonic() >= self._next_check:
                self._check = self._start("check")
        elif self._check.poll() is not None:
            self._checked = self._check.returncode == 0
            close(self._check)
            self._check, self._next_check = None, monotonic() + PAUSE_SECONDS

    def _ask(self, delay: float = 0.0) -> bool:
        """Ask for files of models that changed; False where there are none, or a keeper is to start for them later."""
        now = self._states()
        if now is self._settled:
            return False
        changed = [name for name in self._kept.keys() | now.keys() if self._kept.get(name) != now.get(name)]
        if not changed:
            self._changed, self._settled = None, now
            return False
        if self._keeper is None:
            self._changed = self._changed or monotonic()
            if monotonic() - self._changed < delay:
                return False
            self._keeper, self._changed = self._start("files"), None
        self._asked = {name: now.get(name) for name in changed[:FILES_AT_ONCE]}
        self._used = monotonic()
        with suppress(BrokenPipeError):  # It has ended, which its output tells.
            pipe(self._keeper.stdin).write(json.dumps([*self._asked]).encode() + b"\n")
            pipe(self._keeper.stdin).flush()
        return True

    def _hear(self) -> None:
        """Take note of what the keeper has done, or that it is gone."""
        if self._keeper is None or not select.select([pipe(self._keeper.stdout)], [], [], 0)[0]:
            return
        line = pipe(self._keeper.stdout).readline()
        done: Sequence[str] = json.loads(line) if line else ()
        for name in done:
            state = self._asked.pop(name)
            if state is None:
                self._kept.pop(name, None)
            else:
                self._kept[name] = state
        if self._asked:
            self._asked, self._next_question = {}, monotonic() + PAUSE_SECONDS
        if not line:
            self._dismiss_keeper()

    def _dismiss_keeper(self) -> None:
        assert self._keeper is not None
        close(self._keeper)
        self._leaving.append(self._keeper)
        self._keeper, self._asked = None, {}

    def _start(self, work: str) -> subprocess.Popen[bytes]:
        # A session of its own: an interrupt at the terminal is for the trainer, whom it follows.
        return start(
            self._settings,
            "housekeeping",
            work,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )


def _has_files(database: Database, storage: Storage) -> bool:
    """Whether there is anything to check: a file, or a row that names one."""
    if storage.checkpoint_ids() or storage.dataset_ids():
        return True
    with database.read() as connection:
        return any(connection.scalar(sa.select(table.c.id).limit(1)) is not None for table in (CHECKPOINTS, DATASETS))


def _wait_or_kill(process: subprocess.Popen[bytes], until: float) -> None:
    try:
        process.wait(max(0.0, until - monotonic()))
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
