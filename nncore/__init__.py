"""Neural-network classifiers on NumPy: arrays in, arrays out."""

from nncore.layers import LAYERS, Dense, Layer, ReLU, Softmax
from nncore.losses import LOSSES, CategoricalCrossentropy, FocalLoss, Loss
from nncore.network import Network, Predictor
from nncore.optimizers import OPTIMIZERS, SGD, Adadelta, Adagrad, Adam, AdamW, Lion, NAdam, Optimizer, RMSProp
from nncore.schedules import (
    SCHEDULES,
    Constant,
    Cosine,
    Exponential,
    InverseTime,
    OneCycle,
    Piecewise,
    Polynomial,
    ReduceOnPlateau,
    Schedule,
    Step,
)
from nncore.training import DivergedError, Epoch, Training, TrainingState, train

__version__ = "0.1.0"

__all__ = [
    "LAYERS",
    "LOSSES",
    "OPTIMIZERS",
    "SCHEDULES",
    "SGD",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "CategoricalCrossentropy",
    "Constant",
    "Cosine",
    "Dense",
    "DivergedError",
    "Epoch",
    "Exponential",
    "FocalLoss",
    "InverseTime",
    "Layer",
    "Lion",
    "Loss",
    "NAdam",
    "Network",
    "OneCycle",
    "Optimizer",
    "Piecewise",
    "Polynomial",
    "Predictor",
    "RMSProp",
    "ReLU",
    "ReduceOnPlateau",
    "Schedule",
    "Softmax",
    "Step",
    "Training",
    "TrainingState",
    "__version__",
    "train",
]
