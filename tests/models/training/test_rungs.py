"""Decisions of a halving search, by its promises: who goes on, that it ends, and that a resumed one does the same."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.training.rungs import Rungs, Stretch, epochs_of, expected_epochs
from models.training.search import Grid, Halving, Random


@dataclass
class Played:
    """A sweep played to its end: what began, in order, and what was reported."""

    rungs: Rungs
    began: list[Stretch] = field(default_factory=list)
    most: int = 0


def play(
    rungs: Rungs,
    values: dict[int, float | None],
    places: int,
    order: np.random.Generator,
    ended: frozenset[int] = frozenset(),
    *,
    resumed: bool = False,
) -> Played:
    """Run a sweep in so many places; running trials report in a random order."""
    played = Played(rungs)
    while True:
        if resumed:
            played.rungs = Rungs.of(json.loads(json.dumps(played.rungs.document())))
        rungs = played.rungs
        while len(rungs.running) < places and (stretch := rungs.next()) is not None:
            played.began.append(stretch)
        played.most = max(played.most, len(rungs.running))
        if not rungs.running:
            assert rungs.finished
            return played
        assert not rungs.finished
        stretch = rungs.running[int(order.integers(len(rungs.running)))]
        rungs.report(stretch.trial, values[stretch.trial], ended=stretch.trial in ended)


SWEEPS = st.tuples(st.integers(1, 40), st.integers(1, 5), st.integers(2, 4), st.integers(0, 10**6))


def some(trials: int, seed: int) -> tuple[dict[int, float | None], frozenset[int], np.random.Generator]:
    """Values of the trials, of which some fail and some are equal, and those that end early."""
    random = np.random.default_rng(seed)
    values = {trial: None if random.random() < 0.1 else float(random.integers(0, 20)) for trial in range(1, trials + 1)}
    return values, frozenset(np.flatnonzero(random.random(trials) < 0.2) + 1), random


@given(SWEEPS)
def test_each_trial_begins_once_a_rung_and_in_order(sweep: tuple[int, int, int, int]) -> None:
    trials, places, factor, seed = sweep
    values, ended, random = some(trials, seed)
    epochs = epochs_of(Halving(factor=factor, minimum_epochs=2), 50)
    played = play(Rungs(epochs, trials, "validation_loss", factor), values, places, random, ended)
    assert len(set(played.began)) == len(played.began)
    assert [stretch.trial for stretch in played.began if stretch.rung == 0] == list(range(1, trials + 1))
    assert played.most == min(places, trials)
    for trial in range(1, trials + 1):
        stretches = [stretch for stretch in played.began if stretch.trial == trial]
        assert [stretch.epochs for stretch in stretches] == epochs[: len(stretches)]
        if values[trial] is None or trial in ended:
            assert len(stretches) == 1, "there is nothing more to train"


@given(SWEEPS)
def test_who_goes_on_was_among_the_best(sweep: tuple[int, int, int, int]) -> None:
    """At the end, at most one of ``factor`` has gone on, give or take who went on early; the best one always has."""
    trials, places, factor, seed = sweep
    values, _, random = some(trials, seed)
    epochs = epochs_of(Halving(factor=factor, minimum_epochs=2), 50)
    played = play(Rungs(epochs, trials, "validation_loss", factor), values, places, random)
    good = {trial: value for trial, value in values.items() if value is not None}
    best = played.rungs.best()
    if not good:
        assert best is None
        return
    assert best is not None
    assert (values[best], best) == min((value, trial) for trial, value in good.items())
    assert max(stretch.epochs for stretch in played.began) == 50, "at least one trial is trained to its end"


@given(SWEEPS)
def test_a_resumed_sweep_decides_the_same(sweep: tuple[int, int, int, int]) -> None:
    """Its state goes through JSON before each decision."""
    trials, places, factor, seed = sweep
    epochs = epochs_of(Halving(factor=factor), 30)

    def played(*, resumed: bool) -> Played:
        values, ended, random = some(trials, seed)
        return play(Rungs(epochs, trials, "loss", factor), values, places, random, ended, resumed=resumed)

    plain, again = played(resumed=False), played(resumed=True)
    assert plain.began == again.began
    assert plain.rungs.document() == again.rungs.document()


def test_one_place_halves_exactly() -> None:
    """27 trials one after the other: 27, 9, 3 and 1 at the rungs, if the best come last and the worst first."""
    rungs = Rungs([1, 3, 9, 27], 27, "validation_log_loss", 3)
    played = play(rungs, {trial: float(trial) for trial in range(1, 28)}, 1, np.random.default_rng(0))
    assert np.bincount([stretch.rung for stretch in played.began]).tolist() == [27, 9, 3, 1]
    assert rungs.best() == 1
    epochs = sum(stretch.epochs - ([0, *rungs.epochs][stretch.rung]) for stretch in played.began)
    assert epochs < 27 * 27 / 5, "it costs a fraction of training all to their end"


def test_expected_epochs_are_those_of_one_place() -> None:
    assert expected_epochs(Halving(), [27] * 27) == 27 + 9 * 2 + 3 * 6 + 18
    assert expected_epochs(Grid(), [3, 5]) == 8


def test_a_promotion_comes_before_a_new_trial() -> None:
    """The example of the paper's algorithm 2: the highest rung is looked at first."""
    rungs = Rungs([1, 2, 4], 9, "validation_accuracy", 2)
    begun = [rungs.next() for _ in range(3)]
    assert [stretch and stretch.trial for stretch in begun] == [1, 2, 3]
    for trial, value in ((1, 0.5), (2, 0.9)):
        rungs.report(trial, value)
    assert rungs.next() == Stretch(2, 1, 2)
    assert rungs.next() == Stretch(4, 0, 1)
    rungs.report(4, 0.8)
    rungs.report(3, 0.1)
    assert rungs.next() == Stretch(4, 1, 2)
    rungs.report(4, 0.85)
    rungs.report(2, 0.95)
    assert rungs.next() == Stretch(2, 2, 4)


def test_running_stretches_are_known_after_a_resume() -> None:
    rungs = Rungs([5], 3, "loss")
    first, second = rungs.next(), rungs.next()
    again = Rungs.of(json.loads(json.dumps(rungs.document())))
    assert again.running == [first, second]
    assert again.next() == rungs.next()


@pytest.mark.parametrize(
    ("monitor", "best"),
    [("loss", 1), ("validation_loss", 1), ("validation_log_loss", 1), ("accuracy", 3), ("validation_accuracy", 3)],
)
def test_better_is_what_the_monitor_means(monitor: str, best: int) -> None:
    rungs = Rungs([5], 4, monitor)  # type: ignore[arg-type]
    for trial, value in ((1, 0.1), (2, 0.5), (3, 0.9), (4, float("nan"))):
        rungs.next()
        rungs.report(trial, value)
    assert rungs.best() == best
    json.dumps(rungs.document(), allow_nan=False)


def test_if_all_fail_there_is_no_best() -> None:
    played = play(Rungs([1, 3], 5, "loss", 3), dict.fromkeys(range(1, 6)), 2, np.random.default_rng(1))
    assert played.rungs.best() is None
    assert len(played.began) == 5


def test_rungs_end_with_the_epochs_of_the_request() -> None:
    assert epochs_of(Halving(minimum_epochs=2, factor=3), 100) == [2, 6, 18, 54, 100]
    assert epochs_of(Halving(minimum_epochs=2, factor=3), 54) == [2, 6, 18, 54]
    assert epochs_of(Halving(minimum_epochs=20, factor=3), 5) == [5]
    assert epochs_of(Grid(), 7) == epochs_of(Random(), 7) == [7]
