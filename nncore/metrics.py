"""Classification metrics.

``score`` computes the loss and accuracy that training reports for every epoch. ``evaluate`` computes all metrics, in
float64.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from nncore.arrays import Array
from nncore.losses import FLOOR, CategoricalCrossentropy, Loss, sparse_labels

__all__ = [
    "Average",
    "ClassScores",
    "Evaluation",
    "Score",
    "calibration_error",
    "evaluate",
    "mean_log_loss",
    "score",
]

#: Number of equal-width bins of the top probability for the calibration error.
CALIBRATION_BINS = 15
#: Maximum number of classes for a confusion matrix; a larger one has too many entries to be useful.
MAXIMUM_CONFUSION_CLASSES = 1000


class Score(NamedTuple):
    """Mean loss (cross-entropy in nats) and accuracy, the fraction of correctly classified samples."""

    loss: float
    accuracy: float


@dataclass(frozen=True)
class ClassScores:
    """Metrics of each class against all others, of shape (n_classes,).

    ``precision = TP/(TP+FP)``, ``recall = TP/(TP+FN)`` and ``f1 = 2TP/(2TP+FP+FN)`` are 0 if the denominator is 0.
    ``support`` is the number of samples of the class. ``roc_auc`` is the probability that a random sample of the class
    gets a higher score for it than a random sample of another class, with ties counted half (Hanley and McNeil, 1982).
    It is NaN if no sample or every sample is of the class.
    """

    precision: Array
    recall: Array
    f1: Array
    support: Array
    roc_auc: Array


@dataclass(frozen=True)
class Average:
    """Precision, recall and F1, averaged over the classes."""

    precision: float
    recall: float
    f1: float


@dataclass(frozen=True)
class Evaluation:
    """All metrics of a set of samples. The predicted class is the most probable one, the first one if there are ties.

    - ``balanced_accuracy``: mean recall over the classes that occur in the labels.
    - ``top_k_accuracy``: fraction of samples with the true class among the ``top_k`` most probable ones; ties go to the
      lower class number. None if ``top_k`` is None.
    - ``log_loss``: mean cross-entropy in nats, as in training: probabilities below 1e-7 count as 1e-7.
    - ``brier_score``: mean squared distance between the probabilities and the one-hot label, 0 to 2 (Brier, 1950).
    - ``matthews_correlation``: correlation of predictions and labels (Gorodkin, 2004); 0 if either is constant.
    - ``roc_auc``: mean over the classes with a defined value; NaN if there is none.
    - ``calibration_error``: mean absolute difference between the top probability and the accuracy over 15 bins of equal
      width, open below and closed above, weighted by their number of samples (Guo et al., 2017).
    - ``macro``: mean over the classes that occur in labels or predictions. ``micro``: over all samples; all three equal
      the accuracy. ``weighted``: mean over the classes, weighted by support.
    - ``confusion_matrix``: (n_classes, n_classes) counts of samples; rows are true classes, columns predicted classes.
      None for more than 1,000 classes.
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
    """Return the score of probabilities (n_samples, n_classes) for class numbers (n_samples,).

    ``loss`` defaults to cross-entropy.
    """
    losses = (loss or CategoricalCrossentropy()).forward(probabilities, labels)
    return Score(float(losses.mean(dtype=np.float64)), float((probabilities.argmax(axis=1) == labels).mean()))


def mean_log_loss(probabilities: Array, labels: Array) -> float:
    """Return the mean of ``-log max(p, 1e-7)`` over the samples; p is the probability of a sample's class number."""
    return score(probabilities, labels).loss


