"""Prediction sets against the published procedure, row by row, and by their coverage."""

import math
import struct
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.trust.conformal import PredictionSets, scores_of
from models.trust.draws import draws_of


def published_set(probabilities, draw, threshold):
    """Romano, Sesia and Candès (2020), equations 3 to 5: the likeliest classes until their sum reaches the threshold.

    The last one is left out if the draw is at most the excess, as a share of its probability.
    """
    order = sorted(range(len(probabilities)), key=lambda c: (-probabilities[c], c))
    total, chosen = 0.0, []
    for label in order:
        chosen.append(label)
        total += probabilities[label]
        if total >= threshold:
            excess = (total - threshold) / probabilities[label] if probabilities[label] else 0.0
            return set(chosen[:-1]) if draw <= excess and total > threshold else set(chosen)
    return set(chosen)


def published_score(probabilities, draw, label):
    """Their equation 7: the smallest threshold whose set has the label, by bisection over sets."""
    low, high = 0.0, 1.0 + 1e-9
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if label in published_set(probabilities, draw, middle) else (middle, high)
    return high


def published_quantile(scores, coverage):
    """The ⌈(n + 1)·coverage⌉-th smallest, infinite if there are not so many."""
    number = math.ceil(round((len(scores) + 1) * coverage, 9))
    return sorted(scores)[number - 1] if number <= len(scores) else math.inf


def rows_of(seed, rows, classes, sharpness=1.0):
    """Probabilities, labels that follow them, and draws."""
    rng = np.random.default_rng(seed)
    probabilities = rng.dirichlet(np.full(classes, 1 / sharpness), rows)
    codes = (probabilities.cumsum(axis=1) < rng.random((rows, 1))).sum(axis=1).clip(0, classes - 1)
    return probabilities, codes, rng.random(rows)


@given(seed=st.integers(0, 10_000), rows=st.integers(0, 30), classes=st.integers(1, 5), coverage=st.floats(0.05, 0.99))
@settings(deadline=None, derandomize=True, max_examples=40)
def test_the_published_sets(seed, rows, classes, coverage):
    """Over all rows, and class by class as Mondrian sets are."""
    probabilities, codes, draws = rows_of(seed, rows, classes)
    new, _, new_draws = rows_of(seed + 1, 20, classes)
    fitted = PredictionSets.fit(probabilities, codes, draws)
    scores = [published_score(*row) for row in zip(probabilities, draws, codes, strict=True)]
    threshold = published_quantile(scores, coverage)
    found = fitted.sets(new, new_draws, coverage)
    by_class = fitted.sets(new, new_draws, coverage, by_class=True)
    own = [published_quantile([s for s, c in zip(scores, codes, strict=True) if c == label], coverage)
           for label in range(classes)]  # fmt: skip
    for row, draw, whole, each in zip(new, new_draws, found, by_class, strict=True):
        close = [
            abs(published_score(row, draw, label) - t) < 1e-6 for t in {threshold, *own} for label in range(classes)
        ]
        if any(close):
            continue  # Scores are kept in float32.
        assert set(np.flatnonzero(whole)) == published_set(row, draw, threshold)
        assert set(np.flatnonzero(each)) == {c for c in range(classes) if published_score(row, draw, c) <= own[c]}


@pytest.mark.parametrize("sharpness", [0.3, 3.0, 30.0])
@pytest.mark.parametrize("coverage", [0.5, 0.9, 0.99])
def test_coverage_is_what_was_asked_for(sharpness, coverage):
    """Whatever the probabilities say: here they are of a network that is much too sure."""
    covered, by_class = [], []
    for seed in range(40):
        probabilities, codes, draws = rows_of(seed, 1500, 4, sharpness)
        wrong = probabilities**3 + 1e-12
        wrong /= wrong.sum(axis=1, keepdims=True)
        fitted = PredictionSets.fit(wrong[:1000], codes[:1000], draws[:1000])
        rest = np.arange(500), codes[1000:]
        covered.append(fitted.sets(wrong[1000:], draws[1000:], coverage)[rest].mean())
        inside = fitted.sets(wrong[1000:], draws[1000:], coverage, by_class=True)[rest]
        by_class.append([inside[codes[1000:] == label].mean() for label in range(4)])
    assert np.mean(covered) == pytest.approx(coverage, abs=0.013)
    np.testing.assert_allclose(np.mean(by_class, axis=0), coverage, atol=0.02)


