"""What a sweep tries: grids are complete, draws lie in their ranges and are spread as asked, errors name the place."""

from __future__ import annotations

import copy
import itertools
import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import InvalidError
from models.schemas import load
from models.training.request import TrainSchema
from models.training.search import Grid, Halving, Random, SweepSchema, Trial, checked, trials_of

RATE, HIDDEN, BATCH = "/optimizer/learning_rate", "/model/hidden", "/batch_size"
BODY: dict[str, Any] = {"data": {"dataset": "iris"}, "model": {"name": "m"}, "optimizer": "adam", "epochs": 9}


def searched(parameters: dict[str, Any], search: Any = "random") -> list[Trial]:
    loaded = load(SweepSchema(), {"train": BODY, "search": search, "over": parameters})
    return trials_of(loaded["search"], loaded["over"])


def refusal(document: dict[str, Any]) -> dict[str, str]:
    with pytest.raises(InvalidError) as caught:
        load(SweepSchema(), {"train": {}, **document})
    return {problem.pointer: problem.detail for problem in caught.value.problems}


def test_a_grid_is_every_combination_once() -> None:
    values: dict[str, list[Any]] = {RATE: [0.1, 0.01], HIDDEN: [[32], [64, 64], []], BATCH: [16, "full"]}
    trials = searched(values, "grid")
    assert [trial.number for trial in trials] == list(range(1, 13))
    assert [tuple(trial.values.values()) for trial in trials] == list(itertools.product(*values.values()))


@pytest.mark.parametrize("search", ["random", "halving"])
def test_draws_follow_from_the_seed(search: str) -> None:
    """More trials begin with the same ones, in whatever order the parameters are written; another seed gives others."""
    parameters = {RATE: {"min": 1e-4, "max": 1e-1, "scale": "log"}, HIDDEN: [[8], [16], [8, 8]]}
    few = searched(parameters, {"type": search, "trials": 5, "seed": 3})
    turned = searched(dict(reversed(parameters.items())), {"type": search, "trials": 20, "seed": 3})
    assert [trial.values for trial in few] == [trial.values for trial in turned[:5]]
    assert list(few[0].values) == [RATE, HIDDEN]
    other = searched(parameters, {"type": search, "trials": 5, "seed": 4})
    assert [trial.values for trial in few] != [trial.values for trial in other]


