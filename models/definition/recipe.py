"""Recipes: the features and members of a model whose definition says "auto".

A recipe keeps its number and its meaning, so that an old request means the same for ever; a better one gets the next
number. docs/recipe.md explains the choices, with their sources and what was measured.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from models.data.columns import ColumnSpec
from models.definition.ensemble import Effort, Ensemble, NetworkKind
from models.definition.stacks import last_layers
from models.features.category import Category
from models.features.features import Feature, feature_of
from models.features.number import Number
from nncore.layers import LAYERS, Dense, Dropout, Layer
from nncore.losses import CategoricalCrossentropy
from nncore.optimizers import AdamW
from nncore.stopping import EarlyStopping

__all__ = ["RECIPES", "Recipe"]


@dataclass(frozen=True)
class Recipe:
    """How the columns of a table become numbers, and which members are trained on so many rows.

    ``feature_for`` takes the number of columns of numbers and of training rows; it returns the function that makes the
    feature of a column. ``ensemble`` takes the number of training rows and of classes, and the effort.
    """

    feature_for: Callable[[int, int], Callable[[ColumnSpec], Feature]]
    ensemble: Callable[[int, int, Effort], Ensemble]


@dataclass(frozen=True)
class _Kind:
    """A kind of network of recipe 1: its two hidden layers, and what differs between kinds."""

    name: str
    units: int
    activation: str
    decay: float
    bins: bool = True


@dataclass(frozen=True)
class _Size:
    """What recipe 1 takes for tables up to ``rows`` training rows."""

    rows: float
    bins: int
    levels: int
    smoothing: float
    patience: int
    kinds: tuple[_Kind, ...]


_SIZES = (
    _Size(
        rows=2_000,
        bins=16,
        levels=64,
        smoothing=0.05,
        patience=20,
        kinds=(_Kind("binned", 128, "relu", 0.5), _Kind("smooth", 128, "silu", 0.5, bins=False)),
    ),
    _Size(
        rows=10_000,
        bins=16,
        levels=64,
        smoothing=0.05,
        patience=10,
        kinds=(_Kind("wide", 256, "relu", 0.02), _Kind("smooth", 128, "silu", 0.2)),
    ),
    _Size(
        rows=math.inf,
        bins=32,
        levels=256,
        smoothing=0.0,
        patience=10,
        kinds=(_Kind("wide", 256, "relu", 0.02), _Kind("smooth", 128, "silu", 0.2)),
    ),
)
#: Rows that a level needs for a place of its own.
LEAST_ROWS = 5
#: Up to so many numbers, each has bins: a first layer of more inputs takes most of the time.
BINNED = 100
#: Up to so many rows there are eight folds, and five beyond; a quick run trains on three of them.
FEW, MANY_FOLDS, FEW_FOLDS, QUICK_FOLDS, THOROUGH_FOLDS = 3_000, 8, 5, 3, 10
#: Epochs of a member at most, and the steps that may make them fewer, but not fewer than the last number.
EPOCHS, STEPS, LEAST_EPOCHS = 400, 20_000, 20


def _size_1(rows: int) -> _Size:
    return next(size for size in _SIZES if rows <= size.rows)


def _feature_1(numbers: int, rows: int, column: ColumnSpec) -> Feature:
    feature, size = feature_of(column), _size_1(rows)
    if isinstance(feature, Number):
        if numbers > BINNED:
            return replace(feature, scale="robust_clip")
        return replace(feature, scale="robust_bins", bins=size.bins)
    if isinstance(feature, Category):
        return replace(feature, min_count=LEAST_ROWS, max_levels=size.levels, signed=True)
    return feature


def _ensemble_1(rows: int, classes: int, effort: Effort) -> Ensemble:
    size, folds = _size_1(rows), MANY_FOLDS if rows <= FEW else FEW_FOLDS
    if effort == "thorough":
        size, folds = replace(size, patience=max(size.patience, _SIZES[0].patience)), THOROUGH_FOLDS
    # Each fold holds at least two rows, as far as there are so many.
    folds = max(2, min(folds, rows // 2))
    training = max(1, rows - rows // folds)
    kinds = [_kind_1(kind, size, classes, training, effort) for kind in size.kinds]
    # At this rate, and with labels as they are, it is as good as a converged logistic regression, or better.
    linear = _kind_1(_Kind("linear", 0, "relu", 0.02, bins=False), size, classes, training, effort)
    optimizer = replace(linear.optimizer, learning_rate=0.05)
    kinds.append(replace(linear, baseline=True, optimizer=optimizer, loss=CategoricalCrossentropy()))
    used = QUICK_FOLDS if effort == "quick" and folds > QUICK_FOLDS else None
    return Ensemble(tuple(kinds), folds, used_folds=used, recipe=1, effort=effort)


def _kind_1(kind: _Kind, size: _Size, classes: int, rows: int, effort: Effort) -> NetworkKind:
    """A kind of network for ``rows`` training rows a member."""
    batch = 2 ** min(max(round(math.log2(max(rows, 1) / 32)), 5), 8)
    steps, longer = math.ceil(rows / batch), 2 if effort == "thorough" else 1
    layers: list[Layer] = []
    for _ in range(2 if kind.units else 0):
        layers += [Dense(kind.units), LAYERS[kind.activation](), Dropout(0.2)]
    return NetworkKind(
        name=kind.name,
        layers=(*layers, *last_layers(classes)),
        optimizer=AdamW(learning_rate=0.002, weight_decay=kind.decay, average=0.99),
        epochs=longer * min(EPOCHS, max(LEAST_EPOCHS, STEPS // steps)),
        batch_size=batch,
        loss=CategoricalCrossentropy(label_smoothing=size.smoothing),
        validate_every=max(1, round(20 / steps)),
        early_stopping=EarlyStopping(
            monitor="validation_log_loss",
            patience=size.patience,
            patience_steps=400,
            min_delta=1e-5,
            restore_best=True,
        ),
        bins=kind.bins,
    )


RECIPES: dict[int, Recipe] = {1: Recipe(partial(partial, _feature_1), _ensemble_1)}