def evaluate(probabilities: Array, labels: Array, top_k: int | None = None) -> Evaluation:
    """Return all metrics of probabilities (n_samples, n_classes) for class numbers (n_samples,) or one-hot rows.

    Raises ValueError if there are no samples, a shape is wrong, a value is not a probability, a label is not a class or
    ``top_k`` is not in ``1…n_classes``.
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
        calibration_error=calibration_error(probabilities, true),
        macro=_average(per_class, (support + chosen > 0).astype(np.float64)),
        micro=Average(accuracy, accuracy, accuracy),
        weighted=_average(per_class, support.astype(np.float64)),
        per_class=per_class,
        confusion_matrix=_confusion_matrix(true, predicted, classes) if classes <= MAXIMUM_CONFUSION_CLASSES else None,
    )


def _checked(probabilities: Array, labels: Array, top_k: int | None) -> Array:
    """Check the arguments of ``evaluate`` and return the labels as class numbers (n_samples,)."""
    if probabilities.ndim != 2 or not probabilities.size:
        raise ValueError(f"probabilities must have shape (n_samples, n_classes). Received: {probabilities.shape}")
    samples, classes = probabilities.shape
    if len(labels) != samples:
        raise ValueError(f"there must be {samples} labels, one per row of probabilities. Received: {len(labels)}")
    good = ((probabilities >= 0) & (probabilities <= 1)).all(axis=1)
    if not good.all():
        row = int(np.argmin(good))
        raise ValueError(f"row {row} must hold probabilities from 0 to 1. Received: {probabilities[row].tolist()}")
    if top_k is not None and not 1 <= top_k <= classes:
        raise ValueError(f"top_k must be from 1 to {classes}, the number of classes. Received: {top_k}")
    return sparse_labels(labels, classes)


def _class_scores(hits: Array, support: Array, chosen: Array, probabilities: Array, true: Array) -> ClassScores:
    """Return the metrics of each class; ``hits``, ``support`` and ``chosen`` count, per class, correct predictions,
    samples and predictions.
    """
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
    """Return ``parts / wholes``, and 0 for a whole of 0."""
    return np.divide(parts, wholes, out=np.zeros(len(parts)), where=wholes > 0)


def _area(scores: Array, positive: Array) -> float:
    """Return the area under the ROC curve: the fraction of pairs in which the positive sample scores higher.

    Ties count half.
    """
    above, below = scores[positive], np.sort(scores[~positive])
    wins = np.searchsorted(below, above, "left").sum() + np.searchsorted(below, above, "right").sum()
    return float(wins / (2 * len(above) * len(below)))


def _average(per_class: ClassScores, weights: Array) -> Average:
    """Return the mean of each metric over the classes, weighted by ``weights`` (n_classes,)."""
    means = (float(np.average(one, weights=weights)) for one in (per_class.precision, per_class.recall, per_class.f1))
    return Average(*means)


def _places(probabilities: Array, true: Array) -> Array:
    """Return the rank of each sample's true class, from 0; ties go to the lower class number."""
    of_true = np.take_along_axis(probabilities, true[:, np.newaxis], axis=1)
    before = np.arange(probabilities.shape[1]) < true[:, np.newaxis]
    places: Array = np.where(before, probabilities >= of_true, probabilities > of_true).sum(axis=1)
    return places


def _brier_score(probabilities: Array, true: Array) -> float:
    errors = probabilities.astype(np.float64)  # astype copies even float64
    errors[np.arange(len(true)), true] -= 1.0
    return float(np.einsum("ij,ij->i", errors, errors).mean())


def _matthews_correlation(hits: int, support: Array, chosen: Array) -> float:
    """Return Gorodkin's R_K from the number of correct predictions and, per class, of samples and of predictions."""
    samples = int(support.sum())
    variance = float(samples**2 - int(support @ support)) * float(samples**2 - int(chosen @ chosen))
    covariance = hits * samples - int(support @ chosen)
    return float(covariance / np.sqrt(variance)) if variance else 0.0


def calibration_error(probabilities: Array, labels: Array) -> float:
    """Return the expected calibration error of probabilities (n_samples, n_classes) for class numbers (n_samples,).

    It is ``Σ_b |Σ_{i in b} hit_i - Σ_{i in b} top_i| / n_samples`` over 15 bins b of equal width of the top
    probability (Guo et al., 2017).
    """
    confidence, hits = probabilities.max(axis=1).astype(np.float64), probabilities.argmax(axis=1) == labels
    inner_edges = np.linspace(0.0, 1.0, CALIBRATION_BINS + 1)[1:-1]
    bins = np.digitize(confidence, inner_edges, right=True)
    return float(np.abs(np.bincount(bins, hits - confidence)).sum() / len(labels))


def _confusion_matrix(true: Array, predicted: Array, classes: int) -> Array:
    return np.bincount(true * classes + predicted, minlength=classes * classes).reshape(classes, classes)
