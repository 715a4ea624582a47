"""Normalization: layers that scale their input to mean 0 and variance 1, then apply a learned scale and shift.

In a plan, samples are the last axis. Sums over samples are products with a vector of ones, which is faster than a
reduction along that axis.
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

__all__ = ["BatchNorm", "LayerNorm"]


def _scale_calls(normalized: Array, y: Array, parameters: Mapping[str, Array]) -> Calls:
    """Return the calls of ``y = normalized·gamma + beta``."""
    gamma, beta = parameters["gamma"][:, np.newaxis], parameters["beta"][:, np.newaxis]
    return [partial(np.multiply, normalized, gamma, out=y), partial(np.add, y, beta, out=y)]


def _scale_backward_calls(normalized: Array, y_gradient: Array, memory: LayerMemory) -> Calls:
    """Return the calls that compute the gradients of gamma and beta."""
    product, ones = memory.workspace.scratch(y_gradient.shape), np.ones(y_gradient.shape[1], y_gradient.dtype)
    return [
        partial(np.matmul, y_gradient, ones, out=memory.gradients.named["beta"]),
        partial(np.multiply, y_gradient, normalized, out=product),
        partial(np.matmul, product, ones, out=memory.gradients.named["gamma"]),
    ]


@dataclass(frozen=True)
class BatchNorm(Layer):
    """``y = γ(x - μ)/√(σ² + ε) + β`` with each feature's mean μ and variance σ² in the batch (Ioffe & Szegedy 2015).

    With ``x̂ = (x - μ)/√(σ² + ε)`` and g the gradient of y, over the n samples of a batch
    ``∂L/∂γ = Σ g x̂``, ``∂L/∂β = Σ g``, ``∂L/∂x = γ/√(σ² + ε)·(g - Σg/n - x̂·Σ(g x̂)/n)``.

    Inference uses ``running_mean`` and ``running_variance``. Each training step updates them by
    ``r = momentum·r + (1 - momentum)·b``, with b the batch's mean or its unbiased variance ``n/(n - 1)·σ²``. A batch of
    one sample has no variance and updates only the mean.
    """

    momentum: float = hyperparameter(
        0.9, minimum=0.0, below=1.0, help="Decay rate of the running mean and variance used for predictions."
    )
    epsilon: float = hyperparameter(1e-5, above=0.0, maximum=1.0, help="Small constant ε added to the variance.")

    needs_output: ClassVar[bool] = False

    def parameter_shapes(self, inputs: int) -> dict[str, tuple[int, ...]]:
        return {"gamma": (inputs,), "beta": (inputs,)}

    def initial_parameters(self, inputs: int, generator: np.random.Generator) -> dict[str, Array]:
        return {"gamma": np.ones(inputs), "beta": np.zeros(inputs)}

    def initial_statistics(self, inputs: int) -> dict[str, Array]:
        return {"running_mean": np.zeros(inputs), "running_variance": np.ones(inputs)}

    def apply(self, parameters: Mapping[str, Array], x: Array) -> Array:
        y: Array = x - parameters["running_mean"]
        y *= parameters["gamma"] / np.sqrt(parameters["running_variance"] + self.epsilon)
        y += parameters["beta"]
        return y

    def plan_inference(self, memory: LayerMemory, x: Signal, y: Signal) -> tuple[Calls, Calls]:
        gradient, parameters = y.gradient, memory.parameters.named
        assert gradient is not None
        mean, variance = memory.statistics["running_mean"], memory.statistics["running_variance"]
        slope = (parameters["gamma"] / np.sqrt(variance + self.epsilon))[:, np.newaxis]
        forward: Calls = [
            partial(np.subtract, x.values, mean[:, np.newaxis], out=y.values),
            partial(np.multiply, y.values, slope, out=y.values),
            partial(np.add, y.values, parameters["beta"][:, np.newaxis], out=y.values),
        ]
        return forward, [partial(np.multiply, gradient, slope, out=gradient)]

    def plan(self, memory: LayerMemory, x: Signal, y: Signal) -> tuple[Calls, Calls]:
        gradient, (features, samples) = y.gradient, y.values.shape
        assert gradient is not None
        number, workspace = partial(np.array, dtype=y.values.dtype), memory.workspace
        normalized, mean, variance, inverse = workspace.array(y.values.shape), *workspace.array((3, features))
        share = np.full(samples, 1.0 / samples, y.values.dtype)
        forward: Calls = [
            partial(np.matmul, x.values, share, out=mean),
            partial(np.subtract, x.values, mean[:, np.newaxis], out=normalized),
            partial(np.multiply, normalized, normalized, out=y.values),
            partial(np.matmul, y.values, share, out=variance),
            partial(np.add, variance, number(self.epsilon), out=inverse),
            partial(np.sqrt, inverse, out=inverse),
            partial(np.reciprocal, inverse, out=inverse),
            partial(np.multiply, normalized, inverse[:, np.newaxis], out=normalized),
            *_scale_calls(normalized, y.values, memory.parameters.named),
            *self._average_calls(memory.statistics["running_mean"], mean, 1.0),
        ]
        if samples > 1:
            unbiased = samples / (samples - 1)
            forward += self._average_calls(memory.statistics["running_variance"], variance, unbiased)
        backward = _scale_backward_calls(normalized, gradient, memory)
        if x.gradient is not None:
            row = mean  # Reused as scratch: the mean is no longer needed.
            of_beta, of_gamma = memory.gradients.named["beta"], memory.gradients.named["gamma"]
            each = number(1.0 / samples)
            backward += [
                partial(np.multiply, of_gamma, each, out=row),
                partial(np.multiply, normalized, row[:, np.newaxis], out=normalized),
                partial(np.subtract, gradient, normalized, out=gradient),
                partial(np.multiply, of_beta, each, out=row),
                partial(np.subtract, gradient, row[:, np.newaxis], out=gradient),
                partial(np.multiply, memory.parameters.named["gamma"], inverse, out=row),
                partial(np.multiply, gradient, row[:, np.newaxis], out=gradient),
            ]
        return forward, backward

    def _average_calls(self, running: Array, new: Array, factor: float) -> Calls:
        """Return the calls of ``running = momentum·running + (1 - momentum)·factor·new``, which overwrite ``new``."""
        number = partial(np.array, dtype=running.dtype)
        return [
            partial(np.multiply, running, number(self.momentum), out=running),
            partial(np.multiply, new, number((1.0 - self.momentum) * factor), out=new),
            partial(np.add, running, new, out=running),
        ]


@dataclass(frozen=True)
class LayerNorm(Layer):
    """``y = γ(x - μ)/√(σ² + ε) + β`` with mean μ and variance σ² of each sample's features (Ba et al. 2016).

    With ``x̂ = (x - μ)/√(σ² + ε)``, g the gradient of y and means over the features,
    ``∂L/∂γ = Σ g x̂``, ``∂L/∂β = Σ g`` over the samples, ``∂L/∂x = (γg - mean(γg) - x̂·mean(γg x̂))/√(σ² + ε)``.
    """

    epsilon: float = hyperparameter(1e-5, above=0.0, maximum=1.0, help="Small constant ε added to the variance.")

    needs_output: ClassVar[bool] = False

    def parameter_shapes(self, inputs: int) -> dict[str, tuple[int, ...]]:
        return {"gamma": (inputs,), "beta": (inputs,)}

    def initial_parameters(self, inputs: int, generator: np.random.Generator) -> dict[str, Array]:
        return {"gamma": np.ones(inputs), "beta": np.zeros(inputs)}

    def apply(self, parameters: Mapping[str, Array], x: Array) -> Array:
        y: Array = x - np.add.reduce(x, axis=1, keepdims=True) / x.shape[1]
        variance = np.add.reduce(y * y, axis=1, keepdims=True) / x.shape[1]
        y /= np.sqrt(variance + self.epsilon)
        y *= parameters["gamma"]
        y += parameters["beta"]
        return y

    def plan(self, memory: LayerMemory, x: Signal, y: Signal) -> tuple[Calls, Calls]:
        gradient, (features, samples) = y.gradient, y.values.shape
        assert gradient is not None
        number, workspace = partial(np.array, dtype=y.values.dtype), memory.workspace
        normalized, row, inverse = workspace.array(y.values.shape), *workspace.array((2, samples))
        each = number(1.0 / features)
        forward: Calls = [
            partial(np.add.reduce, x.values, axis=0, out=row),
            partial(np.multiply, row, each, out=row),
            partial(np.subtract, x.values, row, out=normalized),
            partial(np.multiply, normalized, normalized, out=y.values),
            partial(np.add.reduce, y.values, axis=0, out=inverse),
            partial(np.multiply, inverse, each, out=inverse),
            partial(np.add, inverse, number(self.epsilon), out=inverse),
            partial(np.sqrt, inverse, out=inverse),
            partial(np.reciprocal, inverse, out=inverse),
            partial(np.multiply, normalized, inverse, out=normalized),
            *_scale_calls(normalized, y.values, memory.parameters.named),
        ]
        backward = _scale_backward_calls(normalized, gradient, memory)
        if x.gradient is not None:
            product, gamma = workspace.scratch(y.values.shape), memory.parameters.named["gamma"][:, np.newaxis]
            backward += [
                partial(np.multiply, gradient, gamma, out=gradient),
                partial(np.multiply, gradient, normalized, out=product),
                partial(np.add.reduce, product, axis=0, out=row),
                partial(np.multiply, row, each, out=row),
                partial(np.multiply, normalized, row, out=normalized),
                partial(np.add.reduce, gradient, axis=0, out=row),
                partial(np.multiply, row, each, out=row),
                partial(np.subtract, gradient, row, out=gradient),
                partial(np.subtract, gradient, normalized, out=gradient),
                partial(np.multiply, gradient, inverse, out=gradient),
            ]
        return forward, backward
