"""The stratified split, the layout of rows, labels and scores."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from nncore.batches import stratified_split, with_ones
from nncore.losses import sparse_labels
from nncore.metrics import score
from tests.nncore.support import examples


@given(
    counts=st.lists(st.integers(1, 40), min_size=2, max_size=6),
    fraction=st.floats(0.01, 0.99),
    seed=st.integers(0, 1000),
)
@examples
def test_a_stratified_split(counts, fraction, seed):
    """Disjoint and complete; each class within one row of its share or short of it by its last training row."""
    labels = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)), counts))
    try:
        training, held_out = stratified_split(labels, fraction, seed)
    except ValueError:
        assume(False)
    assert sorted([*training.tolist(), *held_out.tolist()]) == list(range(len(labels)))
    assert training.tolist() == sorted(training.tolist())
    for label, count in enumerate(counts):
        taken = int((labels[held_out] == label).sum())
        assert taken <= count - 1
        assert count * fraction - 1 < taken < count * fraction + 1 or taken == count - 1
    spare = sum(min(int(count * fraction), count - 1) < count - 1 for count in counts)
    wanted = round(len(labels) * fraction)
    if spare == len(counts):
        assert len(held_out) == wanted
    again = stratified_split(labels, fraction, seed)
    assert again[0].tolist() == training.tolist()
    assert again[1].tolist() == held_out.tolist()


def test_a_split_depends_on_its_seed():
    """Other rows, the same numbers of rows."""
    labels = np.arange(100) % 4
    first, second = (stratified_split(labels, 0.2, seed)[1] for seed in (0, 1))
    assert first.tolist() != second.tolist()
    assert np.bincount(labels[first]).tolist() == np.bincount(labels[second]).tolist() == [5, 5, 5, 5]


@pytest.mark.parametrize(("labels", "fraction"), [([0, 1, 2], 0.2), ([0, 1, 2], 0.9), ([0, 0, 1, 1], 0.1)])
def test_a_split_that_leaves_a_side_empty_is_refused(labels, fraction):
    """The message names the fraction and the rows."""
    with pytest.raises(ValueError, match=rf"Received: {fraction:g} of {len(labels)} rows"):
        stratified_split(np.array(labels), fraction, 0)


def test_rows_get_a_last_column_of_ones():
    """In the wanted precision, beside the data."""
    rows = with_ones(np.arange(6).reshape(3, 2), np.dtype("float32"))
    assert rows.tolist() == [[0, 1, 1], [2, 3, 1], [4, 5, 1]]
    assert rows.dtype == np.float32
    with pytest.raises(ValueError, match=r"x must have shape \(n_samples, n_features\). Received: \(3,\)"):
        with_ones(np.zeros(3), np.dtype("float32"))


@given(labels=st.lists(st.integers(0, 4), min_size=1, max_size=20))
@examples
def test_one_hot_rows_mean_their_class(labels):
    """As floats, integers or booleans."""
    for dtype in (float, int, bool):
        assert sparse_labels(np.eye(5, dtype=dtype)[labels], 5).tolist() == labels


@given(samples=st.integers(1, 40), classes=st.integers(2, 6), seed=st.integers(0, 1000))
@examples
def test_scores_of_scikit_learn(samples, classes, seed):
    """Log loss and accuracy to 1e-12."""
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(seed)
    probabilities = rng.uniform(0.01, 1, (samples, classes))
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    labels = rng.integers(0, classes, samples)
    result = score(probabilities, labels)
    assert result.loss == pytest.approx(metrics.log_loss(labels, probabilities, labels=range(classes)), rel=1e-12)
    assert result.accuracy == metrics.accuracy_score(labels, probabilities.argmax(axis=1))
