"""Which piece of an update is taken: the one that took the least time, found once for an optimizer and a size."""

import itertools

import numpy as np
import pytest

from nncore import SGD, Adam, Lion
from nncore import pieces as module
from nncore.pieces import ROUNDS, TRIED, best_piece

FLOAT = np.dtype(np.float32)


@pytest.fixture(autouse=True)
def unmeasured():
    module._measured.cache_clear()
    yield
    module._measured.cache_clear()


def clock(durations):
    """A clock in which trials take so long, one after the other and over again."""
    moments = itertools.accumulate(itertools.chain.from_iterable((0, each) for each in itertools.cycle(durations)))
    return lambda: next(moments)


@pytest.mark.parametrize("fastest", range(4))
def test_the_fastest_is_taken_and_tried_once(fastest, monkeypatch):
    """Of all sizes, up to the whole vector."""
    durations = [9.0] * 4
    durations[fastest] = 1.0
    monkeypatch.setattr(module.time, "thread_time", clock(durations))
    size = 700_000
    assert best_piece(Adam(), FLOAT, size) == min(TRIED[fastest], size)
    monkeypatch.setattr(module.time, "thread_time", lambda: pytest.fail("tried again"))
    assert best_piece(Adam(), FLOAT, size) == min(TRIED[fastest], size)


def test_the_best_of_several_rounds_counts(monkeypatch):
    """One that was disturbed in a round may still be the fastest."""
    rounds = [[9.0, 9.0, 50.0, 9.0], [9.0, 9.0, 1.0, 9.0], [9.0] * 4]
    assert len(rounds) == ROUNDS
    monkeypatch.setattr(module.time, "thread_time", clock([each for one in rounds for each in one]))
    assert best_piece(SGD(), FLOAT, 700_000) == TRIED[2]


def test_a_long_vector_is_never_one_piece(monkeypatch):
    """However fast that would be in the trial, which is shorter."""
    monkeypatch.setattr(module.time, "thread_time", clock([3.0, 2.0, 1.0]))
    assert best_piece(Lion(), FLOAT, 5_000_000) == TRIED[2]


def test_a_short_vector_is_one_piece_without_a_trial(monkeypatch):
    """As most are."""
    monkeypatch.setattr(module, "_measured", lambda *given: pytest.fail("tried"))
    assert [best_piece(Adam(), FLOAT, size) for size in (1, 65_535, 65_536)] == [1, 65_535, 65_536]
