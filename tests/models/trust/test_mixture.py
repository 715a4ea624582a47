"""Mixture weights against a search for the largest likelihood, and by properties."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from models.trust.mixture import PRIOR_ROWS, mixed, mixture_weights


def kinds_of(seed: int, kinds: int, rows: int, classes: int = 3):
    """Random probabilities of kinds that know more or less, and class numbers."""
    rng = np.random.default_rng(seed)
    codes = rng.integers(classes, size=rows)
    probabilities = rng.dirichlet(np.ones(classes), size=(kinds, rows))
    for place, one in enumerate(probabilities):
        known = rng.random(rows) < place / (kinds + 1)
        one[known] = 0.1 * one[known] + 0.9 * np.eye(classes)[codes[known]]
    return probabilities.astype(np.float32), codes


@pytest.mark.parametrize("kinds", [1, 2, 3, 5])
@pytest.mark.parametrize("rows", [3, 40, 1000])
def test_no_weights_have_a_larger_posterior(kinds, rows):
    """As scipy finds them by another way: as a softmax of free numbers."""
    probabilities, codes = kinds_of(kinds + rows, kinds, rows)
    likelihoods = probabilities[:, np.arange(rows), codes].astype(float)

    def cost(free):
        weights = np.exp(free - free.max())
        weights /= weights.sum()
        return -np.log(weights @ likelihoods).sum() - PRIOR_ROWS * np.log(weights).sum()

    found = mixture_weights(probabilities, codes)
    best = minimize(cost, np.zeros(kinds), tol=1e-12)
    assert cost(np.log(found)) <= best.fun + 1e-6 * abs(best.fun)


@given(seed=st.integers(0, 10_000), kinds=st.integers(1, 5), rows=st.integers(0, 60))
@settings(deadline=None, derandomize=True, max_examples=60)
def test_properties(seed, kinds, rows):
    """Positive, of sum 1, and in the order of the kinds whatever that is."""
    probabilities, codes = kinds_of(seed, kinds, rows)
    weights = mixture_weights(probabilities, codes)
    assert weights.shape == (kinds,)
    assert (weights > 0).all()
    assert weights.sum() == pytest.approx(1)
    np.testing.assert_allclose(mixture_weights(probabilities[::-1], codes), weights[::-1], atol=1e-12)
    if rows == 0:
        np.testing.assert_allclose(weights, 1 / kinds)


def test_like_kinds_weigh_alike_and_a_better_one_more():
    probabilities, codes = kinds_of(0, 2, 500)
    same = mixture_weights(probabilities[[0, 0]], codes)
    np.testing.assert_allclose(same, 0.5)
    worse, better = mixture_weights(probabilities, codes)
    assert better > 0.7 > worse


def test_a_true_class_without_a_probability_is_no_division_by_zero():
    zeros = np.zeros((2, 5, 3), np.float32)
    np.testing.assert_allclose(mixture_weights(zeros, np.zeros(5, int)), 0.5)


def test_the_mixture_is_the_weighted_mean():
    probabilities, codes = kinds_of(1, 3, 20)
    weights = mixture_weights(probabilities, codes)
    np.testing.assert_allclose(mixed(probabilities, weights), np.average(probabilities, 0, weights), rtol=1e-6)
    assert mixed(probabilities, weights).dtype == np.float32


@pytest.mark.parametrize(
    ("probabilities", "codes", "message"),
    [
        (np.zeros((3, 2)), np.zeros(3, int), r"shape \(n_kinds, n_rows, n_classes\). Received: \(3, 2\)"),
        (np.zeros((1, 3, 2)), np.zeros(2, int), "3 class numbers"),
        (np.zeros((1, 3, 2)), np.zeros(3), "3 class numbers. Received: float64"),
        (np.zeros((1, 3, 2)), np.array([0, 1, 2]), "from 0 to 1. Received: 0 to 2"),
        (np.full((1, 3, 2), np.nan), np.zeros(3, int), "row 0 must hold probabilities"),
    ],
)
def test_what_is_wrong_is_said(probabilities, codes, message):
    with pytest.raises(ValueError, match=message):
        mixture_weights(probabilities, codes)
