"""Permutation importance against scikit-learn's, with a model that reads one column for each input."""

import numpy as np
import pytest

from models.trust.importance import permutation_importance

WIDTHS = (1, 1, 1, 1)


def problem(seed=0, rows=400):
    """Labels by the first two columns, a copy of noise in the third and none in the fourth."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, 4))
    y = (2 * x[:, 0] + x[:, 1] + 0.5 * rng.normal(size=rows) > 0).astype(int)
    return x, y


def test_it_is_scikit_learns():
    """Means over many shuffles, for log loss and accuracy."""
    linear_model, inspection = pytest.importorskip("sklearn.linear_model"), pytest.importorskip("sklearn.inspection")
    x, y = problem()
    model = linear_model.LogisticRegression().fit(x, y)
    ours = permutation_importance(model.predict_proba, x, y, WIDTHS, seed=1, repeats=60)
    for scoring, mean, deviation in (
        ("neg_log_loss", ours.log_loss, ours.log_loss_deviation),
        ("accuracy", ours.accuracy, ours.accuracy_deviation),
    ):
        theirs = inspection.permutation_importance(model, x, y, scoring=scoring, n_repeats=60, random_state=2)
        error = 4 * np.hypot(deviation, theirs.importances_std) / np.sqrt(60) + 1e-9
        assert (np.abs(mean - theirs.importances_mean) <= error).all()
        np.testing.assert_allclose(deviation, theirs.importances_std, rtol=0.5, atol=0.003)
    assert ours.log_loss.argmax() == 0


def predict_by_the_first(x):
    return np.stack([1 - x[:, 0], x[:, 0]], axis=1)


def test_what_is_not_read_has_none():
    x = np.random.default_rng(0).uniform(size=(50, 5))
    found = permutation_importance(predict_by_the_first, x, (x[:, 0] > 0.5).astype(int), (1, 2, 0, 2))
    assert found.log_loss.shape == (4,)
    assert found.log_loss[0] > 0.1
    assert not any(each[1:].any() for each in found)


def test_the_inputs_of_a_column_are_shuffled_together():
    """Rows of one-hot inputs stay one-hot, and what came in stays as it was."""
    rng, seen = np.random.default_rng(1), []
    x = np.concatenate([np.eye(3)[rng.integers(3, size=40)], rng.normal(size=(40, 1))], axis=1)
    kept = x.copy()

    def predict(rows):
        seen.append(rows.copy())
        return np.full((len(rows), 2), 0.5)

    permutation_importance(predict, x, rng.integers(2, size=40), (3, 1), repeats=4)
    assert len(seen) == 1 + 2 * 4
    assert all((rows[:, :3].sum(axis=1) == 1).all() for rows in seen)
    assert all(sorted(rows[:, 3]) == sorted(kept[:, 3]) for rows in seen)
    assert all(np.array_equal(rows[:, 3], kept[:, 3]) for rows in seen[:5])
    assert all(np.array_equal(rows[:, :3], kept[:, :3]) for rows in seen[5:])
    assert np.array_equal(x, kept)


def test_a_seed_reproduces_it_and_wrong_widths_are_refused():
    x, y = problem()
    probabilities = lambda rows: np.clip(predict_by_the_first(rows), 0, 1)  # noqa: E731
    first, second, other = (permutation_importance(probabilities, x, y, WIDTHS, seed=seed) for seed in (3, 3, 4))
    assert all(np.array_equal(*pair) for pair in zip(first, second, strict=True))
    assert not np.array_equal(first.log_loss, other.log_loss)
    with pytest.raises(ValueError, match="widths must sum to 4, the number of inputs"):
        permutation_importance(probabilities, x, y, (1, 2))
