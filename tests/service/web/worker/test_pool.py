"""The pool of threads: bounds, lanes, and that no kind of task holds up the others."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from service.web.worker import pool as module
from service.web.worker.pool import BusyPoolError, Pool

SECONDS = 10.0


class Task:
    """A task that runs until it is let go."""

    def __init__(self) -> None:
        self.begun, self.free, self.ended = threading.Event(), threading.Event(), threading.Event()

    def __call__(self) -> None:
        self.begun.set()
        assert self.free.wait(SECONDS)
        self.ended.set()


@pytest.fixture
def make_pool() -> Iterator[Callable[[int], Pool]]:
    made: list[Pool] = []

    def make(threads: int) -> Pool:
        made.append(Pool(threads))
        return made[-1]

    yield make
    for pool in made:
        pool.close()
        assert pool.join(SECONDS)


class Clock(threading.local):
    """Time as the pool measures it, for each thread; a task takes as long as it says."""

    now = processor = 0.0

    def take(self, seconds: float, processor: float = 0.0) -> None:
        self.now += seconds
        self.processor += processor


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "perf_counter", lambda: clock.now)
    monkeypatch.setattr(module, "thread_time", lambda: clock.processor)
    return clock


def run(pool: Pool, kind: str, call: Callable[[], object] = lambda: None) -> None:
    """Run a task to its end, and have its time measured: a thread does so before it takes another task."""
    ended, threads = threading.Event(), pool._most
    pool.submit(kind, call)
    together = threading.Barrier(threads, ended.set)
    for _ in range(threads):
        pool.submit("", partial(together.wait, SECONDS), must=True)
    assert ended.wait(SECONDS)


def test_as_many_tasks_as_threads_run_at_once(make_pool: Callable[[int], Pool]) -> None:
    pool = make_pool(4)
    together = threading.Barrier(5)
    for _ in range(4):
        pool.submit("a", partial(together.wait, SECONDS))
    together.wait(SECONDS)


def test_a_burst_after_one_task_gets_all_threads(make_pool: Callable[[int], Pool]) -> None:
    """One thread waits, and wakes for one task only: the others of a burst get threads of their own."""
    for _ in range(20):
        pool = make_pool(4)
        run(pool, "a")
        together = threading.Barrier(5)
        for _ in range(4):
            pool.submit("a", partial(together.wait, SECONDS))
        together.wait(SECONDS)


def test_tasks_keep_their_order(make_pool: Callable[[int], Pool]) -> None:
    pool, first, order = make_pool(1), Task(), list[int]()
    pool.submit("a", first)
    for number in range(100):
        pool.submit("a", partial(order.append, number))
    first.free.set()
    run(pool, "a")
    assert order == list(range(100))


def test_too_many_are_refused(make_pool: Callable[[int], Pool], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WAITING", 3)
    pool, first = make_pool(1), Task()
    pool.submit("a", first)
    assert first.begun.wait(SECONDS)
    for _ in range(3):
        pool.submit("a", lambda: None)
    with pytest.raises(BusyPoolError):
        pool.submit("a", lambda: None)
    last = Task()
    pool.submit("a", last, must=True)
    first.free.set()
    last.free.set()
    assert last.ended.wait(SECONDS)
    run(pool, "a")


def test_too_much_work_is_refused(make_pool: Callable[[int], Pool], clock: Clock) -> None:
    """Two seconds of work may wait for each thread before another task: two tasks of 0.9 s, but not three."""
    pool, first = make_pool(1), Task()
    run(pool, "long", partial(clock.take, 0.9))
    pool.submit("short", first)
    assert first.begun.wait(SECONDS)
    for _ in range(3):
        pool.submit("long", lambda: None)
    with pytest.raises(BusyPoolError):
        pool.submit("long", lambda: None)
    pool.submit("short", lambda: None)
    first.free.set()


def test_what_is_expected_has_a_place(
    make_pool: Callable[[int], Pool], clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of many that ask at the same moment, as many are admitted as may wait; for a second, in which they come."""
    pool, first = make_pool(1), Task()
    run(pool, "long", partial(clock.take, 0.9))
    run(pool, "short")
    now = 100.0
    monkeypatch.setattr(module, "monotonic", lambda: now)
    pool.submit("long", first)
    assert first.begun.wait(SECONDS)
    places = [pool.expect("long") for _ in range(5)]
    assert [place is not None for place in places] == [True, True, True, False, False]
    assert pool.expect("short")
    assert places[0] is not None
    pool.give_up(places[0])
    pool.submit("long", lambda: None)  # One of them comes.
    assert not pool.expect("long")
    assert places[1] is not None
    pool.give_up(places[1])  # Another one does not.
    assert pool.expect("long")
    assert not pool.expect("long")
    now += 2 * module.EXPECTED_SECONDS
    assert [pool.expect("long") is not None for _ in range(3)] == [True, True, False]
    pool.give_up(places[1])
    first.free.set()


def test_whoever_finds_a_free_thread_waits_for_nobody(make_pool: Callable[[int], Pool], clock: Clock) -> None:
    pool = make_pool(8)
    run(pool, "long", partial(clock.take, 100.0))
    assert [pool.expect("long") is not None for _ in range(6)] == [True, True, True, True, True, False]