@given(seed=st.integers(0, 10_000), classes=st.integers(1, 6))
@settings(deadline=None, derandomize=True, max_examples=40)
def test_a_larger_coverage_has_larger_sets(seed, classes):
    probabilities, codes, draws = rows_of(seed, 50, classes)
    fitted = PredictionSets.fit(probabilities, codes, draws)
    new, _, new_draws = rows_of(seed + 1, 10, classes)
    for by_class in (False, True):
        sets = [fitted.sets(new, new_draws, coverage, by_class=by_class) for coverage in (0.3, 0.6, 0.9, 0.999)]
        assert all((small <= large).all() for small, large in pairwise(sets))
        assert sets[-1].all()  # 50 rows cannot say what 999 of 1,000 are.


def test_scores_are_a_row_s_own_and_ascend_with_the_place():
    probabilities, _, draws = rows_of(0, 30, 5)
    scores = scores_of(probabilities.astype(np.float32), draws.astype(np.float32))
    assert scores.dtype == np.float64
    one_by_one = [
        scores_of(probabilities[[row]].astype(np.float32), draws[[row]].astype(np.float32))[0] for row in range(30)
    ]
    assert np.array_equal(scores, one_by_one)
    assert ((scores >= 0) & (scores <= 1.000001)).all()
    assert np.array_equal(np.argsort(scores, axis=1), np.argsort(-probabilities, axis=1))


def test_equal_probabilities_have_an_order():
    scores = scores_of(np.full((1, 4), 0.25), np.array([0.5]))
    np.testing.assert_allclose(scores, [[0.125, 0.375, 0.625, 0.875]])


def test_a_row_that_is_not_finite_has_an_empty_set():
    probabilities, codes, draws = rows_of(0, 100, 3)
    fitted = PredictionSets.fit(probabilities, codes, draws)
    assert not fitted.sets(np.full((1, 3), np.nan), np.array([0.5]), 0.9).any()


@pytest.mark.parametrize("coverage", [0.0, 1.0, -1.0, 2.0, math.nan])
def test_a_coverage_is_between_0_and_1(coverage):
    fitted = PredictionSets.fit(*rows_of(0, 10, 2))
    with pytest.raises(ValueError, match="coverage must be greater than 0 and less than 1"):
        fitted.thresholds(coverage)


class TestDraws:
    def test_a_row_has_its_draw_wherever_it_stands(self):
        rows = np.random.default_rng(0).normal(size=(100, 7)).astype(np.float32)
        draws = draws_of(rows)
        assert np.array_equal(draws[::-1], draws_of(rows[::-1]))
        assert np.array_equal(draws, draws_of(np.asfortranarray(rows)))
        assert np.array_equal(draws[3:4], draws_of(rows[3:4]))
        assert np.array_equal(draws_of(np.zeros((1, 7), np.float32)), draws_of(-np.zeros((1, 7), np.float32)))

    def test_they_never_change(self):
        """Sets that were fitted keep their meaning: the checksum is that of gzip and PNG, bit by bit."""
        rows = np.array([[0, 0], [1, 0], [0, 1], [0.5, -2], [1e-30, 3e7]], np.float32)
        for row, draw in zip(rows.tolist(), draws_of(rows).tolist(), strict=True):
            register = 0xFFFFFFFF
            for byte in struct.pack("<2f", *row):
                register ^= byte
                for _ in range(8):
                    register = register >> 1 ^ (0xEDB88320 if register & 1 else 0)
            assert draw == (register ^ 0xFFFFFFFF) / 2**32

    @pytest.mark.parametrize("kind", ["normal", "one-hot", "integers", "one column"])
    @pytest.mark.parametrize("dtype", ["float32", "float64"])
    def test_they_are_uniform(self, kind, dtype):
        """By the largest gap from the uniform distribution (Kolmogorov), on rows that are all different."""
        rng = np.random.default_rng(1)
        rows = {
            "normal": rng.normal(size=(20_000, 10)),
            "one-hot": (rng.random((60_000, 24)) < 0.5) * 1.0,
            "integers": rng.integers(-50, 50, (20_000, 6)) * 1.0,
            "one column": np.arange(20_000.0)[:, np.newaxis] / 8,
        }[kind]
        draws = np.sort(draws_of(np.unique(rows, axis=0).astype(dtype)))
        assert 0 <= draws[0] < draws[-1] < 1
        places = np.arange(len(draws)) / len(draws)
        assert np.abs(draws - places).max() < 1.63 / math.sqrt(len(draws)) * 1.2
        # Among neighbours too, or a region of rows would always have large sets or always small ones.
        near = np.sort(draws_of(rows.astype(dtype))[: len(rows) // 200 * 200].reshape(-1, 200), axis=1)
        assert np.abs(near - np.arange(200) / 200).max(axis=1).mean() < 0.1
