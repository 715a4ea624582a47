"""Warm starts: copied weights, reinitialized layers, and models that do not fit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from models.definition.definition import ModelDefinition
from models.errors import InvalidError
from models.training.checkpoint import Checkpoint
from models.training.warm_start import check_start
from nncore.optimizers import SGD, Adam
from testing.runs import Recorder, a_definition, a_run


@pytest.fixture
def trained(tmp_path: Path) -> Checkpoint:
    recorder = Recorder(folder=tmp_path)
    a_run(seed=1, optimizer=Adam(0.05)).run(recorder)
    return recorder.newest()


def changed(**members: object) -> ModelDefinition:
    """The small model with two classes."""
    document = {**a_definition().document(), "name": "other", "classes": ["a", "b"], **members}
    document["layers"] = [*document["layers"][:2], {"type": "dense", "units": 2}, {"type": "softmax"}]
    return ModelDefinition.load(document)


def test_layers_drawn_anew_are_those_of_the_seed(trained: Checkpoint) -> None:
    run = a_run(seed=7, optimizer=Adam(0.05), start=trained, reinitialize=("2_dense",))
    fresh = a_definition().network(7)
    network = run.training.network
    for name in ("2_dense/weights", "2_dense/bias"):
        assert network.parameters[name].tobytes() == fresh.parameters[name].tobytes()
        assert not run.training.state().moments["square_sum"][name].any()
    for name in ("0_dense/weights", "0_dense/bias"):
        assert network.parameters[name].tobytes() == trained.parameters[name].tobytes()
        # The correction of the first steps is one for all layers, so it begins anew for all.
        assert not run.training.state().moments["square_sum"][name].any()
    assert run.training.state().updates == 0


def test_a_head_of_other_classes(trained: Checkpoint) -> None:
    definition = changed()
    check_start(trained.definition, definition, ("2_dense",))
    run = a_run(definition=definition, data=two_classes(), start=trained, reinitialize=("2_dense",))
    network = run.training.network
    assert network.parameters["0_dense/weights"].tobytes() == trained.parameters["0_dense/weights"].tobytes()
    assert run.run(Recorder())


def two_classes():  # type: ignore[no-untyped-def]
    from models.data.dataset import from_rows

    rows = np.random.default_rng(0).normal(size=(20, 2))
    return from_rows(rows.tolist(), ["ab"[int(row[0] > 0)] for row in rows])


@pytest.mark.parametrize(
    ("definition", "anew", "words"),
    [
        (changed(), (), "same classes"),
        (changed(), ("0_dense",), "same classes"),
        (a_definition(classes=["c", "b", "a"]), ("0_dense", "1_relu"), "same classes"),
        (a_definition(units=6), (), "same layers"),
        (a_definition(units=6), ("0_dense",), "same layers"),
        (a_definition(dtype="float64"), ("2_dense",), "same dtype"),
        (a_definition(l2=0.5), (), "same layers"),
    ],
)
def test_what_does_not_fit_is_refused(definition: ModelDefinition, anew: tuple[str, ...], words: str) -> None:
    with pytest.raises(InvalidError, match=words) as refusal:
        check_start(a_definition(), definition, anew)
    assert refusal.value.problems[0].pointer == "/start_from"


def test_both_layers_anew_may_be_of_other_sizes() -> None:
    check_start(a_definition(), a_definition(units=6), ("0_dense", "2_dense"))


def test_another_optimizer_begins_with_the_served_weights(tmp_path: Path) -> None:
    recorder = Recorder(folder=tmp_path)
    a_run(optimizer=SGD(0.5, average=0.9)).run(recorder)
    start = recorder.newest()
    assert any(start.evaluated[name].tobytes() != start.parameters[name].tobytes() for name in start.parameters)
    network = a_run(optimizer=Adam(), start=start).training.network
    for name, array in start.evaluated.items():
        assert network.parameters[name].tobytes() == array.tobytes()


def test_gradients_that_wait_for_their_update_stay_behind(tmp_path: Path) -> None:
    """They are of the other run's batches."""
    rule = SGD(0.1, accumulate=4)
    recorder = Recorder(stop_after=2, folder=tmp_path)
    assert not a_run(optimizer=rule).run(recorder)
    start = recorder.newest()
    assert any(array.any() for array in start.state.moments["accumulated"].values())
    moments = a_run(optimizer=rule, start=start).training.state().moments
    assert not any(array.any() for array in moments["accumulated"].values())


def test_rates_of_layers_may_change(trained: Checkpoint) -> None:
    """The weights are taken over, and the optimizer's state only if each layer learns as fast as before."""
    document = a_definition().document()
    document["layers"][0]["rate"] = 0.1
    slower = ModelDefinition.load(document)
    check_start(trained.definition, slower, ())
    for definition, taken in ((a_definition(), True), (slower, False)):
        run = a_run(definition=definition, optimizer=Adam(0.05), start=trained)
        state = run.training.state()
        for name, array in trained.parameters.items():
            assert run.training.network.parameters[name].tobytes() == array.tobytes()
            assert state.moments["square_sum"][name].any() == taken
        assert state.updates == (trained.state.updates if taken else 0)
