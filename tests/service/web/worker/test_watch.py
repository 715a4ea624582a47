"""The watch: one query for all answers that wait, and each is woken once."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Collection, Mapping
from time import monotonic

import pytest

from service.web.worker.later import Later
from service.web.worker.watch import Watch

SECONDS = 10.0
NEVER = 1e12


class Waiting(Later):
    """An answer that waits for a subject."""

    def __init__(self, subject: str, seen: int = 0, wake_at: float = NEVER) -> None:
        self.subject, self.seen, self.wake_at = subject, seen, wake_at

    def look(self) -> bytes:
        raise NotImplementedError


class Changes:
    """What is newest, and who has asked. Each look can be waited for."""

    def __init__(self) -> None:
        self.numbers: dict[str, int] = {}
        self.asked: queue.Queue[set[str]] = queue.Queue()
        self.error: Exception | None = None
        self.woken: queue.Queue[Later] = queue.Queue()
        self.watch = Watch(self.newest, self.woken.put)

    def newest(self, subjects: Collection[str]) -> Mapping[str, int]:
        self.asked.put(set(subjects))
        if self.error is not None:
            raise self.error
        return dict(self.numbers)

    def next_woken(self) -> Later:
        return self.woken.get(timeout=SECONDS)

    def next_look(self) -> set[str]:
        """The subjects of a look that begins after this call."""
        while not self.asked.empty():
            self.asked.get()
        return self.asked.get(timeout=SECONDS)


def test_one_query_for_many() -> None:
    changes = Changes()
    answers = [Waiting(f"job_{number % 10}") for number in range(100)]
    for answer in answers:
        changes.watch.add(answer)
    # The looks follow each other: the second one of two that begin later sees all answers.
    changes.next_look()
    assert changes.next_look() == {f"job_{number}" for number in range(10)}
    changes.numbers = {"job_3": 1}
    woken = {changes.next_woken() for _ in range(10)}
    assert woken == set(answers[3::10])
    changes.next_look()
    assert "job_3" not in changes.next_look()
    assert changes.woken.empty(), "each is woken once"
    changes.watch.wake_all()


def test_only_a_change_beyond_what_was_seen_wakes() -> None:
    changes = Changes()
    changes.numbers = {"a": 5, "b": 5}
    seen, behind = Waiting("a", 5), Waiting("b", 4)
    changes.watch.add(seen)
    changes.watch.add(behind)
    assert changes.next_woken() is behind
    changes.next_look()
    changes.next_look()
    assert changes.woken.empty()
    changes.numbers = {"a": 6}
    assert changes.next_woken() is seen
    changes.watch.add(seen)
    assert changes.next_woken() is seen, "again for each time that it is added"


def test_the_time_wakes() -> None:
    changes = Changes()
    changes.watch.add(Waiting("a"))
    soon = Waiting("a", wake_at=monotonic() + 0.01)
    changes.watch.add(soon)
    assert changes.next_woken() is soon
    assert monotonic() >= soon.wake_at
    changes.watch.wake_all()


def test_what_is_removed_is_not_woken() -> None:
    changes = Changes()
    stays, leaves = Waiting("a"), Waiting("a")
    changes.watch.add(stays)
    changes.watch.add(leaves)
    changes.watch.remove(leaves)
    changes.watch.remove(leaves)
    changes.numbers = {"a": 1}
    assert changes.next_woken() is stays
    changes.watch.add(Waiting("b"))
    changes.next_look()
    assert changes.next_look() == {"b"}
    assert changes.woken.empty()
    changes.watch.wake_all()


def test_what_is_removed_while_it_is_looked_up_is_not_woken() -> None:
    changes, leaves, stays = Changes(), Waiting("a"), Waiting("a")
    asked, go_on = threading.Event(), threading.Event()

    def newest(_subjects: Collection[str]) -> Mapping[str, int]:
        asked.set()
        assert go_on.wait(SECONDS)
        return {"a": 1}

    watch = Watch(newest, changes.woken.put)
    watch.add(leaves)
    watch.add(stays)
    assert asked.wait(SECONDS)
    watch.remove(leaves)
    go_on.set()
    assert changes.next_woken() is stays
    assert changes.woken.empty()


def test_an_error_ends_neither_the_watch_nor_the_times(caplog: pytest.LogCaptureFixture) -> None:
    changes = Changes()
    changes.error = OSError("no database")
    answer, timed = Waiting("a"), Waiting("b", wake_at=monotonic())
    with caplog.at_level(logging.ERROR, "trainyard.web"):
        changes.watch.add(answer)
        changes.watch.add(timed)
        assert changes.next_woken() is timed
        for _ in range(3):
            changes.next_look()
    assert caplog.text.count("no database") == 1, "once, not with every look"
    changes.error = None
    changes.numbers = {"a": 1}
    assert changes.next_woken() is answer


def test_all_are_woken() -> None:
    changes = Changes()
    answers = {Waiting(str(number)) for number in range(20)}
    for answer in answers:
        changes.watch.add(answer)
    changes.watch.wake_all()
    assert {changes.next_woken() for _ in range(20)} == answers
    changes.watch.wake_all()
    assert changes.woken.empty()


def test_nothing_is_asked_while_nothing_waits() -> None:
    changes = Changes()
    answer = Waiting("a", wake_at=monotonic())
    changes.watch.add(answer)
    assert changes.next_woken() is answer
    while not changes.asked.empty():
        changes.asked.get()
    with pytest.raises(queue.Empty):
        changes.asked.get(timeout=0.2)
