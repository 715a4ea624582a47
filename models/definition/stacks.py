"""Stacks of layers: the short form ``hidden``, the default network, and what a stack needs to classify."""

from __future__ import annotations

import math
from collections.abc import Sequence

from nncore.initializers import Initializer
from nncore.layers import LAYERS, Dense, Layer, Softmax
from nncore.optimizers import Adam
from nncore.schedules import Cosine

__all__ = [
    "DEFAULT_L2",
    "DEFAULT_OPTIMIZER",
    "LAST_INITIALIZER",
    "default_stack",
    "last_layers",
    "penalty_for",
    "stack_of",
    "stack_problem",
]

#: The network of a definition that has none, and its optimizer (docs/training.md, "Everything left out").
DEFAULT_UNITS, DEFAULT_L2 = 128, 0.01
#: If the number of rows is known, ``l2`` is this by its square root, and at most the second.
L2_BY_ROWS, LARGEST_L2 = 0.3, 0.03
DEFAULT_OPTIMIZER = Adam(learning_rate=0.003, schedule=Cosine())
#: The default of the dense layer before the softmax. With he_normal, the first loss is 0.6 higher.
LAST_INITIALIZER: Initializer = "glorot_uniform"


def stack_of(hidden: Sequence[int], activation: str, classes: int) -> list[Layer]:
    """The stack of a list of hidden layers."""
    layers: list[Layer] = []
    for units in hidden:
        layers += [Dense(units), LAYERS[activation]()]
    return [*layers, *last_layers(classes)]


def default_stack(classes: int, l2: float) -> list[Layer]:
    """The network of a definition that has none."""
    return [Dense(DEFAULT_UNITS, l2=l2), LAYERS["relu"](), *last_layers(classes)]


def last_layers(classes: int) -> list[Layer]:
    """The last two layers of every stack."""
    return [Dense(classes, initializer=LAST_INITIALIZER), Softmax()]


def penalty_for(rows: int) -> float:
    """``l2`` of the default network if it is trained on ``rows`` rows: few rows need more of it."""
    return min(float(f"{L2_BY_ROWS / math.sqrt(rows):.2g}"), LARGEST_L2)


def stack_problem(layers: Sequence[Layer], classes: int) -> tuple[int, str, str] | None:
    """Why a stack of layers cannot classify this number of classes: place, member and message; None if it can."""
    if not isinstance(layers[-1], Softmax):
        return len(layers) - 1, "type", "the last layer must be 'softmax'"
    if len(layers) < 2 or not isinstance(layers[-2], Dense):
        return max(len(layers) - 2, 0), "type", "the layer before the last must be 'dense'"
    if layers[-2].units != classes:
        return len(layers) - 2, "units", f"must be {classes}, one unit per class. Received: {layers[-2].units}"
    return None