@given(
    ends=st.tuples(st.floats(-1e308, 1e308), st.floats(-1e308, 1e308))
    .map(sorted)
    .filter(lambda pair: pair[0] < pair[1]),
    logarithmic=st.booleans(),
    integer=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_draws_lie_in_their_range(ends: list[float], logarithmic: bool, integer: bool, seed: int) -> None:
    low, high = ends
    if logarithmic:
        low, high = abs(low) or 1e-300, abs(low) * 1.5 + 1e-300
    if integer:
        low, high = math.ceil(low) or 1, math.ceil(high) + 2
    values = {"min": low, "max": high, "scale": "log" if logarithmic else "linear", "integer": integer}
    if low < high < math.inf:
        for trial in searched({"/x": values}, {"type": "random", "trials": 5, "seed": seed}):
            assert low <= trial.values["/x"] <= high
            assert isinstance(trial.values["/x"], int if integer else (int, float))
            json.dumps(trial.values, allow_nan=False)


def test_draws_are_spread_as_asked() -> None:
    """Quartiles of 1,000 draws, and each whole number as often as the scale says."""
    seconds = {"type": "random", "trials": 1000}
    linear = [trial.values["/x"] for trial in searched({"/x": {"min": 10, "max": 20}}, seconds)]
    np.testing.assert_allclose(np.quantile(linear, [0.25, 0.5, 0.75]), [12.5, 15, 17.5], atol=0.5)
    spread = {"/x": {"min": 1e-5, "max": 1e-1, "scale": "log"}}
    logs = [math.log10(trial.values["/x"]) for trial in searched(spread, seconds)]
    np.testing.assert_allclose(np.quantile(logs, [0.25, 0.5, 0.75]), [-4, -3, -2], atol=0.2)
    # A second parameter keeps the draws of the first one from being all different.
    wide = {"min": 0, "max": 1}
    dice = [
        trial.values["/a"] for trial in searched({"/a": {"min": 1, "max": 6, "integer": True}, "/b": wide}, seconds)
    ]
    assert np.bincount(dice, minlength=7)[1:].min() > 120
    octaves = {"min": 1, "max": 15, "integer": True, "scale": "log"}
    drawn = [trial.values["/a"] for trial in searched({"/a": octaves, "/b": wide}, seconds)]
    counts = [sum(2**low <= value < 2 ** (low + 1) for value in drawn) for low in range(4)]
    assert sum(counts) == 1000
    assert min(counts) > 190
    assert max(counts) < 310


def test_trials_are_different_and_end_if_there_are_no_more() -> None:
    trials = searched({"/a": [1, 2, 3], "/b": [True, False]}, {"type": "random", "trials": 50})
    assert len(trials) == 6
    assert {tuple(trial.values.values()) for trial in trials} == set(itertools.product([1, 2, 3], [True, False]))


def test_a_trial_changes_a_copy_of_the_request() -> None:
    before = copy.deepcopy(BODY)
    trial = Trial(1, {RATE: 0.5, HIDDEN: [3], "/loss/label_smoothing": 0.1, "/early_stopping/patience": 4}, {})
    assert trial.request({**BODY, "loss": {"type": "categorical_crossentropy"}}) == {
        **BODY,
        "optimizer": {"type": "adam", "learning_rate": 0.5},
        "model": {"name": "m", "hidden": [3]},
        "loss": {"type": "categorical_crossentropy", "label_smoothing": 0.1},
        "early_stopping": {"patience": 4},
    }
    assert before == BODY
    layers = {"model": {"layers": [{"type": "dense", "units": 4}, "relu"]}}
    assert Trial(1, {"/model/layers/0/units": 8}, {}).request(layers)["model"]["layers"] == [
        {"type": "dense", "units": 8},
        "relu",
    ]
    assert Trial(1, {"/metadata/a~1b~0c": 1}, {}).request({"metadata": None}) == {"metadata": {"a/b~c": 1}}


@pytest.mark.parametrize(
    ("pointer", "body", "detail"),
    [
        ("/epochs/x", BODY, "leads through /epochs, which has no members. Received: 9"),
        ("/model/hidden", {**BODY, "model": "iris"}, "leads through /model, which has no members. Received: 'iris'"),
        ("/model/layers/2/units", {"model": {"layers": ["relu"]}}, "must name one of the 1 items of /model/layers."),
        ("/model/layers/x/units", {"model": {"layers": ["relu"]}}, "must name one of the 1 items of /model/layers."),
    ],
)
def test_a_pointer_to_no_place_is_refused(pointer: str, body: dict[str, Any], detail: str) -> None:
    (trial,) = searched({pointer: [1]}, "grid")
    with pytest.raises(InvalidError) as caught:
        checked([trial], body)
    (problem,) = caught.value.problems
    assert problem.pointer == f"/over/{pointer.replace('/', '~1')}/0"
    assert problem.detail.startswith(detail)
    assert problem.detail.endswith(f"(trial 1: {pointer} 1)")


def test_trials_are_loaded_as_requests() -> None:
    trials = searched({RATE: [0.1, 0.2], BATCH: [16, "full"]}, "grid")
    found = checked(trials, BODY)
    assert found == [load(TrainSchema(), trial.request(BODY)) for trial in trials]
    assert found[3]["batch_size"] == "full"
    assert found[3]["optimizer"].learning_rate == 0.2


def test_data_that_a_trial_changes_is_loaded_with_it() -> None:
    trials = searched({"/data/dataset": ["iris", "wine"], "/validation": [None, {"fraction": 0.2}]}, "grid")
    found = checked(trials, BODY)
    assert found == [load(TrainSchema(), trial.request(BODY)) for trial in trials]
    assert found[3]["data"]["dataset"] == "wine"


@pytest.mark.parametrize(
    ("parameters", "body", "place", "detail"),
    [
        ({RATE: [0.1, -1]}, BODY, "/over/~1optimizer~1learning_rate/1", "must be"),
        (
            {"/optimizer": ["sgd", {"type": "sgd", "momentum": 2}]},
            BODY,
            "/over/~1optimizer/1/momentum",
            "must be",
        ),
        ({"/nothing": [1]}, BODY, "/over/~1nothing/0", "is not a known field"),
        ({"/optimizer/rate": [1]}, BODY, "/over/~1optimizer~1rate/0", "is not a known field"),
        ({RATE: [0.1]}, {**BODY, "optimizer": None}, "/train/optimizer/type", "must be one of"),
        ({RATE: [0.1]}, {**BODY, "epochs": -1}, "/train/epochs", "must be at least 0"),
        ({RATE: [0.1]}, {**BODY, "data": 5}, "/train/data", "must be"),
        ({RATE: [0.1]}, {"epochs": 3, "optimizer": "adam"}, "/train/data", "is required"),
    ],
)
def test_an_invalid_trial_is_refused_at_its_place(
    parameters: dict[str, Any], body: dict[str, Any], place: str, detail: str
) -> None:
    with pytest.raises(InvalidError) as caught:
        checked(searched(parameters, "grid"), body)
    assert place in {problem.pointer for problem in caught.value.problems}
    (problem,) = [problem for problem in caught.value.problems if problem.pointer == place]
    assert problem.detail.startswith(detail)


def test_all_invalid_trials_are_refused_together() -> None:
    """A value that several trials share is refused once."""
    with pytest.raises(InvalidError) as caught:
        checked(searched({RATE: [0.1, -1, -2], BATCH: [0, 8]}, "grid"), BODY)
    assert [problem.pointer for problem in caught.value.problems] == [
        "/over/~1batch_size/0",
        "/over/~1optimizer~1learning_rate/1",
        "/over/~1optimizer~1learning_rate/2",
    ]
    assert caught.value.problems[1].detail.endswith("(trial 3: /optimizer/learning_rate -1, /batch_size 0)")


def test_a_drawn_value_is_refused_at_its_range() -> None:
    with pytest.raises(InvalidError) as caught:
        checked(searched({BATCH: {"min": -5, "max": -1, "integer": True}}), BODY)
    problem, *others = caught.value.problems
    assert len(others) == 4
    assert problem.pointer == "/over/~1batch_size"
    assert "(trial 1: /batch_size -" in problem.detail


@pytest.mark.parametrize(
    ("parameters", "place", "detail"),
    [
        (5, "", "must be an object of JSON pointers into the request. Received: 5"),
        ({}, "", "must have 1 to 50 parameters. Received: 0"),
        ({f"/{i}": [1] for i in range(51)}, "", "must have 1 to 50 parameters. Received: 51"),
        ({"epochs": [1]}, "/epochs", "must be a JSON pointer"),
        ({"/a": [1], "/a/b": [2]}, "/~1a~1b", "must not lie within another parameter. Received: within '/a'"),
        ({"/a": []}, "/~1a", "must hold 1 to 1000 values. Received: 0"),
        ({"/a": [1, 2, 1]}, "/~1a/2", "must not be repeated. Received: 1"),
        ({"/a": 5}, "/~1a", "must be a list of values"),
        ({"/a": {"max": 5}}, "/~1a/min", "is required"),
        ({"/a": {"min": "1", "max": 5}}, "/~1a/min", "must be a number. Received: '1'"),
        ({"/a": {"min": True, "max": 5}}, "/~1a/min", "must be a number. Received: true"),
        ({"/a": {"min": 5, "max": 5}}, "/~1a/max", "must be greater than min, 5. Received: 5"),
        ({"/a": {"min": 0, "max": 5, "scale": "log"}}, "/~1a/min", "must be greater than 0 if the scale is log."),
        ({"/a": {"min": 0, "max": 5, "scale": "loud"}}, "/~1a/scale", "must be one of 'linear', 'log'."),
        ({"/a": {"min": 0.5, "max": 5, "integer": True}}, "/~1a/min", "must be a whole number. Received: 0.5"),
        ({"/a": {"min": 0, "max": 5, "integer": 1}}, "/~1a/integer", "must be true or false. Received: 1"),
        ({"/a": {"min": 0, "max": 5, "steps": 1}}, "/~1a/steps", "is not a known field"),
    ],
)
def test_parameters_are_checked(parameters: Any, place: str, detail: str) -> None:
    (found,) = refusal({"over": parameters}).items()
    assert found[0] == f"/over{place}"
    assert found[1].startswith(detail)


def test_a_search_must_fit_its_parameters() -> None:
    wide = {"/a": {"min": 0, "max": 1}}
    assert refusal({"search": "grid", "over": wide}) == {
        "/over/~1a": "must be a list of values, because a grid tries each. Received: a range"
    }
    many = {f"/{name}": list(range(11)) for name in "abc"}
    assert refusal({"search": "grid", "over": many}) == {"/over": "must give at most 1000 combinations. Received: 1331"}
    found = refusal({"search": "halving", "over": {"/epochs": [1, 2]}})
    assert "after equal numbers of epochs" in found["/over/~1epochs"]
    assert "/search/factor" in refusal({"search": {"type": "halving", "factor": 1}, "over": wide})
    assert refusal({"search": "grid"}) == {"/over": "is required"}


def test_a_search_is_random_if_left_out() -> None:
    loaded = load(SweepSchema(), {"train": {}, "over": {"/a": [1]}})
    assert loaded["search"] == Random(trials=32, seed=0)
    assert [type(load(SweepSchema(), {"train": {}, "search": name, "over": {"/a": [1]}})["search"]) for name in
            ("grid", "random", "halving")] == [Grid, Random, Halving]  # fmt: skip
