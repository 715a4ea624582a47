"""The stacked predictor equals a predictor of each member, with every layer, few rows and many."""

import tracemalloc

import numpy as np
import pytest

from nncore import Dense, Dropout, Network, ReLU, Softmax
from nncore.network import Predictor
from nncore.stacked import FEW_ROWS, STACKED_BYTES, StackedPredictor
from testing import cases

LAYERS = [layer for layer in cases.every(cases.LAYERS) if not isinstance(layer, Softmax)]
PLAIN = [Dense(16), ReLU(), Dropout(0.2), Dense(3), Softmax()]


def members_of(layers, inputs, count=5, dtype="float64"):
    """Random parameters and statistics of several networks."""
    generator, members = np.random.default_rng(0), []
    for seed in range(count):
        network = Network(layers, inputs, seed, dtype)
        arrays = {**network.parameters, **network.statistics}
        members.append(
            {name: each + generator.uniform(0.01, 0.3, each.shape).astype(dtype) for name, each in arrays.items()}
        )
    return members


@pytest.mark.parametrize("rows", [0, 1, 7, FEW_ROWS, FEW_ROWS + 1, 1500])
@pytest.mark.parametrize("layer", LAYERS, ids=cases.label)
def test_it_equals_a_predictor_of_each_member(layer, rows):
    layers = [Dense(6), layer, Dense(3, use_bias=False), Softmax()]
    members = members_of(layers, 4)
    x = np.random.default_rng(1).normal(size=(rows, 4))
    found = StackedPredictor(layers, 4, members).predict_proba(x)
    assert found.shape == (5, rows, 3)
    for member, probabilities in zip(members, found, strict=True):
        np.testing.assert_allclose(probabilities, Predictor(layers, 4, member).predict_proba(x), rtol=0, atol=1e-12)


@pytest.mark.parametrize("rows", [1, 20, 100])
def test_in_single_precision(rows):
    members = members_of(PLAIN, 40, dtype="float32")
    assert members[0]["0_dense/bias"].dtype == np.float32
    x = np.random.default_rng(1).normal(size=(rows, 40))
    found = StackedPredictor(PLAIN, 40, members).predict_proba(x)
    assert found.dtype == np.float32
    for member, probabilities in zip(members, found, strict=True):
        np.testing.assert_allclose(probabilities, Predictor(PLAIN, 40, member).predict_proba(x), rtol=0, atol=1e-6)


def test_the_rows_are_left_as_they_are():
    x = np.random.default_rng(1).normal(size=(3, 4))
    before = x.copy()
    layers = [ReLU(), Dense(3), Softmax()]
    StackedPredictor(layers, 4, members_of(layers, 4)).predict_proba(x)
    np.testing.assert_array_equal(x, before)


def test_an_overflow_of_one_member_is_its_own():
    members = members_of(PLAIN, 4)
    members[1]["3_dense/weights"] = np.full((16, 3), np.inf)
    found = StackedPredictor(PLAIN, 4, members).predict_proba(np.ones((2, 4)))
    assert np.isnan(found[1]).all()
    assert np.isfinite(np.delete(found, 1, axis=0)).all()


def test_what_does_not_fit():
    members = members_of(PLAIN, 4)
    with pytest.raises(ValueError, match="at least one member"):
        StackedPredictor(PLAIN, 4, [])
    with pytest.raises(ValueError, match=r"0_dense/bias: missing"):
        StackedPredictor(PLAIN, 4, [*members, {"0_dense/weights": np.zeros((4, 16))}])
    with pytest.raises(ValueError, match=r"x must have shape \(n_samples, 4\)"):
        StackedPredictor(PLAIN, 4, members).predict_proba(np.ones((2, 3)))


@pytest.mark.parametrize("rows", [1, FEW_ROWS + 1])
def test_large_members_are_not_copied(rows):
    """Their arrays are read where they are, however few rows there are."""
    layers = [Dense(512), ReLU(), Dense(512), ReLU(), Dense(3), Softmax()]
    members = members_of(layers, 300, count=4, dtype="float32")
    assert sum(array.nbytes for array in members[0].values()) > STACKED_BYTES
    tracemalloc.start()
    try:
        predictor = StackedPredictor(layers, 300, members)
        assert tracemalloc.get_traced_memory()[1] < STACKED_BYTES / 10
    finally:
        tracemalloc.stop()
    x = np.random.default_rng(1).normal(size=(rows, 300)).astype(np.float32)
    for member, probabilities in zip(members, predictor.predict_proba(x), strict=True):
        np.testing.assert_array_equal(probabilities, Predictor(layers, 300, member).predict_proba(x))
