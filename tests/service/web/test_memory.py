"""The budget of memory in hand: its sum, who waits, and who is refused."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.errors import BusyError, TooLargeError
from service.web.memory import SMALL, Held, Memory, MemoryServer, held_by
from testing.harness import eventually

MB = 2**20


def waits(memory: Memory, count: int, mine: Held | None = None) -> tuple[threading.Thread, list[str]]:
    """A thread that asks for bytes; what became of it is added to the list."""
    found: list[str] = []

    def ask() -> None:
        try:
            (mine or Held(memory)).add(count)
            found.append("held")
        except BusyError as error:
            found.append(error.code)

    thread = threading.Thread(target=ask)
    thread.start()
    return thread, found


def test_what_is_held_is_counted_until_it_is_released() -> None:
    memory = Memory(10 * MB)
    with memory.hold(4 * MB) as first, memory.hold(6 * MB):
        assert memory.used == 10 * MB
        first.reserve(3 * MB)  # It holds more already.
        assert memory.used == 10 * MB
        first.release()
        assert memory.used == 6 * MB
    assert memory.used == 0


def test_small_requests_never_wait() -> None:
    memory = Memory(MB, patience=60.0)
    with memory.hold(2 * MB):
        begin = time.monotonic()
        for _ in range(100):
            with memory.hold(SMALL) as held:
                assert held.counted == 0
        assert time.monotonic() - begin < 5.0
        assert memory.used == 2 * MB


def test_a_request_alone_may_hold_twice_the_budget() -> None:
    memory = Memory(10 * MB, patience=0.01)
    with memory.hold(20 * MB), pytest.raises(BusyError) as refused:
        memory.hold(MB)
    assert refused.value.code == "busy"
    with memory.hold(MB), pytest.raises(BusyError):
        memory.hold(11 * MB)
    with pytest.raises(TooLargeError, match="TRAINYARD_MEMORY_BYTES") as large:
        memory.hold(20 * MB + 1)
    assert large.value.code == "too_large"
    assert memory.used == 0


def test_a_request_waits_for_room_and_gets_it_at_once() -> None:
    memory = Memory(10 * MB, patience=60.0)
    held = memory.hold(8 * MB)
    thread, found = waits(memory, 4 * MB)
    time.sleep(0.05)
    assert found == []
    held.release()
    thread.join(10)
    assert found == ["held"]


def test_a_request_that_waits_too_long_is_refused_and_leaves_the_queue() -> None:
    memory = Memory(10 * MB, patience=0.05)
    with memory.hold(8 * MB):
        begin = time.monotonic()
        with pytest.raises(BusyError):
            memory.hold(4 * MB)
        assert 0.04 < time.monotonic() - begin < 5.0
        with memory.hold(2 * MB):
            assert memory.used == 10 * MB


def test_who_comes_first_is_served_first() -> None:
    """A request that would fit waits behind an earlier one that does not."""
    memory = Memory(10 * MB, patience=60.0)
    held = memory.hold(6 * MB)
    large, first = waits(memory, 8 * MB)
    eventually(lambda: len(memory._queue) == 1)
    little, second = waits(memory, 3 * MB)
    eventually(lambda: len(memory._queue) == 2)
    assert (first, second) == ([], [])
    held.release()
    large.join(10)
    assert first == ["held"]
    assert second == []  # 8 and 3 are more than 10.
    assert len(memory._queue) == 1
    memory._give(_holder(memory, 8 * MB))
    little.join(10)
    assert second == ["held"]


def _holder(memory: Memory, count: int) -> Held:
    """Stands for the request of another thread that holds so much."""
    held = Held(memory)
    held.counted = count
    return held


def test_who_holds_some_goes_before_those_who_hold_none() -> None:
    """Else it would wait for them, and they for it."""
    memory = Memory(10 * MB, patience=60.0)
    mine, others = memory.hold(4 * MB), memory.hold(5 * MB)
    new, came = waits(memory, 4 * MB)
    eventually(lambda: len(memory._queue) == 1)
    grows, grew = waits(memory, 5 * MB, mine)
    eventually(lambda: len(memory._queue) == 2)
    assert memory._queue[0] is mine
    others.release()
    grows.join(10)
    assert (grew, came) == (["held"], [])
    mine.release()
    new.join(10)
    assert came == ["held"]


def test_only_some_wait() -> None:
    memory = Memory(10 * MB, waiting=2, patience=60.0)
    held = memory.hold(10 * MB)
    threads = [waits(memory, MB)[0] for _ in range(2)]
    eventually(lambda: len(memory._queue) == 2)
    begin = time.monotonic()
    with pytest.raises(BusyError):
        memory.hold(MB)
    assert time.monotonic() - begin < 5.0
    held.release()
    for thread in threads:
        thread.join(10)


@given(st.integers(1, 40), st.lists(st.tuples(st.integers(0, 4), st.integers(0, 90), st.booleans()), max_size=60))
def test_the_sum_is_that_of_all_and_within_the_limit(size: int, steps: list[tuple[int, int, bool]]) -> None:
    memory = Memory(size * MB, patience=0.0)
    requests = [Held(memory) for _ in range(5)]
    for place, count, release in steps:
        held = requests[place]
        before, others = held.counted, memory.used - held.counted
        if release:
            held.release()
        else:
            with suppress(BusyError, TooLargeError):
                held.reserve(count * MB)
            fits = count * MB <= memory.limit and (others == 0 or others + count * MB <= memory.size)
            assert held.counted == (max(before, count * MB) if fits else before)
        assert memory.used == sum(each.counted for each in requests)
        assert memory.used <= memory.limit
        assert memory.used <= memory.size or sum(each.counted > 0 for each in requests) == 1
    for held in requests:
        held.release()
    assert memory.used == 0


@settings(max_examples=10)
@given(st.lists(st.lists(st.integers(0, 24), min_size=1, max_size=6), min_size=2, max_size=8))
def test_threads_never_hold_more_than_the_limit(plans: list[list[int]]) -> None:
    memory = Memory(10 * MB, patience=0.02)
    most: list[int] = []

    def work(plan: list[int]) -> None:
        for count in plan:
            with suppress(BusyError, TooLargeError), memory.hold(count * MB) as held:
                most.append(memory.used)
                held.add(MB)
                most.append(memory.used)

    threads = [threading.Thread(target=work, args=(plan,)) for plan in plans]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()
    assert max(most, default=0) <= memory.limit
    assert memory.used == 0
    assert memory._queue == []


@pytest.mark.parametrize("ends", ["read", "left", "failed"])
def test_what_a_request_holds_is_released_however_it_ends(ends: str) -> None:
    memory = Memory(10 * MB)

    def application(environ: dict[str, Any], _start: Any) -> Iterator[bytes]:
        held_by(environ).reserve(5 * MB)
        if ends == "failed":
            raise RuntimeError("no")
        return iter([b"a", b"b"])

    server = MemoryServer(application, memory)  # type: ignore[arg-type]
    if ends == "failed":
        with pytest.raises(RuntimeError):
            server({}, lambda *_: None)  # type: ignore[arg-type, return-value]
    else:
        answer: Any = server({}, lambda *_: None)  # type: ignore[arg-type, return-value]
        assert memory.used == 5 * MB
        if ends == "read":
            assert list(answer) == [b"a", b"b"]
        answer.close()
    assert memory.used == 0
