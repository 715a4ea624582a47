"""Measures of how well probabilities fit labels.

``score`` is the pair that training tells of every epoch. ``evaluate`` gives all measures at once, computed in float64.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from nncore.arrays import Array
from nncore.losses import FLOOR, CategoricalCrossentropy, Loss, sparse_labels

__all__ = ["Average", "ClassScores", "Evaluation", "Score", "evaluate", "score"]

#: Bins of the top probability, of equal width, over which calibration is judged.
CALIBRATION_BINS = 15
#: With more classes than this there is no confusion matrix: it would hold more numbers than anybody reads.
MAXIMUM_CONFUSION_CLASSES = 1000


class Score(NamedTuple):
    """Mean loss (cross-entropy: in nats), and the share of samples whose most probable class is the true one."""

    loss: float
    accuracy: float


@dataclass(frozen=True)
class ClassScores:
    """Measures of each class against the rest, all of shape (n_classes,).

    ``precision = TP/(TP+FP)``, ``recall = TP/(TP+FN)`` and ``f1 = 2TP/(2TP+FP+FN)`` are 0 where the denominator is;
    ``support`` counts the class's samples. ``roc_auc`` is the chance that a sample of the class gets a higher
    probability for it than a sample of the rest, ties counted half (Hanley and McNeil, 1982); NaN where the samples
    are none or all of the class.
    """

    precision: Array
    recall: Array
    f1: Array
    support: Array
    roc_auc: Array


@dataclass(frozen=True)
class Average:
    """Precision, recall and F1 over the classes."""

    precision: float
    recall: float
    f1: float


@dataclass(frozen=True)
class Evaluation:
    """All measures of one set of samples; what is predicted is the most probable class, the first of equal ones.

    - ``balanced_accuracy``: mean recall over the classes that the labels name.
    - ``top_k_accuracy``: share of samples whose true class is among the ``top_k`` most probable, of equal ones the
      first; None where no ``top_k`` was asked for.
    - ``log_loss``: mean cross-entropy in nats, the loss that training tells: probabilities below 1e-7 count as 1e-7.
    - ``brier_score``: mean squared distance between a row and the one-hot row of its label, from 0 to 2 (Brier, 1950).
    - ``matthews_correlation``: correlation of predictions and labels (Gorodkin, 2004); 0 where either is constant.
    - ``roc_auc``: mean over the classes that have one; NaN where none has.
    - ``calibration_error``: mean distance between the top probability and how often it is right, over 15 bins of
      equal width, open below and closed above, weighted by their samples (Guo et al., 2017).
    - ``macro``: mean over the classes that labels or predictions name; ``micro``: over all samples, where the three
      equal the accuracy; ``weighted``: mean over the classes by their support.
    - ``confusion_matrix``: (n_classes, n_classes) counts of samples, true classes down, predicted ones across; None
      for more than 1,000 classes.
    """

    samples: int
    accuracy: float
    balanced_accuracy: float
    top_k: int | None
    top_k_accuracy: float | None
    log_loss: float
    brier_score: float
    matthews_correlation: float
    roc_auc: float
    calibration_error: float
    macro: Average
    micro: Average
    weighted: Average
    per_class: ClassScores
    confusion_matrix: Array | None


def score(probabilities: Array, labels: Array, loss: Loss | None = None) -> Score:
    """Score probabilities of shape (n_samples, n_classes) against class numbers of shape (n_samples,).

    ``loss`` is the cross-entropy where none is given.
    """
    losses = (loss or CategoricalCrossentropy()).forward(probabilities, labels)
    return Score(float(losses.mean(dtype=np.float64)), float((probabilities.argmax(axis=1) == labels).mean()))


def evaluate(probabilities: Array, labels: Array, top_k: int | None = None) -> Evaluation:
    """Every measure of probabilities (n_samples, n_classes) against class numbers (n_samples,) or one-hot rows.

    Raises ValueError for no samples, another shape, a number that is no probability, a label that is no class, or a
    ``top_k`` outside ``1…n_classes``.
    """
    true = _checked(probabilities, labels, top_k)
    samples, classes = probabilities.shape
    predicted = probabilities.argmax(axis=1)
    hits = predicted == true
    of_true = probabilities[np.arange(samples), true].astype(np.float64)
    support, chosen = np.bincount(true, minlength=classes), np.bincount(predicted, minlength=classes)
    per_class = _class_scores(np.bincount(true[hits], minlength=classes), support, chosen, probabilities, true)
    accuracy, known = float(hits.mean()), ~np.isnan(per_class.roc_auc)
    return Evaluation(
        samples=samples,
        accuracy=accuracy,
        balanced_accuracy=float(per_class.recall[support > 0].mean()),
        top_k=top_k,
        top_k_accuracy=None if top_k is None else float((_places(probabilities, true) < top_k).mean()),
        log_loss=float(-np.log(np.maximum(of_true, FLOOR)).mean()),
        brier_score=_brier_score(probabilities, true),
        matthews_correlation=_matthews_correlation(int(hits.sum()), support, chosen),
        roc_auc=float(per_class.roc_auc[known].mean()) if known.any() else np.nan,
        calibration_error=_calibration_error(probabilities.max(axis=1), hits),
        macro=_average(per_class, (support + chosen > 0).astype(np.float64)),
        micro=Average(accuracy, accuracy, accuracy),
        weighted=_average(per_class, support.astype(np.float64)),
        per_class=per_class,
        confusion_matrix=_confusion_matrix(true, predicted, classes) if classes <= MAXIMUM_CONFUSION_CLASSES else None,
    )


def _checked(probabilities: Array, labels: Array, top_k: int | None) -> Array:
    """The labels as class numbers of shape (n_samples,)."""
    if probabilities.ndim != 2 or not probabilities.size:
        raise ValueError(f"probabilities must have shape (n_samples, n_classes). Received: {probabilities.shape}")
    samples, classes = probabilities.shape
    if len(labels) != samples:
        raise ValueError(f"labels must be {samples}, one a row of probabilities. Received: {len(labels)}")
    good = ((probabilities >= 0) & (probabilities <= 1)).all(axis=1)
    if not good.all():
        row = int(np.argmin(good))
        raise ValueError(f"row {row} must hold probabilities from 0 to 1. Received: {probabilities[row].tolist()}")
    if top_k is not None and not 1 <= top_k <= classes:
        raise ValueError(f"top_k must be from 1 to {classes}, the classes. Received: {top_k}")
    return sparse_labels(labels, classes)


def _class_scores(hits: Array, support: Array, chosen: Array, probabilities: Array, true: Array) -> ClassScores:
    """Measures by class from counts (n_classes,) of right predictions, of samples and of predictions."""
    areas = np.full(len(support), np.nan)
    for number in np.flatnonzero((support > 0) & (support < len(true))).tolist():
        areas[number] = _area(probabilities[:, number], true == number)
    return ClassScores(
        precision=_ratio(hits, chosen),
        recall=_ratio(hits, support),
        f1=_ratio(2 * hits, support + chosen),
        support=support,
        roc_auc=areas,
    )


def _ratio(parts: Array, wholes: Array) -> Array:
    """``parts / wholes``, 0 where the whole is."""
    return np.divide(parts, wholes, out=np.zeros(len(parts)), where=wholes > 0)


def _area(scores: Array, positive: Array) -> float:
    """Area under the ROC curve: of all pairs, the share where the positive sample's score is higher, ties half."""
    above, below = scores[positive], np.sort(scores[~positive])
    wins = np.searchsorted(below, above, "left").sum() + np.searchsorted(below, above, "right").sum()
    return float(wins / (2 * len(above) * len(below)))


