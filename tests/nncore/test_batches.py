"""The stratified split, the layout of rows, labels and scores."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from nncore import Dense, Network, ReLU, Softmax, Training
from nncore.batches import ChosenRows, MatrixRows, gathered, stratified_split, with_ones
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


@given(chosen=st.lists(st.integers(0, 19), min_size=1, max_size=30), seed=st.integers(0, 99))
@examples
def test_chosen_rows_are_those_of_the_matrix(chosen, seed):
    """Gathered and expanded, and chosen again among the chosen."""
    generator = np.random.default_rng(seed)
    matrix, rows = generator.normal(size=(20, 3)).astype(np.float32), np.array(chosen)
    source = MatrixRows(with_ones(matrix, np.dtype(np.float32)))
    view = ChosenRows(source, rows)
    assert (view.samples, view.inputs, view.dtype) == (len(rows), 3, np.float32)
    np.testing.assert_array_equal(view.expanded(), matrix[rows])
    np.testing.assert_array_equal(view.expanded(2, 5), matrix[rows][2:5])
    some = generator.integers(0, len(rows), 4)
    np.testing.assert_array_equal(gathered(view, some), np.column_stack([matrix[rows][some], np.ones(4)]))
    np.testing.assert_array_equal(ChosenRows(view, some).expanded(), matrix[rows][some])


def test_training_on_chosen_rows_is_training_on_their_matrix():
    """To the same bits, with validation."""
    generator = np.random.default_rng(0)
    matrix, labels = generator.normal(size=(50, 3)).astype(np.float32), generator.integers(0, 2, 50)
    folds = np.arange(50) % 3
    source = MatrixRows(with_ones(matrix, np.dtype(np.float32)))
    inside, outside = np.flatnonzero(folds != 1), np.flatnonzero(folds == 1)
    networks = [Network([Dense(4), ReLU(), Dense(2), Softmax()], inputs=3) for _ in range(2)]
    chosen = Training(
        networks[0],
        ChosenRows(source, inside),
        labels[inside],
        validation=(ChosenRows(source, outside), labels[outside]),
    )
    copied = Training(networks[1], matrix[inside], labels[inside], validation=(matrix[outside], labels[outside]))
    for _ in range(3):
        first, second = chosen.run_epoch(), copied.run_epoch()
        assert {**vars(first), "seconds": None} == {**vars(second), "seconds": None}
    assert networks[0].parameters.vector.tobytes() == networks[1].parameters.vector.tobytes()


@pytest.mark.parametrize(
    ("rows", "message"),
    [([0, 20], "rows must be from 0 to 19. Received: 20"), ([-1], "Received: -1"), ([0.5], "whole numbers")],
)
def test_rows_that_a_source_does_not_have(rows, message):
    source = MatrixRows(with_ones(np.zeros((20, 2)), np.dtype(float)))
    with pytest.raises(ValueError, match=message):
        ChosenRows(source, np.array(rows))
