"""Measures of probabilities against labels: those of scikit-learn, plain loops for the rest, and properties."""

import math
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nncore.metrics import evaluate, score
from tests.nncore.support import examples

# scikit-learn warns of absent classes, which are meant here.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:sklearn")


class Case(NamedTuple):
    """Probabilities (n_samples, n_classes), each above 0, and class numbers (n_samples,)."""

    probabilities: np.ndarray
    labels: np.ndarray

    @property
    def classes(self):
        return list(range(self.probabilities.shape[1]))


@st.composite
def cases(draw):
    """Two to six classes, any of them absent; in half of the cases most probabilities are tied."""
    samples, classes = draw(st.integers(1, 40)), draw(st.integers(2, 6))
    present = draw(st.lists(st.integers(0, classes - 1), min_size=1, max_size=classes, unique=True))
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    raw = 1.0 + rng.multinomial(4, np.full(classes, 1 / classes), samples)
    if draw(st.booleans()):
        raw = rng.uniform(0.01, 1, (samples, classes))
    return Case(raw / raw.sum(axis=1, keepdims=True), rng.choice(present, samples))


@pytest.fixture(scope="module")
def oracle():
    """scikit-learn's metrics."""
    return pytest.importorskip("sklearn.metrics")


def near(value):
    return pytest.approx(value, rel=1e-12, abs=1e-12)


@given(case=cases())
@examples
def test_measures_of_all_samples(oracle, case):
    """Each is equal to that of scikit-learn."""
    probabilities, labels = case
    result, predicted = evaluate(probabilities, labels), probabilities.argmax(axis=1)
    brier = oracle.brier_score_loss(labels, probabilities, labels=case.classes, scale_by_half=False)
    assert result.samples == len(labels)
    assert result.accuracy == near(oracle.accuracy_score(labels, predicted))
    assert result.balanced_accuracy == near(oracle.balanced_accuracy_score(labels, predicted))
    assert result.log_loss == near(oracle.log_loss(labels, probabilities, labels=case.classes))
    assert result.brier_score == near(brier)
    assert result.matthews_correlation == near(oracle.matthews_corrcoef(labels, predicted))
    matrix = oracle.confusion_matrix(labels, predicted, labels=case.classes)
    assert result.confusion_matrix.tolist() == matrix.tolist()


@given(case=cases())
@examples
def test_precision_recall_and_f1(oracle, case):
    """By class and averaged; 0/0 counts as 0."""
    probabilities, labels = case
    result, predicted = evaluate(probabilities, labels), probabilities.argmax(axis=1)
    scores = oracle.precision_recall_fscore_support
    by_class = scores(labels, predicted, labels=case.classes, zero_division=0)
    for own, other in zip(("precision", "recall", "f1", "support"), by_class, strict=True):
        assert getattr(result.per_class, own).tolist() == near(other.tolist())
    for kind in ("macro", "micro", "weighted"):
        precision, recall, f1, _ = scores(labels, predicted, average=kind, zero_division=0)
        average = getattr(result, kind)
        assert (average.precision, average.recall, average.f1) == near((precision, recall, f1))


@given(case=cases())
@examples
def test_roc_auc(oracle, case):
    """One class against the rest; NaN if only one of the two occurs, and left out of the mean."""
    probabilities, labels = case
    result = evaluate(probabilities, labels)
    known = []
    for number, area in enumerate(result.per_class.roc_auc.tolist()):
        if 0 < (labels == number).sum() < len(labels):
            known.append(oracle.roc_auc_score(labels == number, probabilities[:, number]))
            assert area == near(known[-1])
        else:
            assert math.isnan(area)
    if known:
        assert result.roc_auc == near(sum(known) / len(known))
    else:
        assert math.isnan(result.roc_auc)
    if len(known) == len(case.classes) > 2:
        assert result.roc_auc == near(oracle.roc_auc_score(labels, probabilities, multi_class="ovr"))


@given(case=cases())
@examples
def test_top_k_accuracy(oracle, case):
    """Of equal classes the first one counts, as in predictions; scikit-learn takes the last, so it gets a mirror."""
    probabilities, labels = case
    for k in range(1, len(case.classes) + 1):
        value = evaluate(probabilities, labels, top_k=k).top_k_accuracy
        order = np.argsort(-probabilities, axis=1, kind="stable")[:, :k]
        assert value == near((order == labels[:, np.newaxis]).any(axis=1).mean())
        if len(case.classes) > 2:
            mirrored = len(case.classes) - 1 - labels
            other = oracle.top_k_accuracy_score(mirrored, probabilities[:, ::-1], k=k, labels=case.classes)
            assert value == near(other)
    assert evaluate(probabilities, labels, top_k=1).top_k_accuracy == near(evaluate(probabilities, labels).accuracy)
    assert evaluate(probabilities, labels, top_k=len(case.classes)).top_k_accuracy == 1.0
    assert evaluate(probabilities, labels).top_k_accuracy is None


