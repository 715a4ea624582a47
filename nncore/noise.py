"""Noise layers, which are active during training and do nothing at prediction.

They draw from the run's noise stream, so that a seed reproduces a run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np

from nncore.arrays import Array
from nncore.hyperparameters import hyperparameter
from nncore.layer import Calls, Layer, LayerMemory, Signal

__all__ = ["Dropout", "GaussianNoise"]


@dataclass(frozen=True)
class Dropout(Layer):
    """``y = x·k/(1 - rate)``; each value's k is 0 with probability ``rate``, else 1 (Srivastava et al. 2014).

    Training applies the scale, so that inference is ``y = x``.
    """

    rate: float = hyperparameter(minimum=0.0, below=1.0, help="Probability that training sets a value to 0.")

    needs_output: ClassVar[bool] = False

    def apply(self, parameters: Mapping[str, Array], x: Array) -> Array:
        return x.copy()

    def plan_inference(self, memory: LayerMemory, x: Signal, y: Signal) -> tuple[Calls, Calls]:
        return [partial(np.copyto, y.values, x.values)], []

    def plan(self, memory: LayerMemory, x: Signal, y: Signal) -> tuple[Calls, Calls]:
        assert y.gradient is not None
        factor, dtype = memory.workspace.array(y.values.shape), y.values.dtype
        forward: Calls = [
            partial(memory.generator.random, out=factor, dtype=dtype.type),
            # The floor of the draw minus the rate is -1 or 0.
            partial(np.subtract, factor, np.array(self.rate, dtype), out=factor),
            partial(np.floor, factor, out=factor),
            partial(np.add, factor, np.array(1.0, dtype), out=factor),
            partial(np.multiply, factor, np.array(1.0 / (1.0 - self.rate), dtype), out=factor),
            partial(np.multiply, x.values, factor, out=y.values),
        ]
        return forward, [partial(np.multiply, y.gradient, factor, out=y.gradient)]


@dataclass(frozen=True)
class GaussianNoise(Layer):
    """``y = x + stddev·n`` with a standard normal n for each value; inference is ``y = x``."""

    stddev: float = hyperparameter(minimum=0.0, maximum=1e6, help="Standard deviation of the noise that training adds.")

    needs_output: ClassVar[bool] = False

    def apply(self, parameters: Mapping[str, Array], x: Array) -> Array:
        return x.copy()

    def plan_inference(self, memory: LayerMemory, x: Signal, y: Signal) -> tuple[Calls, Calls]:
        return [partial(np.copyto, y.values, x.values)], []

    def plan(self, memory: LayerMemory, x: Signal, y: Signal) -> tuple[Calls, Calls]:
        noise, dtype = memory.workspace.scratch(y.values.shape), y.values.dtype
        forward: Calls = [
            partial(memory.generator.standard_normal, out=noise, dtype=dtype.type),
            partial(np.multiply, noise, np.array(self.stddev, dtype), out=noise),
            partial(np.add, x.values, noise, out=y.values),
        ]
        return forward, []
