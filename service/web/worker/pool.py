"""The threads of a worker: how much may wait for them, and what is done first."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from time import monotonic, perf_counter
from typing import NamedTuple

__all__ = ["BusyPoolError", "Pool"]

#: Mean time, in seconds, from which on a kind of request is a long one.
LONG_SECONDS = 0.1
#: Work, in seconds for each thread that may do it, beyond which no further request is taken.
WAITING_SECONDS = 2.0
#: Requests that may wait, however short they are.
WAITING = 1_000
#: Kinds whose means are kept; all others share one.
_KINDS = 500
#: Share of the newest time in a mean.
_SHARE = 0.2
#: Mean time that a kind is assumed to take before one was measured.
_ASSUMED_SECONDS = 0.01


class BusyPoolError(Exception):
    """So much waits already that a further request would wait for long."""


class _Task(NamedTuple):
    kind: str
    run: Callable[[], object]
    seconds: float


class _Lane:
    """Tasks that wait, in their order."""

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self.tasks: deque[_Task] = deque()
        self.seconds = 0.0
        self.running = 0

    def admits(self, seconds: float) -> bool:
        """Whether a task that is likely to take ``seconds`` would have its turn soon."""
        if self.running < self.threads and not self.tasks:
            return True
        return len(self.tasks) < WAITING and self.seconds + seconds <= WAITING_SECONDS * self.threads

    def put(self, task: _Task) -> None:
        self.tasks.append(task)
        self.seconds += task.seconds

    def take(self) -> _Task:
        task = self.tasks.popleft()
        self.seconds = self.seconds - task.seconds if self.tasks else 0.0
        self.running += 1
        return task


class Pool:
    """A number of threads, of which kinds of tasks that take long get at most half.

    Each kind has a mean time, measured as its tasks run; so a client that asks for what takes long delays others that
    do the same, and nobody else.
    """

    def __init__(self, threads: int) -> None:
        self._lock = threading.Condition()
        self._short, self._long = _Lane(threads), _Lane(max(1, threads // 2))
        self._means: dict[str, float] = {}
        self._closed = False
        #: Threads that wait, without those that were woken already.
        self._idle = 0
        self._was_long = False  # whether the newest task to begin was a long one
        self._threads: list[threading.Thread] = []
        self._most = threads

    @property
    def is_busy(self) -> bool:
        """Whether a thread runs a task."""
        return self._short.running + self._long.running > 0

    def submit(self, kind: str, run: Callable[[], object], *, must: bool = False) -> None:
        """Run a task in a thread. Raises BusyPoolError if too much waits, unless it ``must`` run.

        ``run`` raises nothing.
        """
        with self._lock:
            seconds = self._means.get(self._known(kind), _ASSUMED_SECONDS)
            lane = self._long if seconds >= LONG_SECONDS else self._short
            if not must and not lane.admits(seconds):
                raise BusyPoolError
            lane.put(_Task(kind, run, seconds))
            if self._idle:
                self._idle -= 1
                self._lock.notify()
            elif len(self._threads) < self._most:
                thread = threading.Thread(target=self._work, name=f"pool-{len(self._threads)}", daemon=True)
                self._threads.append(thread)
                thread.start()

    def close(self, seconds: float) -> None:
        """End the threads once nothing waits, and wait for that, at most for so many seconds."""
        with self._lock:
            self._closed = True
            self._lock.notify_all()
        until = monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, until - monotonic()))

    def _work(self) -> None:
        while True:
            with self._lock:
                lane = self._next()
                while lane is None:
                    if self._closed:
                        return
                    self._idle += 1
                    self._lock.wait()
                    lane = self._next()
                self._was_long = lane is self._long
                task = lane.take()
            begin = perf_counter()
            task.run()
            took = perf_counter() - begin
            with self._lock:
                lane.running -= 1
                kind = self._known(task.kind)
                mean = self._means.get(kind)
                self._means[kind] = took if mean is None else mean + _SHARE * (took - mean)

    def _known(self, kind: str) -> str:
        """The kind under which a kind's mean is kept."""
        return kind if kind in self._means or len(self._means) < _KINDS else "other"

    def _next(self) -> _Lane | None:
        """The lane whose task is next: the short one, unless the long one has less than its share."""
        # Short tasks pass long ones, but do not hold them up for ever; nor do long ones if there is but one thread.
        waits = self._long.tasks and self._long.running < self._long.threads
        if waits and (not self._short.tasks or (self._long.running == 0 and not self._was_long)):
            return self._long
        return self._short if self._short.tasks else None