@given(case=cases())
@examples
def test_calibration_error(case):
    """By a loop over the bins, each open below and closed above."""
    probabilities, labels = case
    total = 0.0
    for number in range(15):
        below, above = number / 15, (number + 1) / 15
        inside = [
            (max(row), int(np.argmax(row)) == label)
            for row, label in zip(probabilities.tolist(), labels, strict=True)
            if below < max(row) <= above
        ]
        if inside:
            confidence, accuracy = (sum(column) / len(inside) for column in zip(*inside, strict=True))
            total += len(inside) / len(labels) * abs(accuracy - confidence)
    assert evaluate(probabilities, labels).calibration_error == near(total)


def test_a_bin_ends_with_its_upper_edge():
    """0.8 is the end of the twelfth of fifteen bins, so 0.81 lies in another one."""
    result = evaluate(np.array([[0.8, 0.2], [0.81, 0.19]]), np.array([0, 1]))
    assert result.calibration_error == near((0.2 + 0.81) / 2)


def test_a_perfect_classifier():
    """Best values everywhere, also for probabilities of 0 and 1."""
    labels = np.array([2, 0, 1, 1])
    result = evaluate(np.eye(3)[labels], labels, top_k=2)
    for name in ("accuracy", "balanced_accuracy", "top_k_accuracy", "matthews_correlation", "roc_auc"):
        assert getattr(result, name) == 1.0
    for name in ("log_loss", "brier_score", "calibration_error"):
        assert getattr(result, name) == 0.0
    assert result.macro == result.micro == result.weighted
    assert result.confusion_matrix.tolist() == [[1, 0, 0], [0, 2, 0], [0, 0, 1]]


def test_a_classifier_that_is_wrong_and_sure():
    """The loss is bounded as in training, the other measures are at their worst."""
    result = evaluate(np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([1, 0]))
    assert result.log_loss == near(-math.log(1e-7))
    assert (result.brier_score, result.matthews_correlation, result.roc_auc) == (2.0, -1.0, 0.0)
    assert (result.accuracy, result.calibration_error) == (0.0, 1.0)


@given(case=cases())
@examples
def test_loss_and_accuracy_are_those_of_training(case):
    """Also of single precision, whose numbers are summed in double."""
    single = case.probabilities.astype(np.float32)
    for probabilities, tolerance in ((case.probabilities, 1e-12), (single, 1e-6)):
        result, trained = evaluate(probabilities, case.labels), score(probabilities, case.labels)
        assert result.log_loss == pytest.approx(trained.loss, rel=tolerance)
        assert result.accuracy == trained.accuracy
    double = evaluate(single.astype(np.float64), case.labels, top_k=2)
    assert str(evaluate(single, case.labels, top_k=2)) == str(double)


@given(case=cases(), seed=st.integers(0, 1000))
@examples
def test_the_order_of_samples_does_not_matter(case, seed):
    """Labels as class numbers or one-hot rows give the same; the arguments do not change."""
    before = case.probabilities.copy()
    result = evaluate(*case, top_k=2)
    order = np.random.default_rng(seed).permutation(len(case.labels))
    other = evaluate(case.probabilities[order], np.eye(len(case.classes), dtype=int)[case.labels[order]], top_k=2)
    assert (case.probabilities == before).all()
    for name in ("log_loss", "brier_score", "calibration_error", "accuracy", "top_k_accuracy", "matthews_correlation"):
        assert getattr(result, name) == near(getattr(other, name))
    np.testing.assert_array_equal(result.per_class.roc_auc, other.per_class.roc_auc)


def test_many_classes_have_no_confusion_matrix():
    """A thousand still have one."""
    for classes, there in ((1000, True), (1001, False)):
        result = evaluate(np.full((2, classes), 1 / classes), np.array([0, classes - 1]))
        assert (result.confusion_matrix is not None) == there
        assert result.per_class.support.sum() == 2


GOOD = np.array([[0.5, 0.5], [0.25, 0.75]])


@pytest.mark.parametrize(
    ("probabilities", "labels", "top_k", "told"),
    [
        (GOOD[0], [0, 1], None, r"shape \(n_samples, n_classes\). Received: \(2,\)"),
        (GOOD[:0], [], None, r"shape \(n_samples, n_classes\). Received: \(0, 2\)"),
        (GOOD, [0], None, "there must be 2 labels, one per row of probabilities. Received: 1"),
        (GOOD, [0, 2], None, "label 1 must be from 0 to 1. Received: 2"),
        (GOOD, [0, -1], None, "label 1 must be from 0 to 1. Received: -1"),
        (np.array([[0.5, 0.5], [np.nan, 1.0]]), [0, 1], None, r"row 1 must hold .* Received: \[nan, 1.0\]"),
        (np.array([[0.5, 0.5], [1.5, -0.5]]), [0, 1], None, r"row 1 must hold .* Received: \[1.5, -0.5\]"),
        (GOOD, [0, 1], 3, "top_k must be from 1 to 2, the number of classes. Received: 3"),
        (GOOD, [0, 1], 0, "top_k must be from 1 to 2, the number of classes. Received: 0"),
    ],
)
def test_what_cannot_be_judged(probabilities, labels, top_k, told):
    """The message names the place, a valid value and the value received."""
    with pytest.raises(ValueError, match=told):
        evaluate(probabilities, np.array(labels, int), top_k)
