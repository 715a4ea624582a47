"""Folds: rows dealt out so that each fold is like the whole, for cross-validation."""

from __future__ import annotations

import numpy as np

from nncore.arrays import Array
from nncore.streams import stream

__all__ = ["stratified_folds"]


def stratified_folds(labels: Array, folds: int, seed: int, groups: Array | None = None) -> Array:
    """Return the number of each row's fold, (n_samples,), from 0 to ``folds - 1``.

    ``labels`` are class numbers (n_samples,). The sizes of two folds differ by at most one row, and so do their rows of
    a class. A class with fewer rows than folds is absent from some folds.

    ``groups`` (n_samples,) names each row's group, by numbers or strings. With it, all rows of a group are in one fold,
    and the folds are as balanced as the order allows in which groups are dealt out, those with the most uneven classes
    first (as in scikit-learn's StratifiedGroupKFold).

    Raises ValueError if there are fewer rows, or groups, than folds, or fewer than two folds.
    """
    units = len(labels) if groups is None else len(np.unique(groups))
    if groups is not None and len(groups) != len(labels):
        raise ValueError(f"groups must have {len(labels)} values, one per row. Received: {len(groups)}")
    if not 2 <= folds <= units:
        kind = "rows" if groups is None else "groups"
        raise ValueError(f"folds must be from 2 to {units}, the number of {kind}. Received: {folds}")
    generator = stream(seed, "folds")
    if groups is None:
        # One after the other, the rows of the first class, then of the second one: each fold gets every n-th row.
        order = generator.permutation(len(labels))
        order = order[np.argsort(labels[order], kind="stable")]
        numbers = np.empty(len(labels), np.intp)
        numbers[order] = np.arange(len(labels)) % folds
        return numbers
    return _of_groups(labels, folds, groups, generator)


def _of_groups(labels: Array, folds: int, groups: Array, generator: np.random.Generator) -> Array:
    """Give each group to the fold that keeps each class's share of rows most even over the folds."""
    names, group_of = np.unique(groups, return_inverse=True)
    classes, codes = np.unique(labels, return_inverse=True)
    counts = np.zeros((len(names), len(classes)), np.int64)
    np.add.at(counts, (group_of, codes), 1)
    totals = counts.sum(axis=0)
    order = generator.permutation(len(names))
    order = order[np.argsort(-counts[order].std(axis=1), kind="stable")]
    held = np.zeros((folds, len(classes)), np.int64)
    fold_of = np.empty(len(names), np.intp)
    for group in order:
        added = counts[group]
        # For each fold that may get the group, folds² times the variance of each class's rows over the folds. As whole
        # numbers, equal folds are equal to the last bit.
        sums = held.sum(axis=0) + added
        squares = (held**2).sum(axis=0) + (2 * held + added) * added
        spread = (np.sqrt(folds * squares - sums**2) / totals).sum(axis=1)
        fold = np.lexsort((held.sum(axis=1), spread))[0]
        held[fold] += added
        fold_of[group] = fold
    numbers: Array = fold_of[group_of]
    return numbers
