"""The table of layers as operators: each makes what ``apply`` of a member of ``nncore.layers.LAYERS`` returns.

To export a layer, write one function and one line in ``LAYER_NODES``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from models.export.arithmetic import erf, expm1, log1p
from models.export.graph import Graph
from nncore.arrays import Array
from nncore.layers import (
    ELU,
    GELU,
    SELU,
    BatchNorm,
    Dense,
    Dropout,
    GaussianNoise,
    Layer,
    LayerNorm,
    LeakyReLU,
    ReLU,
    Sigmoid,
    SiLU,
    Softmax,
    Softplus,
    Tanh,
)

__all__ = ["LAYER_NODES", "Parameters"]

#: Of one network, or of several: their arrays are stacked, and those of features then are (members, 1, features).
Parameters = Mapping[str, Array]
#: Makes a layer's output of its input (rows, inputs), or (members, rows, inputs) of several networks.
Nodes = Callable[[Graph, Any, Parameters, str], str]

_LAST = np.array([-1], np.int64)


def _dense(graph: Graph, layer: Dense, parameters: Parameters, x: str) -> str:
    weights = graph.constant(parameters["weights"], "weights")
    bias = graph.constant(parameters["bias"], "bias") if layer.use_bias else None
    if parameters["weights"].ndim == 2:
        return graph.call("Gemm", x, weights, *([] if bias is None else [bias]))
    product = graph.call("MatMul", x, weights)
    return product if bias is None else graph.call("Add", product, bias)


def _relu(graph: Graph, layer: ReLU, parameters: Parameters, x: str) -> str:
    return graph.call("Relu", x)


def _leaky_relu(graph: Graph, layer: LeakyReLU, parameters: Parameters, x: str) -> str:
    return graph.call("Max", x, graph.call("Mul", x, graph.number(layer.negative_slope)))


def _exponential_unit(graph: Graph, x: str, scale: float, alpha: float) -> str:
    """As in ``nncore.activations``. ONNX has operators for it, whose attributes are float32 only."""
    below = graph.call("Mul", expm1(graph, graph.call("Min", x, graph.number(0.0))), graph.number(scale * alpha))
    return graph.call("Add", below, graph.call("Mul", graph.call("Relu", x), graph.number(scale)))


def _elu(graph: Graph, layer: ELU, parameters: Parameters, x: str) -> str:
    return _exponential_unit(graph, x, 1.0, layer.alpha)


def _selu(graph: Graph, layer: SELU, parameters: Parameters, x: str) -> str:
    return _exponential_unit(graph, x, layer.scale, layer.alpha)


def _gelu(graph: Graph, layer: GELU, parameters: Parameters, x: str) -> str:
    if layer.approximate == "tanh":
        cubic = graph.call("Mul", graph.call("Mul", x, x), graph.number(0.044715))
        inner = graph.call("Mul", x, graph.call("Add", cubic, graph.number(1.0)))
        found = graph.call("Tanh", graph.call("Mul", inner, graph.number(math.sqrt(2.0 / math.pi))))
    else:
        found = erf(graph, graph.call("Mul", x, graph.number(math.sqrt(0.5))))
    share = graph.call("Mul", graph.call("Add", found, graph.number(1.0)), graph.number(0.5))
    return graph.call("Mul", x, share)


def _silu(graph: Graph, layer: SiLU, parameters: Parameters, x: str) -> str:
    """``x/(1 + exp(-x))``: runtimes make one operator of x and its logistic function, which some lack for float64."""
    return graph.call("Div", x, graph.call("Add", graph.call("Exp", graph.call("Neg", x)), graph.number(1.0)))


def _tanh(graph: Graph, layer: Tanh, parameters: Parameters, x: str) -> str:
    return graph.call("Tanh", x)


def _sigmoid(graph: Graph, layer: Sigmoid, parameters: Parameters, x: str) -> str:
    return graph.call("Sigmoid", x)


def _softplus(graph: Graph, layer: Softplus, parameters: Parameters, x: str) -> str:
    small = graph.call("Exp", graph.call("Neg", graph.call("Abs", x)))
    return graph.call("Add", graph.call("Relu", x), log1p(graph, small, graph.number(1.0)))


def _softmax(graph: Graph, layer: Softmax, parameters: Parameters, x: str) -> str:
    return graph.call("Softmax", x, axis=-1)


def _nothing(graph: Graph, layer: Layer, parameters: Parameters, x: str) -> str:
    """Noise is for training alone."""
    return x


def _batch_norm(graph: Graph, layer: BatchNorm, parameters: Parameters, x: str) -> str:
    slope = parameters["gamma"] / np.sqrt(parameters["running_variance"] + graph.number(layer.epsilon))
    moved = graph.call("Sub", x, graph.constant(parameters["running_mean"], "running_mean"))
    scaled = graph.call("Mul", moved, graph.constant(slope, "slope"))
    return graph.call("Add", scaled, graph.constant(parameters["beta"], "beta"))


def _layer_norm(graph: Graph, layer: LayerNorm, parameters: Parameters, x: str) -> str:
    """ONNX has an operator for it, but runtimes subtract the square of the mean, which loses precision."""
    centered = graph.call("Sub", x, graph.call("ReduceMean", x, _LAST, keepdims=1))
    variance = graph.call("ReduceMean", graph.call("Mul", centered, centered), _LAST, keepdims=1)
    deviation = graph.call("Sqrt", graph.call("Add", variance, graph.number(layer.epsilon)))
    scaled = graph.call("Mul", graph.call("Div", centered, deviation), graph.constant(parameters["gamma"], "gamma"))
    return graph.call("Add", scaled, graph.constant(parameters["beta"], "beta"))


LAYER_NODES: dict[type[Layer], Nodes] = {
    Dense: _dense,
    ReLU: _relu,
    LeakyReLU: _leaky_relu,
    ELU: _elu,
    SELU: _selu,
    GELU: _gelu,
    SiLU: _silu,
    Tanh: _tanh,
    Sigmoid: _sigmoid,
    Softplus: _softplus,
    Softmax: _softmax,
    Dropout: _nothing,
    GaussianNoise: _nothing,
    BatchNorm: _batch_norm,
    LayerNorm: _layer_norm,
}
