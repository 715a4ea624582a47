"""Runs of several members, drawn at random from the case tables, for ``reliability.resume``."""

from __future__ import annotations

import random
from dataclasses import replace

from models.data.records import from_records
from models.definition.definition import ModelDefinition
from models.definition.ensemble import Ensemble, NetworkKind
from models.training.local_pool import LocalPool
from models.training.members import Report
from models.training.request import TrainingRequest
from nncore import Dense, Layer, Softmax
from nncore.stopping import EarlyStopping
from reliability.samples import TABLE_FEATURES, table_rows
from testing import cases
from testing.runs import a_request

__all__ = ["BatchPool", "drawn_members"]

EPOCHS, FOLDS = 3, 2
_table = from_records(table_rows(3), "/data/rows")


class BatchPool(LocalPool):
    """Members in this process that train one batch at a time, so that a run asks its journal before each."""

    def reports(self, _seconds: float) -> list[Report]:
        return super().reports(0.0)


def drawn_members(number: int) -> tuple[ModelDefinition, TrainingRequest]:
    """Return a run of two kinds and a baseline, of two members each; odd numbers are runs of a table with bins."""
    rng = random.Random(number)
    classes = ("a", "b", "c") if number % 2 == 0 else ("no", "yes")
    dtype = rng.choice(["float32", "float64"])
    kinds = (
        _kind("first", number, rng, len(classes)),
        _kind("second", number + 1, rng, len(classes), bins=rng.random() < 0.5),
        replace(_kind("linear", number + 2, rng, len(classes)), layers=(Dense(len(classes)), Softmax()), baseline=True),
    )
    definition = ModelDefinition("drawn", 2, classes, (), ensemble=Ensemble(kinds, FOLDS), dtype=dtype)
    if number % 2:
        features = [{**TABLE_FEATURES[0], "scale": "robust_bins"}, *TABLE_FEATURES[1:]]
        document = {"name": "drawn", "classes": list(classes), "features": features, "hidden": [1]}
        of_table = ModelDefinition.load(document).for_table(_table.columns, "label", None, _table.rows)
        definition = replace(of_table, layers=(), ensemble=definition.ensemble, dtype=dtype)
    request = a_request(
        epochs=0,
        shuffle=rng.random() < 0.8,
        seed=number,
        validation_fraction=rng.choice([None, 0.25]),
        every_epochs=rng.choice([None, 2]),
        every_seconds=rng.randint(1, 5) + 0.5,  # the clock counts batches
        class_weights=rng.choice([None, "balanced"]),
    )
    return definition, request


def _kind(name: str, number: int, rng: random.Random, classes: int, *, bins: bool = True) -> NetworkKind:
    layers: list[Layer] = [layer for layer in cases.every(cases.LAYERS) if not isinstance(layer, Softmax)]
    noisy = [layer for case in cases.DIFFERENT_IN_TRAINING for layer in cases.LAYERS[case]]
    stack = [layers[number % len(layers)], noisy[number % len(noisy)], *rng.choices(layers, k=rng.randrange(2))]
    optimizers, schedules = cases.every(cases.OPTIMIZERS), cases.every(cases.SCHEDULES)
    optimizer = optimizers[number % len(optimizers)]
    stopping = EarlyStopping("validation_log_loss", patience=1, patience_steps=rng.choice([0, 4]))
    return NetworkKind(
        name=name,
        layers=(*rng.sample(stack, len(stack)), Dense(classes), Softmax()),
        optimizer=replace(
            optimizer,
            learning_rate=min(optimizer.learning_rate, 0.01),
            schedule=schedules[number % len(schedules)],
            average=rng.choice([None, 0.9]),
        ),
        epochs=EPOCHS,
        batch_size=8,
        loss=rng.choice(cases.every(cases.LOSSES)),
        validate_every=rng.choice([1, 1, 2]),
        early_stopping=rng.choice([None, stopping]),
        bins=bins,
    )
