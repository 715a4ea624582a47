"""Conformal sets: the classes that a row's true one is among with a given probability.

They are adaptive prediction sets (Romano, Sesia and Candès, 2020). The score of class y in a row is the sum of the
probabilities of y and of all classes before y in descending order, less y's own times a draw. A set holds the classes
whose score is at most the quantile of the scores of true classes in held-out rows. If rows come from where the held-out
rows came from, the set holds the true class with at least the coverage asked for, whatever the network is, and hardly
more.

The draw makes it exact: without it, a network that is right in 99 of 100 rows covers 99 %, whatever is asked for. So a
set may be empty.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from models.trust.forms import Form, checked
from models.trust.held_out import require_held_out
from nncore.arrays import Array

__all__ = ["PredictionSets", "scores_of"]

#: Upper bound of a score: sums of rounded probabilities may be a little more than 1.
LARGEST = 1.001
#: What a product such as 100·0.07 may be too large by.
ROUNDING = 1e-9
#: Coverages whose thresholds are kept.
MOST_KEPT = 64
#: Up to so many probabilities, a loop takes less time than the calls of NumPy.
FEW = 64


@dataclass(frozen=True, eq=False)
class PredictionSets:
    """Scores (n_rows,) of the true classes of held-out rows, class by class and ascending within a class.

    Those of class c are from ``starts[c]`` to before ``starts[c + 1]``.
    """

    scores: Array
    starts: Array

    @classmethod
    def fit(cls, probabilities: Array, codes: Array, draws: Array) -> PredictionSets:
        """Learn from held-out probabilities (n_rows, n_classes), class numbers (n_rows,) and draws (n_rows,).

        Raises ValueError if a shape, a probability or a class number is wrong.
        """
        require_held_out(probabilities, codes)
        true = scores_of(probabilities, draws)[np.arange(len(codes)), codes].astype(np.float32)
        order = np.lexsort((true, codes))
        counts = np.bincount(codes, minlength=probabilities.shape[1])
        return cls(true[order], np.concatenate([[0], np.cumsum(counts)]).astype(np.int64))

    def sets(self, probabilities: Array, draws: Array, coverage: float, *, by_class: bool = False) -> Array:
        """Whether each class is in the set of each row, (n_rows, n_classes), for draws (n_rows,).

        With ``by_class``, the coverage holds within the rows of each class (Mondrian; Vovk, 2012), so sets are larger.
        Raises ValueError if the coverage is not between 0 and 1.
        """
        key = coverage, by_class
        thresholds = self._found.get(key)
        if thresholds is None:
            if len(self._found) >= MOST_KEPT:
                self._found.clear()
            thresholds = self._found[key] = self.thresholds(coverage, by_class=by_class)
        if probabilities.size <= FEW:
            return _inside(probabilities.tolist(), draws.tolist(), thresholds.tolist())
        inside: Array = scores_of(probabilities, draws) <= thresholds
        return inside

    @cached_property
    def _found(self) -> dict[tuple[float, bool], Array]:
        """The thresholds of the coverages that were asked for, because clients ask for the same again and again."""
        return {}

    def thresholds(self, coverage: float, *, by_class: bool = False) -> Array:
        """The largest score (n_classes,) that a class in a set has.

        It is infinite if there are too few held-out rows, or too few of a class, to tell. Raises ValueError if the
        coverage is not between 0 and 1.
        """
        if not 0.0 < coverage < 1.0:
            raise ValueError(f"coverage must be greater than 0 and less than 1. Received: {coverage!r}")
        # Of n scores it is number ⌈(n + 1)·coverage⌉: a new score is as likely to be at any of n + 1 places.
        if by_class:
            counts = np.diff(self.starts)
            numbers = np.ceil((counts + 1) * coverage - ROUNDING).astype(np.int64)
            return self._of_classes[np.where(numbers > counts, len(self.scores), self.starts[:-1] + numbers - 1)]
        count = len(self.scores)
        number = min(math.ceil((count + 1) * coverage - ROUNDING), count + 1)
        return np.full(len(self.starts) - 1, self._of_all[number - 1])

    @cached_property
    def _of_classes(self) -> Array:
        """The scores, and one that no score is larger than."""
        return np.append(self.scores, np.float32(np.inf))

    @cached_property
    def _of_all(self) -> Array:
        return np.append(np.sort(self.scores), np.float32(np.inf))

    def arrays(self) -> dict[str, Array]:
        """The arrays by name, as a checkpoint holds them."""
        return {"scores": self.scores, "starts": self.starts}

    @staticmethod
    def forms(classes: int) -> dict[str, Form]:
        """The forms of the arrays for so many classes."""
        return {"scores": Form("float32", (None,)), "starts": Form("int64", (classes + 1,))}

    @classmethod
    def of(cls, arrays: Mapping[str, Array], classes: int) -> PredictionSets:
        """The sets from their arrays; raises ValueError unless ``fit`` can have made these for so many classes."""
        own = checked(arrays, cls.forms(classes))
        scores, starts = own["scores"], own["starts"]
        if starts[0] != 0 or starts[-1] != len(scores) or (np.diff(starts) < 0).any():
            raise ValueError(f"starts: expected ascending numbers from 0 to {len(scores)}, found others")
        if len(scores) and not 0.0 <= scores.min() <= scores.max() <= LARGEST:
            raise ValueError(f"scores: expected numbers from 0 to 1, found {scores.min()} to {scores.max()}")
        falls = np.flatnonzero(np.diff(scores) < 0) + 1
        if not np.isin(falls, starts).all():
            raise ValueError("scores: expected ascending numbers within each class, found others")
        return cls(scores, starts)


def _inside(probabilities: list[list[float]], draws: list[float], thresholds: list[float]) -> Array:
    """Whether each class is in the set of each row: the same bits as by ``scores_of``."""
    sets = []
    for row, draw in zip(probabilities, draws, strict=True):
        inside, total = [False] * len(row), 0.0
        for place in sorted(range(len(row)), key=row.__getitem__, reverse=True):  # Equal ones stay in their order.
            total += row[place]
            inside[place] = total - row[place] * draw <= thresholds[place]
        sets.append(inside)
    return np.array(sets, bool)


def scores_of(probabilities: Array, draws: Array) -> Array:
    """The score of each class in each row, (n_rows, n_classes), for draws (n_rows,).

    Of classes with equal probabilities, the first one counts as the more likely.
    """
    rows, classes = probabilities.shape
    places = np.argsort(-probabilities, axis=1, kind="stable")
    places += np.arange(0, rows * classes, classes)[:, np.newaxis]
    descending = probabilities.ravel()[places].astype(np.float64)
    sums = np.add.accumulate(descending, axis=1)
    descending *= draws[:, np.newaxis]
    sums -= descending
    scores = np.empty_like(sums)
    scores.ravel()[places] = sums
    return scores
