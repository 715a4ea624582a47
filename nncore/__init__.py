"""Neural-network classifiers on NumPy: arrays in, arrays out."""

from nncore.layers import (
    ELU,
    GELU,
    LAYERS,
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
from nncore.losses import CategoricalCrossentropy
from nncore.network import Network, Predictor
from nncore.optimizers import OPTIMIZERS, SGD, Adam, Optimizer, RMSProp
from nncore.training import DivergedError, Epoch, Training, TrainingState, train

__version__ = "0.1.0"

__all__ = [
    "ELU",
    "GELU",
    "LAYERS",
    "OPTIMIZERS",
    "SELU",
    "SGD",
    "Adam",
    "BatchNorm",
    "CategoricalCrossentropy",
    "Dense",
    "DivergedError",
    "Dropout",
    "Epoch",
    "GaussianNoise",
    "Layer",
    "LayerNorm",
    "LeakyReLU",
    "Network",
    "Optimizer",
    "Predictor",
    "RMSProp",
    "ReLU",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Softplus",
    "Tanh",
    "Training",
    "TrainingState",
    "__version__",
    "train",
]
