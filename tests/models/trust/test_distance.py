"""The distance against scipy's Mahalanobis distance and scikit-learn's principal components, and what it detects."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from models.trust.distance import FARTHEST, RANK, RIDGE, Distance


def correlated(seed, rows, inputs, rank=3):
    """Rows near a subspace."""
    rng = np.random.default_rng(seed)
    plane = np.random.default_rng(99).normal(size=(rank, inputs))
    return rng.normal(size=(rows, rank)) @ plane + 0.3 * rng.normal(size=(rows, inputs))


@pytest.mark.parametrize("common", [True, False])
@pytest.mark.parametrize("inputs", [1, 2, 17, RANK])
def test_it_is_the_mahalanobis_distance(inputs, common):
    """With the ridge on the covariance, in a unit of its own, if there are few inputs."""
    x, new = correlated(0, 500, inputs), correlated(1, 50, inputs) * 2
    scale = 1 if common else x.std(axis=0)
    covariance = np.atleast_2d(np.cov((x / scale).T, bias=True))
    covariance += RIDGE * np.trace(covariance) / inputs * np.eye(inputs)
    expected = cdist(new / scale, x.mean(axis=0, keepdims=True) / scale, "mahalanobis", VI=np.linalg.inv(covariance))[
        :, 0
    ]
    found = Distance.fit(x, common=common).of_rows(new)
    np.testing.assert_allclose(found / found[0], expected / expected[0], rtol=2e-3)


@pytest.mark.parametrize("inputs", [RANK + 1, RANK + 30, 300])
def test_many_inputs_are_principal_components(inputs):
    """Scikit-learn's likelihood under probabilistic components has the same squares, but for the ridge."""
    decomposition = pytest.importorskip("sklearn.decomposition")
    x, new = correlated(0, 2000, inputs, rank=10), correlated(1, 40, inputs, rank=10) * 3
    theirs = decomposition.PCA(RANK, svd_solver="full").fit(x)
    z = new - x.mean(axis=0)
    along = z @ theirs.components_.T
    variances = theirs.explained_variance_ * (len(x) - 1) / len(x)
    ridge = RIDGE * x.var(axis=0).mean()
    rest = (x.var(axis=0).sum() - variances.sum()) / (inputs - RANK) + ridge
    expected = np.sqrt(
        (along**2 / (variances + ridge)).sum(axis=1) + ((z**2).sum(axis=1) - (along**2).sum(axis=1)) / rest
    )
    found = Distance.fit(x, common=True).of_rows(new)
    np.testing.assert_allclose(found / found[0], expected / expected[0], rtol=0.01)


@pytest.mark.parametrize("inputs", [3, 40, 120])
@pytest.mark.parametrize("rows", [200, 2000])
def test_one_of_a_hundred_new_rows_is_farther_than_1(inputs, rows):
    """Even if there are hardly more rows than inputs: the threshold is found on rows that were not fitted on."""
    shares = [
        (
            Distance.fit(correlated(2 * seed, rows, inputs), common=True).of_rows(
                correlated(2 * seed + 1, 2000, inputs)
            )
            > 1
        )
        for seed in range(5)
    ]
    assert 0.001 < np.mean(shares) < 0.02


def test_what_is_usual_alone_but_not_together_is_far():
    x, new = correlated(0, 2000, 8), correlated(1, 500, 8)
    rng = np.random.default_rng(2)
    apart = np.stack([rng.permutation(column) for column in new.T], axis=1)
    distance = Distance.fit(x, common=True)
    assert (distance.of_rows(new) > 1).mean() < 0.03
    assert (distance.of_rows(apart) > 1).mean() > 0.9
    assert (distance.of_rows(new + 10) > 1).all()


@given(seed=st.integers(0, 10_000), rows=st.integers(1, 20), inputs=st.integers(1, 8), common=st.booleans())
@settings(deadline=None, derandomize=True, max_examples=60)
def test_any_rows_have_one(seed, rows, inputs, common):
    """Few rows, constants, the same row again and again: finite, at least 0, and each row by itself."""
    rng = np.random.default_rng(seed)
    x = rng.integers(-2, 3, (rows, inputs)).astype(np.float32)
    distance = Distance.fit(x, common=common)
    new = rng.normal(size=(6, inputs)).astype(np.float32)
    found = distance.of_rows(new)
    assert ((found >= 0) & (found <= FARTHEST)).all()
    np.testing.assert_allclose(found, [distance.of_rows(new[[row]])[0] for row in range(6)], rtol=1e-3, atol=1e-4)
    again = Distance.of(distance.arrays(), inputs)
    assert np.array_equal(again.of_rows(new), found)


def test_numbers_that_overflow_are_as_far_as_can_be():
    distance = Distance.fit(correlated(0, 100, 80), common=True)
    huge = np.full((1, 80), 1e38, np.float32)
    assert distance.of_rows(huge)[0] == FARTHEST


def test_a_constant_that_changes_is_far():
    x = np.concatenate([correlated(0, 500, 4), np.full((500, 1), 3.0)], axis=1)
    new = correlated(1, 100, 4)
    distance = Distance.fit(x, common=False)
    same, other = (np.concatenate([new, np.full((100, 1), value)], axis=1) for value in (3.0, 6.0))
    assert (distance.of_rows(same) > 1).mean() < 0.05
    assert (distance.of_rows(other) > 1).all()


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (np.zeros((0, 3)), r"of 1 or more. Received: \(0, 3\)"),
        (np.zeros((3, 0)), r"of 1 or more. Received: \(3, 0\)"),
        (np.zeros(3), r"shape \(n_rows, n_inputs\)"),
        (np.array([[1.0, np.nan]]), "finite"),
    ],
)
def test_what_is_wrong_is_said(rows, message):
    with pytest.raises(ValueError, match=message):
        Distance.fit(rows, common=True)
