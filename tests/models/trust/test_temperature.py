"""The temperature against scikit-learn's temperature scaling and a plain search, and by properties."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from scipy.special import softmax

from models.trust.temperature import LIMIT, SPREAD, fit_temperature, sharpened


def rows_of(seed: int, rows: int, temperature: float, classes: int = 3):
    """Probabilities, and labels that follow them after this temperature."""
    rng = np.random.default_rng(seed)
    probabilities = softmax(2.0 * rng.normal(size=(rows, classes)), axis=1)
    true = softmax(np.log(probabilities) / temperature, axis=1)
    codes = (true.cumsum(axis=1) < rng.random((rows, 1))).sum(axis=1).clip(0, classes - 1)
    return probabilities, codes


@pytest.mark.parametrize("rows", [1, 30, 3000])
@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5])
def test_no_other_temperature_costs_less(rows, temperature):
    """By scipy's bounded search of the cost as the docstring has it."""
    probabilities, codes = rows_of(rows, rows, temperature)

    def cost(log_temperature):
        scaled = softmax(np.log(probabilities) / math.exp(log_temperature), axis=1)
        losses = -np.log(scaled[np.arange(rows), codes])
        return losses.sum() + (log_temperature / SPREAD) ** 2 / 2

    best = minimize_scalar(cost, bounds=(-LIMIT, LIMIT), method="bounded", options={"xatol": 1e-8})
    assert math.log(fit_temperature(probabilities, codes)) == pytest.approx(best.x, abs=2e-4)


@pytest.mark.parametrize("temperature", [0.6, 1.0, 1.8])
def test_it_is_scikit_learns_on_many_rows(temperature):
    """With so many rows the prior says nothing."""
    calibration = pytest.importorskip("sklearn.calibration")
    probabilities, codes = rows_of(7, 20_000, temperature)
    theirs = calibration._TemperatureScaling().fit(np.log(probabilities), codes)
    ours = fit_temperature(probabilities, codes)
    assert ours == pytest.approx(1 / theirs.beta_, rel=2e-3)
    np.testing.assert_allclose(sharpened(probabilities, ours), theirs.predict(np.log(probabilities)), atol=1e-3)


def test_few_rows_leave_it_near_one():
    """The fewer rows, the nearer, and without rows it is 1."""
    found = [abs(math.log(fit_temperature(*rows_of(3, rows, 3.0)))) for rows in (2, 20, 200, 20_000)]
    assert found == sorted(found)
    assert found[0] < 0.1
    assert found[-1] == pytest.approx(math.log(3.0), abs=0.05)
    assert fit_temperature(np.zeros((0, 3)), np.zeros(0, int)) == 1.0


@given(
    seed=st.integers(0, 10_000),
    classes=st.integers(1, 6),
    temperature=st.floats(0.23, 4.4),
    dtype=st.sampled_from(["float32", "float64"]),
)
@settings(deadline=None, derandomize=True, max_examples=60)
def test_sharpened(seed, classes, temperature, dtype):
    """Rows sum to 1, the order of the classes stays, the type too, and 1/T undoes T."""
    probabilities = np.random.default_rng(seed).dirichlet(np.ones(classes), 20).astype(dtype)
    kept = probabilities.copy()
    made = sharpened(probabilities, temperature)
    assert made.dtype == probabilities.dtype
    assert np.array_equal(probabilities, kept)
    np.testing.assert_allclose(made.sum(axis=1), 1, rtol=1e-5)
    assert np.array_equal(made.argmax(axis=1), np.maximum(probabilities, 1e-7).argmax(axis=1))
    if (made.min() > 1e-6) and (probabilities.min() > 1e-6):
        np.testing.assert_allclose(sharpened(made, 1 / temperature), probabilities, rtol=1e-3)


def test_a_row_that_is_not_finite_stays_so_alone():
    made = sharpened(np.array([[0.5, 0.5], [np.nan, np.nan]], np.float32), 2.0)
    np.testing.assert_allclose(made[0], 0.5)
    assert np.isnan(made[1]).all()


def test_zeros_and_ones_have_a_temperature():
    certain, codes = np.eye(3, dtype=np.float32)[[0, 1, 2, 0] * 30], np.array([0, 1, 2, 1] * 30)
    found = fit_temperature(certain, codes)
    assert 1 < found <= math.exp(LIMIT)
    assert np.isfinite(sharpened(certain, found)).all()
