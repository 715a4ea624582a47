"""Gradients by the input of a trained network, as it predicts: without noise, with the running statistics."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from nncore.arrays import Array, Workspace
from nncore.layers import Calls, LayerArrays, LayerMemory, Signal
from nncore.network import Predictor

__all__ = ["Back", "forward_and_back"]

#: From the gradient of the probabilities, (n_samples, n_classes), that of the input, (n_samples, inputs).
Back = Callable[[Array], Array]


def forward_and_back(predictor: Predictor, x: Array) -> tuple[Array, Back]:
    """Return the probabilities (n_samples, n_classes) for ``x`` (n_samples, inputs), and the way back to the input.

    The way back takes the gradient of a number by the probabilities and returns that by ``x``: a vector-Jacobian
    product for each sample. It can be gone once. Thread-safe. Raises ValueError if ``x`` has the wrong shape.
    """
    if x.ndim != 2 or x.shape[1] != predictor.inputs:
        raise ValueError(f"x must have shape (n_samples, {predictor.inputs}). Received: {x.shape}")
    samples, dtype = len(x), predictor.dtype
    workspace, generator = Workspace(dtype), np.random.Generator(np.random.PCG64(0))  # which no layer draws from
    first = signal = _signal(np.array(x.T, dtype, order="C"), np.empty((x.shape[1], samples), dtype))
    forward: Calls = []
    backward: list[Calls] = []
    for layer, arrays in predictor.steps:
        assert signal.gradient is not None
        size = layer.output_size(len(signal.values))
        gradient = signal.gradient if layer.in_place else np.empty((size, samples), dtype)
        output = _signal(np.empty((size, samples), dtype), gradient)
        names = layer.parameter_shapes(len(signal.values))
        memory = LayerMemory(
            LayerArrays({name: arrays[name] for name in names}, np.empty(0, dtype)),
            LayerArrays({name: np.empty_like(arrays[name]) for name in names}, np.empty(0, dtype)),
            {name: array for name, array in arrays.items() if name not in names},
            workspace,
            generator,
        )
        calls, calls_back = layer.plan_inference(memory, signal, output)
        forward += calls
        backward.append(calls_back)
        signal = output
    last = signal
    with np.errstate(over="ignore", invalid="ignore"):  # The result shows an overflow as NaN.
        for call in forward:
            call()

    def back(gradient: Array) -> Array:
        assert first.gradient is not None
        assert last.gradient is not None
        last.gradient[...] = gradient.T
        with np.errstate(over="ignore", invalid="ignore"):
            for calls_back in reversed(backward):
                for call in calls_back:
                    call()
        return first.gradient.T

    return last.values.T, back


def _signal(values: Array, gradient: Array) -> Signal:
    """A signal without a row of ones, which no plan for inference reads."""
    return Signal(values, values, gradient)
