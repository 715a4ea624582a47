"""What runs of several members have in common: the loop over their pool, when they save, and how long they took."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from time import monotonic
from typing import Protocol

from models.training.checkpoint import Checkpoint, CheckpointKind
from models.training.ensemble_checkpoint import EnsembleCheckpoint
from models.training.members import (
    Ended,
    Looked,
    MemberFailure,
    MemberPool,
    MemberTask,
    Report,
    Saved,
    Stopped,
)
from models.training.request import TrainingRequest
from models.training.sweep_checkpoint import SweepCheckpoint
from nncore.kernels.kinds import Kind
from nncore.training import Epoch

__all__ = ["MemberFailedError", "MembersJournal", "MembersRun"]

#: Seconds between two saves when members end, unless the request says how often to save.
SAVE_SECONDS = 10.0
#: Seconds for which a run waits for reports at a time.
WAIT_SECONDS = 0.1


class MemberFailedError(Exception):
    """A member cannot go on, and would not if it was tried again."""

    def __init__(self, report: MemberFailure) -> None:
        self.code = report.code
        super().__init__(f"member {report.number}: {report.detail}")


class MembersJournal(Protocol):
    """Receives the progress of a run, and may ask the run to stop."""

    def stopping(self) -> bool:
        """Whether the run should save its state and stop."""

    def epoch(self, record: Epoch, member: int = 0) -> None:
        """Called when an epoch of a member has ended."""

    def checkpoint(self, checkpoint: Checkpoint | EnsembleCheckpoint | SweepCheckpoint, kind: CheckpointKind) -> None:
        """Called to save a state."""


class MembersRun(ABC):
    """A run whose members train in a pool. Subclasses say which ones, and what becomes of their reports.

    ``earlier`` are the seconds that the run took before this process. ``kernels`` is how the calls of a member's steps
    run.
    """

    def __init__(
        self,
        request: TrainingRequest,
        pool: MemberPool,
        earlier: float,
        clock: Callable[[], float] = monotonic,
        kernels: Kind = "numpy",
    ) -> None:
        self.request, self.kernels = request, kernels
        #: What ended the run before its last member; None if nothing did.
        self.stopped_by: str | None = None
        self._pool, self._clock = pool, clock
        self._earlier, self._begin = earlier, clock()
        self._running: set[int] = set()
        #: Epochs and steps of each member so far.
        self._epochs: dict[int, int] = {}
        self._steps: dict[int, int] = {}

    def run(self, journal: MembersJournal) -> bool:
        """Train all members; False if the journal asked the run to stop, and its state is saved.

        Raises MemberFailedError if the run cannot go on, and MemberLostError if the process of a member died.
        """
        end = self._begin + self.request.max_seconds - self._earlier if self.request.max_seconds else math.inf
        saves = _Saves(self.request, self._clock)
        while True:
            while self._pool.free and (task := self._next()) is not None:
                self._pool.start(task)
                self._running.add(task.number)
            if not self._running:
                break
            left = max(0.0, min(WAIT_SECONDS, end - self._clock()))
            came_in = self._take(self._pool.reports(left), journal, saves)
            if journal.stopping():
                self._take(self._pool.stop(), journal, saves)
                journal.checkpoint(self._state(), CheckpointKind.INTERRUPTED)
                return False
            if self._clock() >= end:
                self.stopped_by = "max_seconds"
                self._take(self._pool.stop(), journal, saves)
                self._cut_short()
                break
            if saves.due(came_in):
                journal.checkpoint(self._state(), CheckpointKind.BETWEEN)
            elif saves.wants_states(self._running):
                self._pool.ask_states()
        self._finish(journal)
        return True

    def _take(self, reports: Iterable[Report], journal: MembersJournal, saves: _Saves) -> bool:
        """Note what members report; returns whether one has come to the end of its task."""
        came_in = False
        for report in reports:
            match report:
                case Looked(number, records, step):
                    self._epochs[number] = records[-1].number if records else self._epochs.get(number, 0)
                    self._steps[number] = step
                    for record in records:
                        journal.epoch(record, number)
                    self._look(number, records)
                    saves.count(len(records))
                    continue
                case Saved() | Stopped() | Ended():
                    self._epochs[report.number] = report.checkpoint.epoch
                    self._steps[report.number] = report.checkpoint.step
            if not isinstance(report, Saved):
                self._running.discard(report.number)
                came_in = came_in or not isinstance(report, Stopped) or self._has_paused(report)
            if not isinstance(report, Stopped):
                saves.saved(report.number)
            self._note(report)
        return came_in

    def _seconds(self) -> float:
        """Seconds of training so far, in all processes that ran it."""
        return self._earlier + self._clock() - self._begin

    @property
    @abstractmethod
    def planned(self) -> Mapping[int, int]:
        """The most epochs of each member; they count from 1."""

    @abstractmethod
    def best_epochs(self) -> Mapping[int, Epoch]:
        """The best epoch so far of each member that has one."""

    @abstractmethod
    def _next(self) -> MemberTask | None:
        """The next member to train; None if there is none, or none before a running one has reported."""

    @abstractmethod
    def _note(self, report: Saved | Stopped | Ended | MemberFailure) -> None:
        """Keep what a member reports."""

    @abstractmethod
    def _look(self, number: int, records: Sequence[Epoch]) -> None:
        """Look at the epochs that a member has trained since it was looked at."""

    def _has_paused(self, _report: Stopped) -> bool:
        """Whether a member stopped because it came to the end of its task, rather than because it was asked to."""
        return False

    @abstractmethod
    def _cut_short(self) -> None:
        """The time is up, and what has been trained is all there is."""

    @abstractmethod
    def _finish(self, journal: MembersJournal) -> None:
        """Save the result."""

    @abstractmethod
    def _state(self) -> EnsembleCheckpoint | SweepCheckpoint:
        """The present state, from which another process can continue."""


class _Saves:
    """When to save between the first member's begin and the last one's end."""

    def __init__(self, request: TrainingRequest, clock: Callable[[], float]) -> None:
        self._request, self._clock = request, clock
        self._last = clock()
        self._records = 0
        #: The members whose states are on their way; None if none were asked for.
        self._asked: set[int] | None = None

    def count(self, records: int) -> None:
        """Note that epochs have ended."""
        self._records += records

    def saved(self, number: int) -> None:
        """Note that a member's state has come."""
        if self._asked is not None:
            self._asked.discard(number)

    def due(self, ended: bool) -> bool:
        """Whether to save now: all states that were asked for are there, or a member has ended and it is time."""
        asked = self._asked is not None and not self._asked
        pause = self._request.every_seconds or SAVE_SECONDS
        if asked or (ended and self._asked is None and self._clock() - self._last >= pause):
            self._last, self._records, self._asked = self._clock(), 0, None
            return True
        return False

    def wants_states(self, running: Iterable[int]) -> bool:
        """Whether the states of the running members are to be asked for now, as the request's policy says."""
        if self._asked is not None:
            return False
        seconds, epochs = self._request.every_seconds, self._request.every_epochs
        wanted = (seconds is not None and self._clock() - self._last >= seconds) or (
            epochs is not None and self._records >= epochs
        )
        if wanted:
            self._asked = set(running)
        return wanted