def test_processor_time_that_waits_is_bounded_in_all(make_pool: Callable[[int], Pool], clock: Clock) -> None:
    """However many threads there are: two seconds before another task, each 0.5 s."""
    pool, running = make_pool(8), [Task() for _ in range(4)]
    run(pool, "computes", partial(clock.take, 0.5, 0.5))
    for task in running:
        pool.submit("computes", task)
    assert running[3].begun.wait(SECONDS)
    for _ in range(5):
        pool.submit("computes", lambda: None)
    with pytest.raises(BusyPoolError):
        pool.submit("computes", lambda: None)
    for task in running:
        task.free.set()


def test_one_task_is_taken_however_long_it_takes(make_pool: Callable[[int], Pool], clock: Clock) -> None:
    pool = make_pool(2)
    run(pool, "long", partial(clock.take, 1_000.0))
    ended = threading.Event()
    pool.submit("long", ended.set)
    assert ended.wait(SECONDS)


def test_long_tasks_get_half_of_the_threads(make_pool: Callable[[int], Pool], clock: Clock) -> None:
    pool = make_pool(4)
    run(pool, "long", partial(clock.take, 0.2))
    tasks = [Task() for _ in range(4)]
    for task in tasks:
        pool.submit("long", task)
    assert tasks[1].begun.wait(SECONDS)
    for _ in range(10):  # The other threads are for short ones.
        ended = threading.Event()
        pool.submit("short", ended.set)
        assert ended.wait(SECONDS)
    assert [task.begun.is_set() for task in tasks] == [True, True, False, False]
    for task in tasks:
        task.free.set()
    assert tasks[-1].ended.wait(SECONDS)


#: Seconds that tasks of each lane take, and seconds of the processor's time among them.
LANES = {"short": (0.0, 0.0), "long": (0.2, 0.0)}


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("waiting", LANES)
def test_no_lane_starves(make_pool: Callable[[int], Pool], clock: Clock, threads: int, waiting: str) -> None:
    """Each lane has its turn while the others never run empty."""
    pool, over = make_pool(threads), threading.Event()
    for kind, times in LANES.items():
        run(pool, kind, partial(clock.take, *times))

    def again(kind: str) -> None:
        if not over.is_set():
            clock.take(*LANES[kind])
            pool.submit(kind, partial(again, kind), must=True)

    for kind in LANES.keys() - {waiting}:
        for _ in range(2 * threads):
            pool.submit(kind, partial(again, kind), must=True)
    ended = threading.Event()
    pool.submit(waiting, ended.set)
    assert ended.wait(SECONDS)
    over.set()


def test_a_mean_follows_what_is_measured(make_pool: Callable[[int], Pool], clock: Clock) -> None:
    pool = make_pool(1)
    run(pool, "a", partial(clock.take, 1.0))
    assert pool._means["a"] == (1.0, 0.0)
    run(pool, "a", partial(clock.take, 0.0, 0.1))
    assert pool._means["a"] == pytest.approx((0.8, 0.02))
    for _ in range(20):
        run(pool, "a")
    assert pool._means["a"].seconds < module.LONG_SECONDS


def test_kinds_are_bounded(make_pool: Callable[[int], Pool], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_KINDS", 3)
    pool = make_pool(1)
    for number in range(10):
        run(pool, str(number))
    assert len(pool._means) <= 4
    assert "other" in pool._means


def test_what_waits_is_done_before_the_end() -> None:
    pool, first, done = Pool(2), Task(), list[int]()
    pool.submit("a", first)
    for number in range(50):
        pool.submit("a", partial(done.append, number))
    first.free.set()
    pool.close()
    assert pool.join(SECONDS)
    assert sorted(done) == list(range(50))


def test_the_end_does_not_wait_for_ever() -> None:
    pool, stuck = Pool(1), Task()
    pool.submit("a", stuck)
    pool.close()
    assert not pool.join(0.01)
    assert stuck.begun.is_set()
    stuck.free.set()
    assert pool.join(SECONDS)
    assert stuck.ended.is_set()


def test_tasks_for_many_clients_at_once_refuse_no_request(make_pool: Callable[[int], Pool]) -> None:
    """As many as there may wait, and more, are there already, and a request is taken, and comes before most of them."""
    pool, held = make_pool(4), Task()
    order: list[str] = []
    pool.submit("look", held, must=True, later=True)
    held.begun.wait(SECONDS)
    for _ in range(module.WAITING + 10):
        pool.submit("look", partial(order.append, "look"), must=True, later=True)
    done = threading.Event()
    pool.submit("a", lambda: (order.append("a"), done.set()))
    assert done.wait(SECONDS)
    assert order.index("a") == 0  # The one thread that may look is held.
    assert pool.is_busy
    held.free.set()


def test_a_system_without_threads_keeps_those_that_there_are(
    make_pool: Callable[[int], Pool], monkeypatch: pytest.MonkeyPatch
) -> None:
    pool, first, second = make_pool(4), Task(), Task()
    pool.submit("a", first)
    assert first.begun.wait(SECONDS)

    def start(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    pool.submit("a", second)
    first.free.set()
    assert second.begun.wait(SECONDS)
    second.free.set()
