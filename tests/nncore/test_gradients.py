"""Gradients of layers, losses and whole networks, by central differences and by the design's equations."""

from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nncore import CategoricalCrossentropy, Dense, ReLU, Softmax
from nncore.arrays import NamedVector, Workspace
from nncore.kernels.kinds import KINDS
from nncore.layers import layer_type
from nncore.plan import BatchPlan
from testing import cases
from tests.nncore import plain
from tests.nncore.support import LayerRun, check_gradient, check_layer, check_network, examples, kink_free, off_zero


@pytest.mark.parametrize("layer", cases.every(cases.LAYERS), ids=cases.label)
@pytest.mark.parametrize("kind", KINDS)
@given(inputs=st.integers(1, 6), samples=st.integers(1, 5), seed=st.integers(0, 1000))
@examples
def test_every_layer(layer, kind, inputs, samples, seed):
    """Parameters and input, at random points and for random upstream gradients."""
    check_layer(layer, inputs, samples, seed, kind)


@pytest.mark.parametrize(
    "layer",
    [layer for layer in cases.every(cases.LAYERS) if layer_type(layer) not in cases.DIFFERENT_IN_TRAINING],
    ids=cases.label,
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_inference_and_training_agree(layer, dtype):
    """``apply`` on rows gives what the plan gives on columns."""
    rng = np.random.default_rng(3)
    run, x = LayerRun(layer, 7, 11, dtype), rng.normal(size=(11, 7)).astype(dtype)
    run.parameters.vector[...] = rng.normal(size=run.parameters.vector.size)
    kept = x.copy()
    applied = layer.apply(run.parameters.group("0_layer"), x)
    assert applied.dtype == x.dtype
    assert np.array_equal(x, kept)
    np.testing.assert_allclose(run.forward(x), applied, rtol=0, atol=1e-12 if dtype == "float64" else 2e-6)


class SignLost(Dense):
    """A dense layer whose gradient for its input has the wrong sign."""

    def plan(self, memory, x, y):
        forward, backward = super().plan(memory, x, y)
        return forward, [*backward, partial(np.negative, x.gradient, out=x.gradient)]


class BiasForgotten(Dense):
    """A dense layer that never fills the gradient of its bias."""

    def plan(self, memory, x, y):
        forward, backward = super().plan(memory, x, y)
        return forward, [*backward, partial(memory.gradients.named["bias"].fill, 0.0)]


class SlightlyOff(Softmax):
    """A softmax whose gradient is off by a hundred-thousandth."""

    def plan(self, memory, x, y):
        forward, backward = super().plan(memory, x, y)
        return forward, [*backward, partial(np.multiply, y.gradient, 1.00001, out=y.gradient)]


@pytest.mark.parametrize(
    "wrong", [SignLost(3), BiasForgotten(3), SlightlyOff()], ids=lambda layer: type(layer).__name__
)
def test_a_wrong_gradient_is_caught(wrong):
    """By the same checker that accepts the right ones."""
    with pytest.raises(AssertionError, match=r"gradient of the (parameters|input) of .*relative error"):
        check_layer(wrong, inputs=4, samples=3, seed=0)


@st.composite
def labelled(draw):
    """Probabilities off the floor, and a label a row."""
    samples, classes = draw(st.integers(1, 6)), draw(st.integers(2, 6))
    rng = np.random.default_rng(draw(st.integers(0, 1000)))
    probabilities = rng.uniform(0.05, 1.0, (samples, classes))
    labels = draw(st.lists(st.integers(0, classes - 1), min_size=samples, max_size=samples))
    return probabilities / probabilities.sum(axis=1, keepdims=True), np.array(labels)


@given(labelled(), st.booleans())
@examples
def test_cross_entropy(case, one_hot):
    """The gradient of the mean loss, for sparse and for one-hot labels."""
    probabilities, labels = case
    given_labels = np.eye(probabilities.shape[1])[labels] if one_hot else labels
    loss = CategoricalCrossentropy()
    gradient = loss.backward(probabilities, given_labels)
    check_gradient(lambda: float(loss.forward(probabilities, given_labels).mean()), probabilities, gradient, "the loss")
    expected = -np.log(probabilities[np.arange(len(labels)), labels])
    np.testing.assert_array_equal(loss.forward(probabilities, given_labels), expected)


def test_cross_entropy_keeps_probabilities_off_zero():
    """A probability of 0 counts as 1e-7, in the loss and in its gradient."""
    probabilities, labels = np.array([[0.0, 1.0], [1e-8, 1.0]]), np.array([0, 0])
    loss = CategoricalCrossentropy()
    assert loss.forward(probabilities, labels) == pytest.approx([-np.log(1e-7)] * 2)
    np.testing.assert_allclose(loss.backward(probabilities, labels), [[-0.5e7, 0.0], [-0.5e7, 0.0]], rtol=1e-12)


@given(case=labelled(), seed=st.integers(0, 1000))
@examples
def test_softmax_applies_its_jacobian(case, seed):
    """The backward pass is the product with ``S_ij(δ_jk − S_ik)``, written out for each sample."""
    shape = case[0].shape
    rng = np.random.default_rng(seed)
    run = LayerRun(Softmax(), shape[1], shape[0])
    s = run.forward(rng.normal(size=shape))
    upstream = rng.normal(size=shape)
    _, gradient = run.backward(upstream)
    expected = [plain.softmax_jacobian(row) @ g for row, g in zip(s, upstream, strict=True)]
    np.testing.assert_allclose(gradient, expected, rtol=1e-12, atol=1e-15)


@given(samples=st.integers(1, 8), classes=st.integers(2, 7), seed=st.integers(0, 1000))
@examples
def test_the_fused_and_the_separate_path_agree(samples, classes, seed):
    """Softmax after cross-entropy's own backward gives what the fused gradient gives, to rounding."""
    rng = np.random.default_rng(seed)
    logits, labels = rng.normal(size=(samples, classes)) * 3, rng.integers(0, classes, samples)
    run = LayerRun(Softmax(), classes, samples)
    probabilities = run.forward(logits)
    _, separate = run.backward(CategoricalCrossentropy().backward(probabilities, labels))

    signal = LayerRun._signal(classes, samples, "float64")
    signal.values[...] = logits.T
    fused = CategoricalCrossentropy().plan_fused(signal, labels, Workspace("float64"))
    for call in fused.forward + fused.backward:
        call()
    np.testing.assert_allclose(signal.gradient.T, separate, rtol=0, atol=1e-15)
    losses = CategoricalCrossentropy().forward(probabilities, labels)
    assert -float(fused.total) == pytest.approx(losses.sum(), rel=1e-12)
    assert fused.hits.tolist() == (probabilities.argmax(axis=1) == labels).tolist()


@given(
    hidden=st.lists(st.integers(1, 5), max_size=2),
    relu_first=st.booleans(),
    inputs=st.integers(1, 4),
    labels=st.lists(st.integers(0, 2), min_size=1, max_size=6),
    l2=st.sampled_from([0.0, 0.03]),
    seed=st.integers(0, 1000),
)
@examples
def test_whole_networks(hidden, relu_first, inputs, labels, l2, seed):
    """Every parameter of random stacks, penalties included, also if a ReLU is applied to the data itself."""
    layers = [ReLU()] if relu_first else []
    for units in hidden:
        layers += [Dense(units, l2=l2), ReLU()]
    check_network([*layers, Dense(3, l2=l2), Softmax()], inputs, labels, seed)


def test_a_softmax_inside_a_stack():
    """It is a layer like any other."""
    check_network([Dense(4), Softmax(), Dense(3), Softmax()], 3, [0, 1, 2, 2], seed=5)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_relu_lets_nothing_through_at_zero_and_below(dtype):
    """The gradient is exactly 0 for z ≤ 0, including 0 and -0, and exactly the upstream gradient for z > 0."""
    z = np.array([[-1.0, -0.0, 0.0, np.finfo(dtype).tiny, 2.0, -np.finfo(dtype).tiny]])
    run = LayerRun(ReLU(), 6, 1, dtype)
    run.forward(z)
    upstream = off_zero(np.random.default_rng(0), (1, 6)).astype(dtype)
    _, gradient = run.backward(upstream)
    assert gradient.tolist() == [[0.0, 0.0, 0.0, upstream[0, 3], upstream[0, 4], 0.0]]


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("inputs", [3, 4 * 5])
def test_a_batch_plan_follows_the_plain_equations(inputs, classes):
    """Loss and all gradients equal the design's equations, in the plainest transcription."""
    layers = [Dense(5, l2=0.01), ReLU(), Dense(classes), Softmax()]
    network, x = kink_free(layers, inputs, 9, seed=2)
    labels = np.arange(9) % classes
    gradients = NamedVector.zeros(network.parameters.shapes, np.float64)
    plan = BatchPlan(network, gradients, 9, Workspace("float64"), np.random.default_rng(0))
    plan.rows[:, :-1], plan.rows[:, -1], plan.labels[...] = x, 1.0, labels
    plan.run()
    loss, expected = plain.loss_and_gradients(layers, network.parameters, x, labels)
    assert plan.loss_sum / 9 + network.penalty() == pytest.approx(loss, rel=1e-12)
    for name, gradient in expected.items():
        np.testing.assert_allclose(gradients[name], gradient, rtol=1e-10, atol=1e-13)
