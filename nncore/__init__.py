"""Neural-network classifiers on NumPy: arrays in, arrays out."""

from nncore.layers import LAYERS, Dense, Layer, ReLU, Softmax
from nncore.losses import LOSSES, CategoricalCrossentropy, FocalLoss, Loss
from nncore.network import Network, Predictor
from nncore.optimizers import OPTIMIZERS, SGD, Adam, Optimizer, RMSProp
from nncore.training import DivergedError, Epoch, Training, TrainingState, train

__version__ = "0.1.0"

__all__ = [
    "LAYERS",
    "LOSSES",
    "OPTIMIZERS",
    "SGD",
    "Adam",
    "CategoricalCrossentropy",
    "Dense",
    "DivergedError",
    "Epoch",
    "FocalLoss",
    "Layer",
    "Loss",
    "Network",
    "Optimizer",
    "Predictor",
    "RMSProp",
    "ReLU",
    "Softmax",
    "Training",
    "TrainingState",
    "__version__",
    "train",
]
