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


#: Recipe 1. Up to the first number of rows a model is small, from the second on it is large.
SMALL, LARGE = 2_000, 10_000
#: Up to so many rows there are eight folds, and five beyond.
FEW = 3_000
#: Up to so many numbers, each has bins: a first layer of more inputs takes most of the time.
BINNED = 100
#: Epochs that each effort allows, and its share of the folds.
EPOCHS: dict[Effort, int] = {"quick": 100, "default": 400, "thorough": 800}
#: Steps of a member at most, if that is more than 20 epochs.
STEPS: dict[Effort, int] = {"quick": 4_000, "default": 20_000, "thorough": 40_000}


def _feature_1(numbers: int, rows: int, column: ColumnSpec) -> Feature:
    feature = feature_of(column)
    if isinstance(feature, Number):
        return replace(feature, scale="robust_bins" if numbers <= BINNED else "robust_clip")
    if isinstance(feature, Category):
        return replace(feature, min_count=5, max_levels=64, signed=True)
    return feature


def _ensemble_1(rows: int, classes: int, effort: Effort) -> Ensemble:
    folds = _folds_1(rows, effort)
    training = max(1, rows - rows // folds)
    if rows <= SMALL:
        kinds = [
            _kind_1("binned", (128, 128), "relu", 0.5, classes, training, effort),
            _kind_1("smooth", (128, 128), "silu", 0.5, classes, training, effort, bins=False),
        ]
    else:
        kinds = [
            _kind_1("binned", (128, 128), "relu", 0.02, classes, training, effort),
            _kind_1("wide", (256, 256), "relu", 0.02, classes, training, effort),
        ]
    if effort == "quick":
        kinds = kinds[:1]
    baseline = replace(_kind_1("linear", (), "relu", 0.02, classes, training, effort, bins=False), baseline=True)
    return Ensemble((*kinds, baseline), folds, recipe=1, effort=effort)


def _folds_1(rows: int, effort: Effort) -> int:
    folds = 8 if rows <= FEW else 5
    if effort == "quick":
        folds = 3
    elif effort == "thorough":
        folds += 4
    # Each fold holds at least two rows, as far as there are so many.
    return max(2, min(folds, rows // 2))


def _kind_1(
    name: str,
    hidden: tuple[int, ...],
    activation: str,
    decay: float,
    classes: int,
    rows: int,
    effort: Effort,
    *,
    bins: bool = True,
) -> NetworkKind:
    """A kind of network for ``rows`` training rows a member."""
    batch = 2 ** min(max(round(math.log2(max(rows, 1) / 32)), 5), 8)
    steps = math.ceil(rows / batch)
    layers: list[Layer] = []
    for units in hidden:
        layers += [Dense(units), LAYERS[activation](), Dropout(0.2)]
    return NetworkKind(
        name=name,
        layers=(*layers, *last_layers(classes)),
        optimizer=AdamW(learning_rate=0.002, weight_decay=decay, average=0.99),
        epochs=min(EPOCHS[effort], max(20, STEPS[effort] // steps)),
        batch_size=batch,
        loss=CategoricalCrossentropy(label_smoothing=0.05),
        validate_every=max(1, round(20 / steps)),
        early_stopping=EarlyStopping(
            monitor="validation_log_loss", patience=20, patience_steps=400, min_delta=1e-5, restore_best=True
        ),
        bins=bins,
    )


RECIPES: dict[int, Recipe] = {1: Recipe(partial(partial, _feature_1), _ensemble_1)}
