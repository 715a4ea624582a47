"""The threads of a worker: how much may wait for them, and what is done first."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from time import monotonic, perf_counter, thread_time
from typing import NamedTuple

__all__ = ["BusyPoolError", "Place", "Pool"]

#: Mean time, and mean processor time, in seconds, from which on a kind of task is a long one.
LONG_SECONDS, LONG_PROCESSOR_SECONDS = 0.1, 0.005
#: Work that waits, in seconds for each thread that may do it, and in seconds of processor time in all, behind which no
#: further request is taken: threads that compute share the interpreter's lock.
WAITING_SECONDS = 2.0
#: Seconds within which a task that was expected should come. One that comes later, since its client is slow, holds no
#: place meanwhile, and finds one or not.
EXPECTED_SECONDS = 1.0
#: Requests that may wait, however short they are.
WAITING = 1_000
#: Kinds whose means are kept; all others share one.
_KINDS = 500
#: Share of the newest time in a mean.
_SHARE = 0.2


class BusyPoolError(Exception):
    """So much waits already that a further request would wait for long."""


class _Means(NamedTuple):
    """How long tasks of a kind take, and how much processor time of it, in seconds."""

    seconds: float
    processor: float

    def with_another(self, seconds: float, processor: float) -> _Means:
        """The means after one more task."""
        return _Means(*(mean + _SHARE * (new - mean) for mean, new in zip(self, (seconds, processor), strict=True)))


#: What a kind is assumed to take before one was measured, and what a task takes that counts for nothing.
_ASSUMED, _NOTHING = _Means(0.01, 0.0), _Means(0.0, 0.0)


class _Task(NamedTuple):
    """A task of a kind. ``means`` are what it may take, if it counts for what is taken besides, else nothing."""

    kind: str
    run: Callable[[], object]
    means: _Means
    counts: bool


class Place:
    """The place of a task that is about to come."""

    __slots__ = ("lane",)

    def __init__(self, lane: _Lane) -> None:
        self.lane = lane


class _Lane:
    """Tasks that wait, in their order."""

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self.tasks: deque[_Task] = deque()
        #: Tasks that count, and how much time they may take.
        self.counted, self.seconds, self.processor = 0, 0.0, 0.0
        #: Places of tasks that are about to come, and when they were given.
        self.expected: dict[Place, float] = {}
        self.running = 0

    def admits(self, means: _Means, others: int = 0) -> bool:
        """Whether a task that is likely to take ``means`` would have its turn soon, behind ``others`` like it."""
        free = max(0, self.threads - self.running - len(self.tasks))
        ahead = others - free  # of it, among those that would have to wait
        if ahead < 0:
            return True
        seconds, processor = self.seconds + ahead * means.seconds, self.processor + ahead * means.processor
        in_time = seconds <= WAITING_SECONDS * self.threads and processor <= WAITING_SECONDS
        return in_time and self.counted + ahead < WAITING

    def expect(self, means: _Means) -> Place | None:
        """A place for a task that is about to come; None if it would have to wait for long."""
        now = monotonic()
        while self.expected and next(iter(self.expected.values())) < now - EXPECTED_SECONDS:
            del self.expected[next(iter(self.expected))]
        if not self.admits(means, len(self.expected)):
            return None
        place = Place(self)
        self.expected[place] = now
        return place

    def put(self, task: _Task) -> None:
        self.tasks.append(task)
        self.counted += task.counts
        self.seconds += task.means.seconds
        self.processor += task.means.processor

    def take(self) -> _Task:
        task = self.tasks.popleft()
        self.counted -= task.counts
        # Sums of many floats end a little beside zero.
        self.seconds = self.seconds - task.means.seconds if self.counted else 0.0
        self.processor = self.processor - task.means.processor if self.counted else 0.0
        self.running += 1
        return task


class Pool:
    """A number of threads, of which kinds of tasks that take long get at most half.

    Each kind has mean times, measured as its tasks run; so a client that asks for what takes long delays others that
    do the same, and nobody else.
    """

    def __init__(self, threads: int) -> None:
        self._lock = threading.Condition()
        self._short, self._long = _Lane(threads), _Lane(max(1, threads // 2))
        self._later = _Lane(max(1, threads // 4))
        self._means: dict[str, _Means] = {}
        self._closed = False
        #: Threads that wait, without those that were woken already.
        self._idle = 0
        self._was_short = True  # whether the newest task to begin was a short one
        self._threads: list[threading.Thread] = []
        self._most = threads

    @property
    def is_busy(self) -> bool:
        """Whether a task runs or waits."""
        return any(lane.running or lane.tasks for lane in (self._short, self._long, self._later))

    def submit(self, kind: str, run: Callable[[], object], *, must: bool = False, later: bool = False) -> None:
        """Run a task in a thread. Raises BusyPoolError if too much waits, unless it ``must`` run.

        Tasks that come ``later``, for many clients at the same moment, get at most a quarter of the threads. ``run``
        raises nothing.
        """
        with self._lock:
            means = self._means_of(kind)
            lane = self._later if later else self._lane(means)
            if not must and not lane.admits(means):
                raise BusyPoolError
            lane.put(_Task(kind, run, _NOTHING if must else means, not must))
            if self._idle:
                self._idle -= 1
                self._lock.notify()
            elif len(self._threads) < self._most:
                self._add_thread()

    def expect(self, kind: str) -> Place | None:
        """A place for a task of this kind that comes soon; None if so much waits that it would be refused."""
        with self._lock:
            means = self._means_of(kind)
            return self._lane(means).expect(means)

    def give_up(self, place: Place) -> None:
        """The task comes now, or not at all."""
        with self._lock:
            place.lane.expected.pop(place, None)

    def _means_of(self, kind: str) -> _Means:
        """How long a task is likely to take."""
        return self._means.get(self._known(kind), _ASSUMED)

    def _lane(self, means: _Means) -> _Lane:
        is_long = means.seconds >= LONG_SECONDS or means.processor >= LONG_PROCESSOR_SECONDS
        return self._long if is_long else self._short

    def _add_thread(self) -> None:
        thread = threading.Thread(target=self._work, name=f"pool-{len(self._threads)}", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # The system has no more threads.
            if not self._threads:
                raise
        else:
            self._threads.append(thread)

    def close(self) -> None:
        """End the threads once nothing waits."""
        with self._lock:
            self._closed = True
            self._lock.notify_all()

    def join(self, seconds: float) -> bool:
        """Wait at most for so many seconds until all threads have ended; whether they have."""
        until = monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, until - monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

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
                self._was_short = lane is self._short
                task = lane.take()
            begin, used = perf_counter(), thread_time()
            task.run()
            took = _Means(perf_counter() - begin, thread_time() - used)
            with self._lock:
                lane.running -= 1
                kind = self._known(task.kind)
                means = self._means.get(kind)
                self._means[kind] = took if means is None else means.with_another(*took)

    def _known(self, kind: str) -> str:
        """The kind under which a kind's mean is kept."""
        return kind if kind in self._means or len(self._means) < _KINDS else "other"

    def _next(self) -> _Lane | None:
        """The lane whose task is next: the short one, unless another one has less than its share."""
        # Short tasks pass others, but do not hold them up for ever; nor do others if there is but one thread.
        for lane in (self._later, self._long):
            waits = lane.tasks and lane.running < lane.threads
            if waits and (not self._short.tasks or (lane.running == 0 and self._was_short)):
                return lane
        return self._short if self._short.tasks else None
