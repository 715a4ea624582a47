"""A pool of processes, each of which trains one member at a time on one core."""

from __future__ import annotations

import select
import socket
import subprocess
from contextlib import suppress
from time import monotonic

from models.training.members import (
    Ended,
    MemberData,
    MemberFailure,
    MemberLostError,
    MemberPool,
    MemberTask,
    Report,
    Stopped,
)
from service.jobs.exit_causes import OomKills, cause_of
from service.jobs.hold_ups import HELD_UP, HoldUp
from service.jobs.members.frames import AskState, Command, Incoming, SharedData, send
from service.jobs.members.process import OUT_OF_MEMORY
from service.processes import start
from service.settings import Settings

__all__ = ["ProcessPool"]

#: Maximum bytes read at a time.
PIECE = 2**20
#: Maximum seconds between two looks for processes that a signal has stopped.
LOOK_SECONDS = 1.0


class _Member:
    """A process; ``number`` is that of the member that it trains, None if it waits for a task."""

    def __init__(self, settings: Settings) -> None:
        self.number: int | None = None
        #: The names of the data that the process has.
        self.known: set[str] = set()
        self.incoming = Incoming()
        self.connection, theirs = socket.socketpair()
        with theirs:
            self.process = start(
                settings,
                "member",
                # After a product, threads of BLAS would spin on the cores of the other members.
                variables={"OPENBLAS_NUM_THREADS": "1"},
                stdin=theirs,
                # The runner's own standard output is for its outcome.
                stdout=subprocess.DEVNULL,
            )
        self._hold_up = HoldUp(self.process.pid, settings.lease_seconds)
        #: Whether it was killed because a signal had stopped it for too long.
        self.held_up = False

    def fileno(self) -> int:
        """The descriptor to wait for."""
        return self.connection.fileno()

    def send(self, command: Command, *descriptors: int) -> None:
        # If the process has died, the end of what it sends shows it.
        with suppress(BrokenPipeError, ConnectionResetError):
            send(self.connection, command, *descriptors)

    def ask_to_stop(self) -> None:
        with suppress(OSError):  # It has died, as the end of what it sends shows.
            self.connection.shutdown(socket.SHUT_WR)

    def received(self) -> list[Report] | None:
        """The reports that have arrived, without waiting; None if the process has ended."""
        try:
            piece = self.connection.recv(PIECE)
        except ConnectionResetError:
            return None
        return list(self.incoming.add(piece)) if piece else None

    def end_if_held_up(self) -> None:
        """Kill the process if a signal has stopped it for the time of a lease."""
        if not self.held_up and self._hold_up.is_too_long():
            self.held_up = True
            self.process.kill()

    def end(self) -> int:
        """End the process, if it has not ended. Returns its exit status, negative for a signal."""
        self.connection.close()
        self.process.kill()
        return self.process.wait()


class ProcessPool(MemberPool):
    """Trains up to ``places`` members side by side, each in a process with one thread.

    The processes start ahead of their first task, and carry out one task after the other. One that died is replaced
    when its place is needed.
    """

    def __init__(self, settings: Settings, places: int) -> None:
        self._settings, self._places = settings, places
        self._oom_kills = OomKills()
        self._data: dict[str, SharedData] = {}
        self._members = [_Member(settings) for _ in range(places)]
        #: Reports and losses for the next calls of ``reports``.
        self._arrived: list[Report] = []
        self._lost: list[MemberLostError] = []

    @property
    def free(self) -> int:
        return self._places - len(self._running())

    def share(self, name: str, data: MemberData) -> None:
        assert name not in self._data, "members that have the data would not learn of a change"
        self._data[name] = SharedData(name, data)

    def start(self, task: MemberTask) -> None:
        assert self.free, "there is a free place"
        member = self._waiting(task.data)
        member.number = task.number
        if task.data not in member.known:
            data = self._data[task.data]
            member.send(data.frame, data.descriptor)
            member.known.add(task.data)
        member.send(task)

    def reports(self, seconds: float) -> list[Report]:
        until = monotonic() + seconds
        while not (self._arrived or self._lost) and self._running():
            left = until - monotonic()
            self._receive(min(max(0.0, left), LOOK_SECONDS))
            if left <= 0.0:
                break
        if not self._arrived and self._lost:
            raise self._lost.pop(0)
        return self._taken()

    def ask_states(self) -> None:
        for member in self._running():
            member.send(AskState())

    def stop(self) -> list[Report]:
        asked = self._running()
        for member in asked:
            member.ask_to_stop()
        while self._running():
            self._receive(LOOK_SECONDS)
        for member in asked:
            if member in self._members:
                self._remove(member)
        return self._taken()

    def close(self) -> None:
        for member in list(self._members):
            self._remove(member)
        for data in self._data.values():
            data.close()
        self._data, self._arrived, self._lost = {}, [], []

    def _running(self) -> list[_Member]:
        return [member for member in self._members if member.number is not None]

    def _waiting(self, data: str) -> _Member:
        """A process without a task, one that has the data if there is one; it is started if there is none."""
        waiting = [member for member in self._members if member.number is None]
        for member in waiting:
            if member.process.poll() is not None:
                self._remove(member)
        waiting = [member for member in waiting if member in self._members]
        if not waiting:
            waiting = [_Member(self._settings)]
            self._members += waiting
        return max(waiting, key=lambda member: data in member.known)

    def _receive(self, seconds: float) -> None:
        """Read what running members have sent; waits at most so long."""
        for member in self._running():
            member.end_if_held_up()
        for member in select.select(self._running(), [], [], seconds)[0]:
            reports = member.received()
            if reports is None:
                self._lose(member)
                continue
            for report in reports:
                self._note(member, report)

    def _note(self, member: _Member, report: Report) -> None:
        if isinstance(report, MemberFailure) and report.code == OUT_OF_MEMORY:
            self._remove(member)
            self._lost.append(MemberLostError(report.number, report.code, report.detail))
            return
        if isinstance(report, (Ended, Stopped, MemberFailure)):
            member.number = None
        self._arrived.append(report)

    def _lose(self, member: _Member) -> None:
        """A process has ended while it had a task."""
        assert member.number is not None
        # It has closed its socket, so it is about to exit by itself, and its own status is the cause.
        status = member.process.wait()
        cause = HELD_UP if member.held_up else cause_of(status, self._oom_kills.since_last())
        self._remove(member)
        self._lost.append(MemberLostError(member.number, cause.code, cause.detail))

    def _remove(self, member: _Member) -> None:
        member.end()
        self._members.remove(member)

    def _taken(self) -> list[Report]:
        taken, self._arrived = self._arrived, []
        return taken
