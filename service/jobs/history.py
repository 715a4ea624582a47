"""The history of a job as it is written: which epochs become its points, however many there are.

A history has the first epochs, and from then on every so many. Which ones depends on nothing but an epoch's number and
on how many are planned, so a run that is resumed or retried writes the same points. The best epoch and the newest one
are points too. If they lie between the others, they pass: they are deleted as soon as there is a better or newer one.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import sqlalchemy as sa

from models.training.run import Epoch
from service.jobs.events import EpochEvent, HistoryPlace, newest_epochs
from service.store.tables import EVENTS

__all__ = ["FIRST", "MEMBER_FIRST", "MEMBER_POINTS", "POINTS", "Changes", "History", "Thinning"]

#: Epochs that a history has from the first one on, and points that it has at most, of all members together.
FIRST, POINTS = 1_000, 10_000
#: The same for each member, if there are so many that they would have less.
MEMBER_FIRST, MEMBER_POINTS = 100, 200
#: Points of a member that pass: the best epoch and the newest one.
PASSING = 2


@dataclass(frozen=True)
class Thinning:
    """Which epochs are points that stay: the ``first`` ones, and then one of ``stride``."""

    first: int
    stride: int

    @classmethod
    def of(cls, epochs: int, members: int = 1) -> Thinning:
        """That of each of ``members`` that trains at most ``epochs``."""
        first, points = max(MEMBER_FIRST, FIRST // members), max(MEMBER_POINTS, POINTS // members)
        if epochs <= points:
            return cls(first, 1)
        return cls(first, -(-(epochs - first) // (points - first - PASSING)))

    def stays(self, epoch: int) -> bool:
        """Whether an epoch is a point that stays."""
        return epoch <= self.first or (epoch - self.first) % self.stride == 0

    def passes(self, epoch: sa.ColumnElement[int]) -> sa.ColumnElement[bool]:
        """The opposite of ``stays``, as a condition."""
        return sa.and_(epoch > self.first, (epoch - self.first) % self.stride != 0)


class Changes(NamedTuple):
    """Points to write, in order, and points to delete in the same transaction."""

    new: list[EpochEvent]
    gone: list[HistoryPlace]


class History:
    """The epochs of a run on their way to the database; ``planned`` has the most epochs of each member.

    Between two writes, it holds the points that stay and the newest epoch of each member.
    """

    def __init__(self, planned: Mapping[int, int]) -> None:
        self._thinning = {member: Thinning.of(epochs, len(planned)) for member, epochs in planned.items()}
        self._waiting: defaultdict[int, list[Epoch]] = defaultdict(list)
        self._newest: dict[int, Epoch] = {}
        #: The newest point of each member in the database, and those that pass.
        self._stored, self._passing = Counter[int](), dict[int, set[int]]()

    def add(self, record: Epoch, member: int) -> None:
        """Note an epoch that has ended."""
        self._newest[member] = record
        if self._thinning[member].stays(record.number):
            self._waiting[member].append(record)

    def read(self, connection: sa.Connection, job_id: str) -> None:
        """Find out which points the database has."""
        self._stored = Counter(newest_epochs(connection, job_id))
        self._passing = {member: self._read_passing(connection, job_id, member) for member in self._stored}

    def _read_passing(self, connection: sa.Connection, job_id: str, member: int) -> set[int]:
        thinning, epoch = self._thinning[member], EVENTS.c.epoch
        if thinning.stride == 1 or self._stored[member] <= thinning.first:
            return set()
        query = sa.select(epoch).where(EVENTS.c.job == job_id, EVENTS.c.member == member, thinning.passes(epoch))
        found = set(connection.scalars(query.limit(PASSING + 1)))
        # If there are more, an earlier release has written every epoch, and they all stay.
        return found if len(found) <= PASSING else set()

    def changes(self, best: Mapping[int, Epoch], *, with_newest: bool) -> Changes:
        """What to change now; ``best`` has the best epoch so far of each member that has one."""
        found = Changes([], [])
        for member, newest in self._newest.items():
            if newest.number <= self._stored[member]:
                continue
            passing = [best[member]] if member in best else []
            passing += [newest] if with_newest else []
            points = {each.number: each for each in (*self._waiting[member], *passing)}
            new = [points[number] for number in sorted(points) if number > self._stored[member]]
            if not new:
                continue  # What is the newest point stays so until there is a newer one.
            found.new.extend(EpochEvent(each, member) for each in new)
            gone = self._passing.get(member, set()) - points.keys()
            found.gone.extend(HistoryPlace(member, number) for number in sorted(gone))
        return found

    def have_been_made(self, changes: Changes) -> None:
        """Note that the database has these changes."""
        for place in changes.gone:
            self._passing[place.member].discard(place.epoch)
        for event in changes.new:
            member, number = event.member, event.record.number
            self._stored[member] = number
            if not self._thinning[member].stays(number):
                self._passing.setdefault(member, set()).add(number)
        self._waiting.clear()
