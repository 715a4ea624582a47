"""Disagreement against a mutual information by scikit-learn, and at its ends."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import entropy

from models.trust.disagreement import disagreement
from models.trust.mixture import mixed


def members_of(seed, count, rows, classes, dtype="float64"):
    rng = np.random.default_rng(seed)
    weights = rng.dirichlet(np.ones(count))
    return rng.dirichlet(np.ones(classes), (count, rows)).astype(dtype), weights


@given(seed=st.integers(0, 10_000), count=st.integers(1, 6), classes=st.integers(2, 5))
@settings(deadline=None, derandomize=True, max_examples=50)
def test_it_is_the_mutual_information(seed, count, classes):
    """As the entropy of the mixture less the mean entropy, by scipy, in units of log(classes)."""
    members, weights = members_of(seed, count, 7, classes)
    found = disagreement(members, mixed(members, weights), weights)
    inner = np.einsum("m,mn->n", weights, entropy(members, axis=2))
    expected = (entropy(mixed(members, weights), axis=1) - inner) / np.log(classes)
    np.testing.assert_allclose(found, expected.clip(0, 1), atol=1e-12)
    assert ((found >= 0) & (found <= 1)).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("classes", [2, 3, 10])
def test_its_ends(classes, dtype):
    certain = np.eye(classes, dtype=dtype)[:, np.newaxis, :]
    equal = np.full(classes, 1 / classes)
    assert disagreement(certain, mixed(certain, equal), equal)[0] == pytest.approx(1)
    same = np.repeat(np.random.default_rng(0).dirichlet(np.ones(classes), (1, 50)), classes, axis=0).astype(dtype)
    found = disagreement(same, mixed(same, equal), equal)
    assert found.dtype == dtype
    np.testing.assert_allclose(found, 0, atol=1e-6)


def test_one_class_leaves_nothing_to_disagree_about():
    ones = np.ones((3, 4, 1), np.float32)
    assert np.array_equal(disagreement(ones, ones[0], np.full(3, 1 / 3)), np.zeros(4, np.float32))


def test_a_row_that_is_not_finite_stays_so_alone():
    members, weights = members_of(0, 3, 2, 2)
    members[1, 0] = np.nan
    found = disagreement(members, mixed(members, weights), weights)
    assert np.isnan(found[0])
    assert np.isfinite(found[1])
