"""Turns of threads that compute: one at a time, and nobody waits for ever."""

from __future__ import annotations

import threading

import pytest

from service.web import computing as module
from service.web.computing import Computing

SECONDS = 10.0


def test_one_thread_computes_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TURN_SECONDS", SECONDS)
    computing, asks, entered = Computing(), threading.Event(), threading.Event()

    def compute() -> None:
        asks.set()
        with computing.turn():
            entered.set()

    thread = threading.Thread(target=compute)
    with computing.turn():
        thread.start()
        assert asks.wait(SECONDS)
        assert not entered.wait(0.1)
    assert entered.wait(SECONDS)
    thread.join(SECONDS)


def test_who_waits_for_long_computes_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """And takes the turn from nobody."""
    monkeypatch.setattr(module, "TURN_SECONDS", 0.01)
    computing, entered = Computing(), threading.Event()

    def compute() -> None:
        with computing.turn():
            entered.set()

    with computing.turn():
        thread = threading.Thread(target=compute)
        thread.start()
        assert entered.wait(SECONDS)
        thread.join(SECONDS)
    with computing.turn():  # It is free again, once.
        pass


def test_an_error_ends_the_turn() -> None:
    computing = Computing()
    with pytest.raises(ZeroDivisionError), computing.turn():
        raise ZeroDivisionError
    with computing.turn():
        assert not computing._turn.acquire(blocking=False)
