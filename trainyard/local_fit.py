"""Training in this process, over nncore."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from trainyard._house import load

if TYPE_CHECKING:
    from nncore import Layer, Predictor

__all__ = ["LocalFit", "Settings", "fit_local"]

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Settings:
    """How a network is made and trained."""

    hidden: tuple[int, ...]
    activation: str
    learning_rate: float
    weight_decay: float
    epochs: int
    batch_size: int
    held_out: float | None
    patience: int
    seed: int


@dataclass
class LocalFit:
    """A trained network: its parameters by name, and the mean and the scale of each column.

    A pickle holds these arrays alone, so that it can be read wherever this package is.
    """

    settings: Settings
    classes: int
    mean: Array
    scale: Array
    parameters: Mapping[str, Array]
    loss_curve: Sequence[float]
    validation_scores: Sequence[float] | None
    _predictor: Predictor | None = field(default=None, repr=False, compare=False)

    def predict_proba(self, x: Array) -> Array:
        """The probabilities (n_samples, n_classes)."""
        if self._predictor is None:
            layers = _layers(self.settings, self.classes)
            self._predictor = load("nncore").Predictor(layers, len(self.mean), self.parameters)
        found: Array = self._predictor.predict_proba((x - self.mean) / self.scale)
        return found

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_predictor": None}


def _layers(settings: Settings, classes: int) -> list[Layer]:
    nncore = load("nncore")
    activation = nncore.LAYERS[settings.activation]
    hidden = [layer for units in settings.hidden for layer in (nncore.Dense(units), activation())]
    return [*hidden, nncore.Dense(classes), nncore.Softmax()]


def fit_local(settings: Settings, x: Array, codes: Array, weights: Array | None, classes: int) -> LocalFit:
    """Train a network on rows (n_samples, n_features) and class numbers; columns are standardized first."""
    nncore = load("nncore")
    held_out = _held_out(settings, codes)
    kept = slice(None) if held_out is None else ~held_out
    mean, scale = x[kept].mean(axis=0), x[kept].std(axis=0)
    # A column of one value has a deviation of 0, or of rounding errors.
    scale[scale <= 1e-12 * np.abs(mean)] = 1.0
    scale[scale == 0.0] = 1.0
    rows = (x - mean) / scale
    network = nncore.Network(_layers(settings, classes), x.shape[1], settings.seed)
    optimizer = nncore.AdamW(settings.learning_rate, weight_decay=settings.weight_decay, schedule=nncore.Cosine())
    training = nncore.Training(
        network,
        rows[kept],
        codes[kept],
        optimizer=optimizer,
        batch_size=settings.batch_size,
        seed=settings.seed,
        validation=None if held_out is None else (rows[held_out], codes[held_out]),
        weights=None if weights is None else weights[kept],
        epochs=settings.epochs,
    )
    best = nncore.Best("validation_loss")
    losses, scores = list[float](), list[float]()
    for _ in range(settings.epochs):
        epoch = training.run_epoch()
        losses.append(epoch.loss)
        if held_out is None:
            continue
        scores.append(epoch.validation_accuracy)
        best.observe(epoch, training)
        if best.waited >= settings.patience:
            break
    # In double precision a row's probabilities do not depend on the rows beside it.
    found = {name: array.astype(np.float64) for name, array in (best.parameters or training.evaluated).items()}
    return LocalFit(settings, classes, mean, scale, found, losses, None if held_out is None else scores)


def _held_out(settings: Settings, codes: Array) -> Array | None:
    """Which rows are held out, about that share of each class; None for no rows."""
    if settings.held_out is None:
        return None
    folds = max(2, round(1 / settings.held_out))
    numbers: Array = load("nncore").stratified_folds(codes, min(folds, len(codes)), settings.seed)
    chosen: Array = numbers == 0
    return chosen
