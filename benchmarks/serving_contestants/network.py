"""The network that all contestants serve, in NumPy alone: dense layers with ReLU between them, and a softmax."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

__all__ = ["CLASSES", "Network"]

CLASSES = ("setosa", "versicolor", "virginica")


class Network:
    """Weights and biases from the file that the variable CONTESTANT_WEIGHTS names, layer by layer."""

    def __init__(self) -> None:
        with np.load(os.environ["CONTESTANT_WEIGHTS"]) as arrays:
            count = len(arrays.files) // 2
            self.layers = [(arrays[f"weights{place}"], arrays[f"bias{place}"]) for place in range(count)]

    def probabilities(self, x: Any) -> Any:
        """Probabilities (n_rows, n_classes) of float32 for rows (n_rows, n_inputs)."""
        *hidden, (weights, bias) = self.layers
        for each, of_units in hidden:
            x = x @ each
            x += of_units
            np.maximum(x, 0, out=x)
        x = x @ weights
        x += bias
        x -= x.max(axis=1, keepdims=True)
        np.exp(x, out=x)
        x /= x.sum(axis=1, keepdims=True)
        return x
