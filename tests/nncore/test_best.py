"""The best epoch: what it keeps, and how long it has waited, in looks and in steps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from nncore import Adam, BatchNorm, Dense, Network, ReLU, Softmax, Training
from nncore.best import Best
from tests.nncore.support import blobs


def a_training(**options: Any) -> Training:
    x, y = blobs(40, 4, 3)
    layers = [Dense(8), BatchNorm(), ReLU(), Dense(3), Softmax()]
    return Training(Network(layers, inputs=4, seed=1), x, y, optimizer=Adam(0.1, average=0.8), batch_size=8, **options)


@pytest.mark.parametrize("every", [1, 3])
@pytest.mark.parametrize("monitor", ["validation_log_loss", "validation_accuracy", "loss"])
def test_it_is_the_best_of_the_looks(every: int, monitor: Any) -> None:
    """Compared to every record, with the parameters that were evaluated then."""
    generator = np.random.default_rng(0)
    validation = generator.normal(size=(30, 4)), generator.integers(0, 3, 30)
    training, best = a_training(validation=validation, validate_every=every), Best(monitor, 0.01)
    expected, looks, epoch, step = None, 0, 0, 0
    for number in range(1, 25):
        record = training.run_epoch()
        assert record is not None
        best.observe(record, training)
        value = getattr(record, monitor)
        if number % every == 0:
            gain = 0.0 if expected is None else (value - expected if monitor.endswith("accuracy") else expected - value)
            if expected is None or gain > 0.01:
                expected, looks, epoch, step = value, 0, number, training.step
                kept = {name: array.copy() for name, array in training.evaluated.items()}
                statistics = {name: array.copy() for name, array in training.evaluated_statistics.items()}
            else:
                looks += 1
        assert (best.value, best.epoch, best.step, best.waited) == (expected, epoch, step, looks)
        last_look = number // every * every * training.steps_per_epoch
        assert best.waited_steps == max(last_look - step, 0)
    assert best.epoch
    for found, wanted in ((best.parameters, kept), (best.statistics, statistics)):
        assert found.keys() == wanted.keys()
        assert all(found[name].tobytes() == wanted[name].tobytes() for name in wanted)


def test_every_epoch_is_a_look_without_validation() -> None:
    training, best = a_training(validate_every=4), Best("loss", 1e9)
    for waited in range(5):
        record = training.run_epoch()
        assert record is not None
        best.observe(record, training)
        assert (best.epoch, best.waited, best.waited_steps) == (1, waited, 5 * waited)


def test_a_loss_that_is_not_finite_is_a_look_that_is_no_better() -> None:
    far = np.full((2, 4), 3e38), np.array([0, 1])
    training, best = a_training(validation=far), Best("validation_log_loss")
    record = training.run_epoch()
    assert record is not None
    assert record.validation_log_loss is None
    best.observe(record, training)
    assert (best.value, best.epoch, best.waited, best.waited_steps) == (None, 0, 1, 5)
