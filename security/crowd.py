"""Many connections that send slowly, read nothing, or only wait: one thread holds them all."""

from __future__ import annotations

import resource
import select
import socket
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from time import monotonic, time
from typing import NamedTuple, Self

__all__ = ["Crowd", "Habit", "Member"]

#: Parts of a second in turn in each of which an equal share of the slow members sends a byte.
_SLOTS = 20
#: Bytes of an answer that are kept of its beginning, and of its end.
_KEPT_BYTES, _TAIL_BYTES = 4096, 512
#: Loopback addresses that connections come from, since each has some 28,000 ports.
_SOURCES = 8
#: Files that this process may have open beside its connections.
_OTHER_FILES = 200


class Habit(NamedTuple):
    """What a connection does: it sends ``first``, then one byte of ``then`` a second, again and again.

    It goes on after an answer. ``reads`` is whether it reads anything at all.
    """

    name: str
    first: bytes = b""
    then: bytes = b""
    reads: bool = True


@dataclass
class Member:
    """One connection, and when it was answered, sent the end, and cut: seconds since it was opened, None if not."""

    habit: Habit
    sock: socket.socket
    opened: float
    sent: int = 0
    answer: bytes = b""
    tail: bytes = b""
    received: int = 0
    answered: float | None = None
    ended: float | None = None
    cut: float | None = None
    #: When the last byte arrived, in seconds since the epoch.
    last: float = field(default=0.0)

    @property
    def status(self) -> int | None:
        """The status of the answer; None if there is none."""
        return int(self.answer[9:12]) if self.answer.startswith(b"HTTP/1.1 ") else None

    def drip(self) -> None:
        """Send the next byte. The service may have reset the connection, or take nothing more."""
        then = self.habit.then
        if not then or self.cut is not None:
            return
        try:
            self.sent += self.sock.send(then[self.sent % len(then) :][:1])
        except BlockingIOError:
            return
        except OSError:
            self.cut = monotonic() - self.opened

    def read(self) -> bool:
        """Read what has arrived; whether more may come."""
        try:
            data = self.sock.recv(65_536)
        except BlockingIOError:
            return True
        except OSError:
            data = b""
            self.cut = monotonic() - self.opened
        now = monotonic() - self.opened
        if not data:
            self.ended = now if self.ended is None else self.ended
            return False
        self.answered = now if self.answered is None else self.answered
        self.last = time()
        self.received += len(data)
        self.answer += data[: _KEPT_BYTES - len(self.answer)]
        self.tail = (self.tail + data)[-_TAIL_BYTES:]
        return True


class Crowd:
    """Connections to a port of this machine, which are closed at the end of a block."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._epoll = select.epoll()
        self.members: list[Member] = []
        self._by_file: dict[int, Member] = {}
        self._slot = 0
        self._next = monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._epoll.close()
        for member in self.members:
            member.sock.close()

    def join(self, habits: Sequence[Habit], each: int) -> None:
        """Open so many connections of each habit, in turn. Raises OSError if the machine does not allow so many."""
        _allow_files(len(self.members) + each * len(habits) + _OTHER_FILES)
        for _ in range(each):
            for habit in habits:
                self._open(habit)
                self._turn(0.0)

    def live(self, seconds: float, until: Callable[[], bool] = lambda: False) -> None:
        """Go on for so many seconds, or until something holds."""
        end = monotonic() + seconds
        while monotonic() < end and not until():
            self._turn(max(0.0, min(self._next - monotonic(), end - monotonic())))

    def drain(self, seconds: float, until: Callable[[], bool] = lambda: False) -> None:
        """Read on all connections for so long, or until all have ended or something holds."""
        for member in self.members:
            if not member.habit.reads:
                member.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**20)
                self._epoll.modify(member.sock.fileno(), select.EPOLLIN)
        self.live(seconds, lambda: until() or all(member.ended is not None for member in self.members))

    def statuses(self) -> dict[str, Counter[int | None]]:
        """How many of each habit were answered with each status."""
        found: dict[str, Counter[int | None]] = {}
        for member in self.members:
            found.setdefault(member.habit.name, Counter())[member.status] += 1
        return found

    def _open(self, habit: Habit) -> None:
        source = f"127.0.0.{2 + len(self.members) % _SOURCES}", 0
        sock = socket.socket()
        if not habit.reads:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.bind(source)
        sock.settimeout(60)
        opened = monotonic()
        sock.connect(("127.0.0.1", self._port))
        member = Member(habit, sock, opened)
        self.members.append(member)
        self._by_file[sock.fileno()] = member
        with suppress(ConnectionError):  # The service may have refused already; reading reports it.
            sock.sendall(habit.first)
        sock.setblocking(False)
        self._epoll.register(sock.fileno(), select.EPOLLIN if habit.reads else 0)

    def _turn(self, patience: float) -> None:
        for file, _ in self._epoll.poll(patience):
            if not self._by_file[file].read():
                self._epoll.unregister(file)
        while self._next <= monotonic():
            self._next += 1 / _SLOTS
            self._slot = (self._slot + 1) % _SLOTS
            for member in self.members[self._slot :: _SLOTS]:
                member.drip()


def _allow_files(count: int) -> None:
    """Raise the number of files that this process may open. Raises ValueError if the machine does not allow it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < count:
        resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))
