"""Reasons against exact Shapley values, by completeness, and their gradients by differences."""

from functools import cache
from itertools import combinations
from math import factorial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.trust.mixture import mixed
from models.trust.reasons import EnsembleLogProbability, Member, reasons, summed
from models.trust.temperature import sharpened
from nncore import AdamW, BatchNorm, Dense, Dropout, Network, ReLU, SiLU, Softmax, train
from nncore.network import Predictor


class Given:
    """A function with its gradient."""

    def __init__(self, value, gradient):
        self._value, self._gradient = value, gradient

    def at(self, rows):
        return self._value(rows), self._gradient(rows)


def shapley_values(value, row, baseline, groups):
    """Exactly, by all coalitions: columns that have joined are as in the row, the others as in the baseline."""

    @cache
    def of(joined):
        mixed_row = baseline.copy()
        for column in joined:
            mixed_row[groups[column]] = row[groups[column]]
        return float(value(mixed_row[np.newaxis])[0])

    count, found = len(groups), []
    for column in range(count):
        others = [each for each in range(count) if each != column]
        total = 0.0
        for size in range(count):
            share = factorial(size) * factorial(count - size - 1) / factorial(count)
            for joined in combinations(others, size):
                total += share * (of(tuple(sorted((*joined, column)))) - of(joined))
        found.append(total)
    return np.array(found)


