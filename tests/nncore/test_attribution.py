"""Gradients by the input, by central differences for every layer, and against torch."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nncore import BatchNorm, Dense, Dropout, LayerNorm, Network, ReLU, Softmax, Tanh
from nncore.attribution import forward_and_back
from nncore.network import Predictor
from testing import cases
from tests.nncore.support import check_gradient, examples, off_zero


def network_of(layers, inputs, seed, dtype="float64"):
    """A predictor with random parameters, and statistics as after training."""
    network, rng = Network(layers, inputs, dtype=dtype), np.random.default_rng(seed)
    network.parameters.vector[...] = off_zero(rng, network.parameters.vector.shape)
    for name, each in network.statistics.items():
        each[...] = rng.uniform(0.5, 2.0, each.shape) if "variance" in name else rng.normal(size=each.shape)
    return Predictor(layers, inputs, {**network.parameters, **network.statistics})


def check(layers, inputs, samples, seed):
    """Check the probabilities against ``predict_proba`` and the way back against differences of it."""
    predictor, rng = network_of(layers, inputs, seed), np.random.default_rng(seed + 1)
    x = off_zero(rng, (samples, inputs))
    upstream = rng.normal(size=(samples, predictor.predict_proba(x).shape[1]))
    probabilities, back = forward_and_back(predictor, x)
    np.testing.assert_allclose(probabilities, predictor.predict_proba(x), rtol=0, atol=1e-12)
    gradient = back(upstream)
    check_gradient(lambda: float((upstream * predictor.predict_proba(x)).sum()), x, gradient, f"the input of {layers}")


@pytest.mark.parametrize("layer", cases.every(cases.LAYERS), ids=cases.label)
@given(inputs=st.integers(1, 6), samples=st.integers(1, 4), seed=st.integers(0, 1000))
@examples
def test_every_layer_first(layer, inputs, samples, seed):
    """A layer before a dense one and the softmax: its way back ends at the input."""
    check([layer, Dense(3), Softmax()], inputs, samples, seed)


@pytest.mark.parametrize("layer", cases.every(cases.LAYERS), ids=cases.label)
def test_every_layer_twice_between_smooth_ones(layer):
    """A layer within a stack, and once more after itself: no array is overwritten that is read later."""
    check([Dense(5), Tanh(), layer, layer, Dense(4), Softmax()], 3, 4, seed=5)


def test_a_wrong_way_back_is_caught(monkeypatch):
    """By the same check that accepts the right ones."""
    right = Tanh.plan_inference

    def twice_too_long(layer, memory, x, y):
        forward, backward = right(layer, memory, x, y)
        return forward, [*backward, partial(np.multiply, y.gradient, 2.0, out=y.gradient)]

    monkeypatch.setattr(Tanh, "plan_inference", twice_too_long)
    with pytest.raises(AssertionError, match=r"gradient of the input of .*relative error"):
        check([Dense(3), Tanh(), Dense(2), Softmax()], 3, 2, seed=0)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_torch_has_the_same_gradients(dtype):
    torch = pytest.importorskip("torch")
    layers = [Dense(8), BatchNorm(), ReLU(), Dropout(0.5), Dense(6), LayerNorm(), Tanh(), Dense(3), Softmax()]
    predictor, rng = network_of(layers, 4, 2, dtype), np.random.default_rng(3)
    x = rng.normal(size=(9, 4)).astype(dtype)
    upstream = rng.normal(size=(9, 3)).astype(dtype)
    of = [{name: torch.tensor(np.array(array)) for name, array in arrays.items()} for _, arrays in predictor.steps]
    point = torch.tensor(x, requires_grad=True)
    y = point @ of[0]["weights"] + of[0]["bias"]
    normal = of[1]
    y = torch.nn.functional.batch_norm(
        y, normal["running_mean"], normal["running_variance"], normal["gamma"], normal["beta"], eps=layers[1].epsilon
    )
    y = torch.relu(y) @ of[4]["weights"] + of[4]["bias"]
    y = torch.tanh(torch.nn.functional.layer_norm(y, (6,), of[5]["gamma"], of[5]["beta"], eps=layers[5].epsilon))
    theirs = torch.softmax(y @ of[7]["weights"] + of[7]["bias"], dim=1)
    (theirs * torch.tensor(upstream)).sum().backward()
    ours, back = forward_and_back(predictor, x)
    tolerance = 1e-5 if dtype == "float32" else 1e-11
    np.testing.assert_allclose(ours, theirs.detach().numpy(), atol=tolerance)
    np.testing.assert_allclose(back(upstream), point.grad.numpy(), atol=tolerance)
    assert ours.dtype == dtype


def test_nothing_that_is_shared_changes():
    """Parameters and statistics may be read-only views of a file, and threads may use them at once."""
    layers = [Dense(8), BatchNorm(), LayerNorm(), ReLU(), Dense(3, l1=0.1, max_norm=1.0), Softmax()]
    network = Network(layers, 4)
    arrays = {**network.parameters, **network.statistics}
    for array in arrays.values():
        array.flags.writeable = False
    predictor, x = Predictor(layers, 4, arrays), np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)
    kept = x.copy()

    def gradient(_):
        probabilities, back = forward_and_back(predictor, x)
        return back(np.ones_like(probabilities) * np.arange(3, dtype=np.float32))

    alone = gradient(0)
    with ThreadPoolExecutor(4) as pool:
        assert all(np.array_equal(each, alone) for each in pool.map(gradient, range(40)))
    assert np.array_equal(x, kept)


def test_a_wrong_shape_is_refused():
    predictor = network_of([Dense(2), Softmax()], 3, 0)
    with pytest.raises(ValueError, match=r"shape \(n_samples, 3\). Received: \(2, 4\)"):
        forward_and_back(predictor, np.zeros((2, 4)))
