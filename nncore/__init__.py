"""Neural-network classifiers on NumPy: arrays in, arrays out."""

from nncore.layers import LAYERS, Dense, Layer, ReLU, Softmax
from nncore.losses import CategoricalCrossentropy
from nncore.network import Network, Predictor
from nncore.optimizers import OPTIMIZERS, SGD, Adadelta, Adagrad, Adam, AdamW, Lion, NAdam, Optimizer, RMSProp
from nncore.training import DivergedError, Epoch, Training, TrainingState, train

__version__ = "0.1.0"

__all__ = [
    "LAYERS",
    "OPTIMIZERS",
    "SGD",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "CategoricalCrossentropy",
    "Dense",
    "DivergedError",
    "Epoch",
    "Layer",
    "Lion",
    "NAdam",
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
