"""The table of all layers, with the name of each in definitions, checkpoints and tests.

To add a layer, write one class, one line in ``LAYERS`` in this file, one case in ``testing/cases.py``, its equation in
``tests/nncore/plain.py``, and its operators in ``models/export/layer_nodes.py``.
"""

from __future__ import annotations

from nncore.activations import ELU, GELU, SELU, LeakyReLU, ReLU, Sigmoid, SiLU, Softmax, Softplus, Tanh
from nncore.dense import Dense
from nncore.layer import Calls, Layer, LayerArrays, LayerMemory, Signal
from nncore.noise import Dropout, GaussianNoise
from nncore.normalization import BatchNorm, LayerNorm

__all__ = [
    "ELU",
    "GELU",
    "LAYERS",
    "SELU",
    "BatchNorm",
    "Calls",
    "Dense",
    "Dropout",
    "GaussianNoise",
    "Layer",
    "LayerArrays",
    "LayerMemory",
    "LayerNorm",
    "LeakyReLU",
    "ReLU",
    "SiLU",
    "Sigmoid",
    "Signal",
    "Softmax",
    "Softplus",
    "Tanh",
    "layer_type",
]

LAYERS: dict[str, type[Layer]] = {
    "dense": Dense,
    "relu": ReLU,
    "leaky_relu": LeakyReLU,
    "elu": ELU,
    "selu": SELU,
    "gelu": GELU,
    "silu": SiLU,
    "tanh": Tanh,
    "sigmoid": Sigmoid,
    "softplus": Softplus,
    "softmax": Softmax,
    "dropout": Dropout,
    "gaussian_noise": GaussianNoise,
    "batch_norm": BatchNorm,
    "layer_norm": LayerNorm,
}


def layer_type(layer: Layer) -> str:
    """Return the name of a layer's class in ``LAYERS``."""
    return next(name for name, member in LAYERS.items() if member is type(layer))
