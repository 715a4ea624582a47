"""Folds: whole, even, reproducible, and with groups as balanced as scikit-learn's."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nncore.folds import stratified_folds
from tests.nncore.support import examples


def drawn_labels(counts, seed):
    return np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)) * 3, counts))


@given(
    counts=st.lists(st.integers(1, 40), min_size=1, max_size=6),
    folds=st.integers(2, 10),
    seed=st.integers(0, 1000),
)
@examples
def test_every_fold_has_its_share_of_each_class(counts, folds, seed):
    labels = drawn_labels(counts, seed)
    if len(labels) < folds:
        with pytest.raises(ValueError, match="folds must be from 2 to"):
            stratified_folds(labels, folds, seed)
        return
    numbers = stratified_folds(labels, folds, seed)
    assert numbers.shape == labels.shape
    sizes = np.bincount(numbers, minlength=folds)
    assert len(sizes) == folds
    assert np.ptp(sizes) <= 1
    for label in np.unique(labels):
        assert np.ptp(np.bincount(numbers[labels == label], minlength=folds)) <= 1
    assert stratified_folds(labels, folds, seed).tolist() == numbers.tolist()


def test_another_seed_deals_out_other_rows():
    labels = drawn_labels([30, 20], 0)
    first, second = (stratified_folds(labels, 5, seed) for seed in (1, 2))
    assert first.tolist() != second.tolist()


@given(
    groups=st.lists(st.integers(0, 25), min_size=2, max_size=120),
    classes=st.integers(1, 4),
    folds=st.integers(2, 6),
    seed=st.integers(0, 1000),
)
@examples
def test_no_group_is_in_two_folds(groups, classes, folds, seed):
    groups = np.array(groups)
    labels = np.random.default_rng(seed).integers(0, classes, len(groups))
    if len(np.unique(groups)) < folds:
        with pytest.raises(ValueError, match="the number of groups"):
            stratified_folds(labels, folds, seed, groups)
        return
    numbers = stratified_folds(labels, folds, seed, groups)
    assert sorted(np.unique(numbers).tolist()) == list(range(folds))
    for group in np.unique(groups):
        assert len(np.unique(numbers[groups == group])) == 1
    words = np.array([f"group {group:03}" for group in groups])
    assert stratified_folds(labels, folds, seed, words).tolist() == numbers.tolist()


def imbalance(labels, numbers, folds):
    """Mean standard deviation of the classes' shares over the folds."""
    counts = np.stack([np.bincount(labels[numbers == fold], minlength=labels.max() + 1) for fold in range(folds)])
    return (counts / counts.sum(axis=0)).std(axis=0).mean()


def test_groups_are_as_balanced_as_by_scikit_learn():
    """Over many random tables; the order of equal groups differs."""
    selection = pytest.importorskip("sklearn.model_selection")
    ours, theirs = [], []
    for seed in range(30):
        generator = np.random.default_rng(seed)
        groups = generator.integers(0, generator.integers(8, 60), 400)
        labels = (generator.random(400) < generator.uniform(0.1, 0.9, 60)[groups]) + (groups % 3 == 0)
        ours.append(imbalance(labels, stratified_folds(labels, 5, seed, groups), 5))
        splitter = selection.StratifiedGroupKFold(5, shuffle=True, random_state=seed)
        numbers = np.empty(400, int)
        for fold, (_, held_out) in enumerate(splitter.split(labels, labels, groups)):
            numbers[held_out] = fold
        theirs.append(imbalance(labels, numbers, 5))
    assert np.mean(ours) < 1.05 * np.mean(theirs)


def test_a_group_of_each_row_is_as_good_as_no_groups():
    labels = drawn_labels([40, 35, 12], 3)
    numbers = stratified_folds(labels, 6, 1, np.arange(len(labels)))
    for label in np.unique(labels):
        assert np.ptp(np.bincount(numbers[labels == label], minlength=6)) <= 1


@pytest.mark.parametrize("folds", [0, 1, 7])
def test_how_many_folds(folds):
    with pytest.raises(ValueError, match=rf"folds must be from 2 to 6, the number of rows\. Received: {folds}"):
        stratified_folds(np.array([0, 1, 0, 1, 0, 1]), folds, 0)


def test_a_group_for_each_row():
    with pytest.raises(ValueError, match="groups must have 4 values, one per row"):
        stratified_folds(np.array([0, 1, 0, 1]), 2, 0, np.arange(3))