def ensemble(columns=4, classes=3, seed=0, epochs=6, dtype="float32"):
    """Trained members of two kinds: one of them does not read the last input."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(500, columns)).astype(dtype)
    y = np.argmax(x[:, :classes] + 0.7 * np.roll(x, 1, axis=1)[:, :classes] * x[:, :classes], axis=1)
    members = []
    for number in range(4):
        read = np.arange(columns) < columns - (number % 2)
        layers = [
            Dense(24),
            ReLU() if number % 2 else SiLU(),
            Dropout(0.1),
            Dense(24),
            ReLU(),
            Dense(classes),
            Softmax(),
        ]
        network = Network(layers, int(read.sum()), seed=number, dtype=dtype)
        for _ in train(network, x[:, read], y, optimizer=AdamW(learning_rate=0.01), epochs=epochs, seed=number):
            pass
        members.append(Member(network._predictor, 0.25, None if read.all() else read))
    return members, x, y


MEMBERS, X, Y = ensemble()


def test_the_log_probability_is_the_one_that_is_served():
    shares = np.array([member.weight for member in MEMBERS])
    of_members = [m.predictor.predict_proba(X if m.columns is None else X[:, m.columns]) for m in MEMBERS]
    served = sharpened(mixed(np.stack(of_members), shares), 0.7)
    for code in range(3):
        values, _ = EnsembleLogProbability(MEMBERS, 0.7, code).at(X)
        told = served[:, code] > 1e-5  # Below 1e-7 they are served as 1e-7.
        np.testing.assert_allclose(values[told], np.log(served[told, code]), atol=1e-4)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_its_gradient_by_differences(temperature):
    layers = [Dense(6), BatchNorm(), SiLU(), Dense(3), Softmax()]
    networks = [Network(layers, 4, seed=seed, dtype="float64") for seed in range(3)]
    members = [Member(each._predictor, share) for each, share in zip(networks, (0.5, 0.3, 0.2), strict=True)]
    function, x = EnsembleLogProbability(members, temperature, 1), X[:20].astype(float)
    _, gradient = function.at(x)
    for column in range(4):
        step = 1e-5 * np.eye(4)[column]
        slope = (function.at(x + step)[0] - function.at(x - step)[0]) / 2e-5
        np.testing.assert_allclose(gradient[:, column], slope, atol=1e-8)


@pytest.mark.parametrize("code", range(3))
def test_they_are_complete_to_a_hundredth(code):
    """For each of 100 rows and from each of two baselines, and without much put right."""
    function = EnsembleLogProbability(MEMBERS, 0.8, code)
    for baseline in (np.median(X, axis=0), X[0]):
        shares = []
        for row in X[1:100]:
            found = reasons(function, row, baseline)
            assert abs(found.missing) <= 0.01 * max(abs(found.value - found.baseline), 0.01)
            shares.append(found.corrected / np.abs(found.inputs).sum())
        assert np.mean(shares) < 0.01
        assert max(shares) < 0.05


def test_they_are_near_exact_shapley_values():
    """On a trained model with interactions: the same sum, and by and large the same columns."""
    baseline, errors, correlations = np.median(X, axis=0), [], []
    for row, code in zip(X[:60], Y[:60], strict=True):
        function = EnsembleLogProbability(MEMBERS, 1.0, int(code))
        exact = shapley_values(
            lambda rows, function=function: function.at(rows)[0], row, baseline, [[0], [1], [2], [3]]
        )
        found = reasons(function, row, baseline)
        assert found.inputs.sum() == pytest.approx(exact.sum(), abs=0.01 * max(abs(exact.sum()), 0.1) + 1e-4)
        errors.append(np.abs(found.inputs - exact).mean() / np.abs(exact).sum())
        correlations.append(np.corrcoef(found.inputs, exact)[0, 1])
    assert np.mean(errors) < 0.08
    assert np.median(correlations) > 0.97


@pytest.mark.parametrize("columns", [3, 4, 5])
@given(seed=st.integers(0, 1000))
@settings(deadline=None, derandomize=True, max_examples=15)
def test_they_are_shapley_values_of_sums(columns, seed):
    """Of functions of one column each, and of columns of several inputs."""
    rng = np.random.default_rng(seed)
    weights, slopes = rng.normal(size=(2, 2 * columns))
    function = Given(
        lambda rows: (weights * np.tanh(slopes * rows)).sum(axis=1),
        lambda rows: weights * slopes * (1 - np.tanh(slopes * rows) ** 2),
    )
    row, baseline = rng.normal(size=(2, 2 * columns))
    groups = [[2 * column, 2 * column + 1] for column in range(columns)]
    found = reasons(function, row, baseline)
    exact = shapley_values(lambda rows: function.at(rows)[0], row, baseline, groups)
    np.testing.assert_allclose(summed(found.inputs, [2] * columns), exact, rtol=0.01, atol=5e-3)


def test_a_product_is_shared_evenly_and_what_is_not_read_gets_nothing():
    function = Given(lambda rows: rows[:, 0] * rows[:, 1], lambda rows: rows[:, [1, 0, 2]] * [1, 1, 0])
    found = reasons(function, np.array([2.0, 3.0, 4.0]), np.zeros(3))
    np.testing.assert_allclose(found.inputs, [3, 3, 0], atol=1e-9)
    assert (found.baseline, found.value) == (0, 6)


def test_no_way_has_no_reasons():
    found = reasons(EnsembleLogProbability(MEMBERS, 1.0, 0), X[0], X[0])
    assert not found.inputs.any()
    # The same row has the same probability but for the rounding of float32, which depends on its place in a batch.
    assert abs(found.missing) < 4 * np.finfo(np.float32).eps


def test_a_way_with_a_step_is_reported_as_incomplete():
    """A function whose gradient does not show where it changes has reasons that say what they miss."""
    function = Given(lambda rows: (rows[:, 0] > 0.5) * 1.0, np.zeros_like)
    found = reasons(function, np.ones(2), np.zeros(2))
    assert found.missing == found.corrected == 1.0


def test_probabilities_of_zero_have_finite_reasons():
    """A network that is so sure that the class has a probability of 0."""
    predictor = Predictor(
        [Dense(2), Softmax()],
        2,
        {
            "0_dense/weights": np.array([[300.0, -300.0], [1.0, 2.0]], np.float32),
            "0_dense/bias": np.zeros(2, np.float32),
        },
    )
    found = reasons(EnsembleLogProbability([Member(predictor, 1.0)], 0.5, 1), np.ones(2, np.float32), np.zeros(2))
    assert np.isfinite(found.inputs).all()


def test_summed_by_widths():
    np.testing.assert_array_equal(summed(np.arange(6.0), [2, 0, 3, 1]), [1, 0, 9, 5])
    with pytest.raises(ValueError, match="widths must sum to 6"):
        summed(np.arange(6.0), [2, 3])
