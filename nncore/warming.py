"""Warming up: compiles the kernels that most runs need before a run needs them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nncore.adaptive import Adam, AdamW
from nncore.layers import GELU, Dense, Dropout, Layer, ReLU, Softmax
from nncore.losses import CategoricalCrossentropy
from nncore.network import Network
from nncore.optimizer import Optimizer
from nncore.optimizers import SGD
from nncore.training import Training

__all__ = ["warm_up"]

#: Hidden layers after a dense one, optimizers, and shares of label smoothing; each is compiled in one of the runs.
_COMMON: Sequence[tuple[Sequence[Layer], Optimizer, float]] = (
    ((ReLU(),), Adam(), 0.0),
    ((ReLU(), Dropout(0.1)), AdamW(decay_biases=False, average=0.99), 0.1),
    ((GELU(),), SGD(learning_rate=0.1, momentum=0.9), 0.0),
    ((ReLU(),), SGD(learning_rate=0.1), 0.0),
)


def warm_up() -> None:
    """Compile the kernels "llvm" of common layers, optimizers and losses. Raises ImportError without llvmlite."""
    for hidden, optimizer, smoothing in _COMMON:
        for classes in (2, 3):  # The reductions of two classes are other operations than those of more.
            network = Network([Dense(4), *hidden, Dense(classes), Softmax()], inputs=2)
            Training(
                network,
                np.zeros((8, 2)),
                np.arange(8) % classes,
                optimizer=optimizer,
                loss=CategoricalCrossentropy(label_smoothing=smoothing),
                batch_size=4,
                kernels="llvm",
            )