def _average(per_class: ClassScores, weights: Array) -> Average:
    """The mean of each measure over the classes, by ``weights`` (n_classes,)."""
    means = (float(np.average(one, weights=weights)) for one in (per_class.precision, per_class.recall, per_class.f1))
    return Average(*means)


def _places(probabilities: Array, true: Array) -> Array:
    """How many classes stand before each sample's true one, the most probable first and equal ones in their order."""
    of_true = np.take_along_axis(probabilities, true[:, np.newaxis], axis=1)
    before = np.arange(probabilities.shape[1]) < true[:, np.newaxis]
    places: Array = np.where(before, probabilities >= of_true, probabilities > of_true).sum(axis=1)
    return places


def _brier_score(probabilities: Array, true: Array) -> float:
    errors = probabilities.astype(np.float64)  # a copy also of float64
    errors[np.arange(len(true)), true] -= 1.0
    return float(np.einsum("ij,ij->i", errors, errors).mean())


def _matthews_correlation(hits: int, support: Array, chosen: Array) -> float:
    """Gorodkin's R_K from the number of right predictions, and by class the number of samples and of predictions."""
    samples = int(support.sum())
    variance = float(samples**2 - int(support @ support)) * float(samples**2 - int(chosen @ chosen))
    covariance = hits * samples - int(support @ chosen)
    return float(covariance / np.sqrt(variance)) if variance else 0.0


def _calibration_error(top: Array, hits: Array) -> float:
    """``Σ_b |Σ_{i in b} hit_i - Σ_{i in b} top_i| / n_samples`` over the bins b of the top probability."""
    confidence = top.astype(np.float64)
    inner_edges = np.linspace(0.0, 1.0, CALIBRATION_BINS + 1)[1:-1]
    bins = np.digitize(confidence, inner_edges, right=True)
    return float(np.abs(np.bincount(bins, hits - confidence)).sum() / len(top))


def _confusion_matrix(true: Array, predicted: Array, classes: int) -> Array:
    return np.bincount(true * classes + predicted, minlength=classes * classes).reshape(classes, classes)
