"""Losses in a batch's plan: by central differences, against torch, with weights; and the weights of classes."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.utils.class_weight import compute_class_weight

from nncore import CategoricalCrossentropy, FocalLoss
from nncore.arrays import Workspace
from nncore.layers import Signal
from nncore.losses import class_weights
from testing import cases
from tests.nncore.support import check_gradient, examples


class Fused:
    """A loss's plan over logits (n_samples, n_classes), whose memory begins as NaN."""

    def __init__(self, loss, labels, classes, weights=None, dtype="float64"):
        self.logits = np.full((classes, len(labels)), np.nan, dtype)
        self.gradient = np.full((classes, len(labels)), np.nan, dtype)
        signal = Signal(self.logits, self.logits, self.gradient)
        weights = None if weights is None else np.asarray(weights, dtype)
        self.plan = loss.plan_fused(signal, np.asarray(labels), Workspace(dtype), weights)

    def run(self, logits):
        """Sum of the losses, and the gradient of their mean by the logits."""
        self.logits[...] = logits.T
        for call in self.plan.forward + self.plan.backward:
            call()
        return -float(self.plan.total), self.gradient.T.copy()


@st.composite
def batches(draw):
    """Logits, labels and weights of a few samples."""
    samples, classes = draw(st.integers(1, 6)), draw(st.integers(2, 5))
    rng = np.random.default_rng(draw(st.integers(0, 1000)))
    weights = rng.uniform(0.0, 3.0, samples) if draw(st.booleans()) else None
    return rng.normal(size=(samples, classes)) * 2, rng.integers(0, classes, samples), weights


@pytest.mark.parametrize("loss", cases.every(cases.LOSSES), ids=cases.label)
@given(batch=batches())
@examples
def test_every_gradient_in_a_plan(loss, batch):
    """The fused gradient is the slope of the fused loss; both are those of the separate path."""
    logits, labels, weights = batch
    samples, classes = logits.shape
    fused = Fused(loss, labels, classes, weights)
    point = logits.copy()
    total, gradient = fused.run(point)
    check_gradient(lambda: fused.run(point)[0] / samples, point, gradient, f"the logits under {loss}")
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares /= shares.sum(axis=1, keepdims=True)
    counted = np.ones(samples) if weights is None else weights
    np.testing.assert_allclose(total, (loss.forward(shares, labels) * counted).sum(), rtol=1e-9, atol=1e-9)
    by_shares = loss.backward(shares, labels) * counted[:, np.newaxis]
    expected = shares * (by_shares - (shares * by_shares).sum(axis=1, keepdims=True))
    np.testing.assert_allclose(gradient, expected, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("loss", cases.every(cases.LOSSES), ids=cases.label)
def test_the_separate_gradient(loss):
    """``∂L/∂ŷ`` by central differences."""
    rng = np.random.default_rng(0)
    shares, labels = rng.uniform(0.1, 0.9, (5, 4)), rng.integers(0, 4, 5)
    check_gradient(
        lambda: float(loss.forward(shares, labels).mean()), shares, loss.backward(shares, labels), repr(loss)
    )


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.7])
def test_label_smoothing_is_torchs(smoothing):
    """Loss and gradient."""
    rng = np.random.default_rng(1)
    logits, labels = rng.normal(size=(9, 4)), rng.integers(0, 4, 9)
    total, gradient = Fused(CategoricalCrossentropy(label_smoothing=smoothing), labels, 4).run(logits)
    theirs = torch.tensor(logits, requires_grad=True)
    loss = torch.nn.functional.cross_entropy(theirs, torch.tensor(labels), label_smoothing=smoothing)
    loss.backward()
    assert total / 9 == pytest.approx(float(loss.detach()), rel=1e-12)
    np.testing.assert_allclose(gradient, theirs.grad.numpy(), rtol=0, atol=1e-12)


def test_without_focus_the_focal_loss_is_cross_entropy():
    """γ = 0 minds all samples alike."""
    rng = np.random.default_rng(2)
    logits, labels = rng.normal(size=(9, 4)), rng.integers(0, 4, 9)
    ours, plain = (Fused(loss, labels, 4).run(logits) for loss in (FocalLoss(gamma=0.0), CategoricalCrossentropy()))
    assert ours[0] == pytest.approx(plain[0], rel=1e-12)
    np.testing.assert_allclose(ours[1], plain[1], rtol=0, atol=1e-12)


@pytest.mark.parametrize("loss", cases.every(cases.LOSSES), ids=cases.label)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_certainty_is_no_trouble(loss, dtype):
    """Right or wrong without a doubt, loss and gradient stay finite."""
    logits = np.array([[200.0, -200.0], [-200.0, 200.0]], dtype)
    total, gradient = Fused(loss, [0, 0], 2, dtype=dtype).run(logits)
    assert np.isfinite(total)
    assert np.isfinite(gradient).all()


@given(st.lists(st.integers(0, 4), min_size=1, max_size=40))
@examples
def test_balanced_weights_are_scikit_learns(labels):
    """For the classes that occur; the others count nothing."""
    present = np.unique(labels)
    expected = np.zeros(5)
    expected[present] = compute_class_weight("balanced", classes=present, y=np.array(labels))
    np.testing.assert_allclose(class_weights("balanced", np.array(labels), 5), expected, rtol=1e-12)


@pytest.mark.parametrize("wrong", [[1.0], [1.0, -1.0], [1.0, np.nan]])
def test_wrong_weights_are_refused(wrong):
    """One finite number, 0 or more, a class."""
    with pytest.raises(ValueError, match="class weights must be 2 numbers"):
        class_weights(wrong, np.array([0, 1]), 2)
