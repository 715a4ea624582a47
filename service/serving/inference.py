"""Predictions as values: arrays in, probabilities out. How they look on the wire is up to each protocol."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import compress
from typing import NamedTuple

import numpy as np

from models.data.labels import Label, match
from models.data.rows import Array
from models.errors import InvalidError, Problem, describe, listed
from models.serving.asked import NOTHING, Asked
from models.serving.explanations import Baseline, Explanation
from models.serving.served_model import ServedModel
from models.trust.trust import Answer
from service.serving.resolution import ServedVersion

__all__ = [
    "EXPLAINED",
    "Explanations",
    "Prediction",
    "RowOverflowError",
    "class_code",
    "infer",
    "infer_all",
    "require_asked",
    "require_explained",
    "require_top_k",
]

#: Rows that are explained at a time. One takes some hundred times as long as its prediction.
EXPLAINED = 100


class Explanations(NamedTuple):
    """Why each row has its probability of a class.

    ``columns`` names what the contributions of each row are of; None if the model's inputs have no names.
    """

    baseline: Baseline
    columns: Sequence[str] | None
    rows: list[Explanation]


class Prediction(NamedTuple):
    """Probabilities (n_rows, n_classes) for some rows, with the version that they are from.

    The columns are the ``classes`` in their order. ``version`` is None for a checkpoint that is no version. What was
    not asked for is None: ``sets`` (n_rows, n_classes) says which classes are in each row's conformal set,
    ``uncertainty`` (n_rows,) is from 0 to 1, ``distance`` (n_rows,) is more than 1 for an unusual row, and is None too
    if the version does not know it.
    """

    model: str
    version: int | None
    classes: tuple[Label, ...]
    probabilities: Array
    checkpoint: str | None = None
    sets: Array | None = None
    uncertainty: Array | None = None
    distance: Array | None = None
    explanations: Explanations | None = None

    @property
    def source(self) -> dict[str, object]:
        """What answered, as protocols show it: the version, or the checkpoint that was named instead of one."""
        if self.version is not None:
            return {"model": self.model, "version": self.version}
        return {"model": self.model, "version": None, "checkpoint": self.checkpoint}

    def labels(self) -> list[Label]:
        """The most probable class of each row, the first of equal ones."""
        return [self.classes[place] for place in self.probabilities.argmax(axis=1).tolist()]

    def top(self, count: int) -> tuple[Array, Array]:
        """The ``count`` most probable classes of each row, the most probable first, equal ones in their order.

        Returns their places in ``classes`` and their probabilities, both (n_rows, count).
        """
        places = np.argsort(-self.probabilities, axis=1, kind="stable")[:, :count]
        return places, np.take_along_axis(self.probabilities, places, axis=1)

    def set_lists(self) -> list[list[Label]]:
        """The classes in each row's set, the most probable first, equal ones in their order; some may be empty."""
        assert self.sets is not None
        classes = range(len(self.classes))
        return [
            [self.classes[place] for place in sorted(compress(classes, inside), key=row.__getitem__, reverse=True)]
            for row, inside in zip(self.probabilities.tolist(), self.sets.tolist(), strict=True)
        ]

    def unusual(self) -> list[bool]:
        """Whether each row is farther from the training rows than 99 of 100 rows that were held out."""
        assert self.distance is not None
        unusual: list[bool] = (self.distance > 1.0).tolist()
        return unusual


class RowOverflowError(InvalidError):
    """A row whose numbers are so large that the network's numbers overflow.

    ``row`` counts from 0. The pointer is relative to the rows; a protocol adds the place of the rows in the request.
    """

    def __init__(self, row: int, dtype: str) -> None:
        self.row, self.reason = row, f"is so large that the model's {dtype} numbers overflow"
        pointer = f"/{row}"
        super().__init__("validation_failed", f"{pointer}: {self.reason}", [Problem(pointer, self.reason)])


def infer(version: ServedVersion, rows: Array, asked: Asked = NOTHING) -> Prediction:
    """Predict ``rows`` (n_rows, inputs) with a version, and answer what else is asked for.

    Raises RowOverflowError for the first row that overflows, and InvalidError for what the version cannot answer; its
    pointers are those of a request's members.
    """
    network = version.network
    if asked is NOTHING:
        answer = Answer(network.predict_proba(rows))
    else:
        require_asked(asked, network)
        answer = _answer(network, rows, asked)
    probabilities = answer.probabilities
    finite = np.isfinite(probabilities)
    if not finite.all():
        raise RowOverflowError(int(np.argmin(finite.all(axis=1))), str(network.dtype))
    explanations = _explanations(network, rows, probabilities, asked.explained) if asked.explain else None
    return Prediction(
        version.model, version.number, network.classes, probabilities, version.checkpoint, *answer[1:], explanations
    )


def infer_all(parts: Sequence[tuple[ServedVersion, Array]]) -> list[Prediction | None]:
    """Predict the rows of several requests in one pass; None for a request with a row that overflows.

    Each part is a version, all of the same network, and rows (n_rows, inputs). A product with more rows may differ in
    the last bits from one with fewer.
    """
    network = parts[0][0].network
    probabilities = network.predict_proba(parts[0][1] if len(parts) == 1 else _together([rows for _, rows in parts]))
    flat = probabilities.ravel()
    all_finite = math.isfinite(flat.dot(flat))
    predictions: list[Prediction | None] = []
    start = 0
    for version, own in parts:
        stop = start + len(own)
        found = probabilities if len(parts) == 1 else probabilities[start:stop]
        start = stop
        if all_finite or np.isfinite(found).all():
            predictions.append(Prediction(version.model, version.number, network.classes, found, version.checkpoint))
        else:
            predictions.append(None)
    return predictions


#: Rows of which a product takes less time than of one fewer (OpenBLAS, with matrices beyond the second-level cache).
_EVEN = 4


def _together(parts: Sequence[Array]) -> Array:
    """The rows of all parts, and rows of zeros up to an even number."""
    count = sum(map(len, parts))
    together = np.zeros((count + -count % _EVEN, parts[0].shape[1]), parts[0].dtype)
    np.concatenate(parts, out=together[:count])
    return together


def _answer(network: ServedModel, rows: Array, asked: Asked) -> Answer:
    if asked.distance and network.trust is None:
        asked = asked._replace(distance=False)
    if asked.distance or asked.uncertainty or asked.coverage is not None:
        return network.answer(rows, asked)
    return Answer(network.predict_proba(rows))


def _explanations(network: ServedModel, rows: Array, probabilities: Array, label: Label | None) -> Explanations:
    require_explained(len(rows))
    codes = probabilities.argmax(axis=1).tolist()
    if label is not None:
        codes = [class_code(label, network.classes, "/explain/class")] * len(rows)
    explainer, inputs = network.explainer, np.asarray(rows, network.dtype)
    found = [explainer.explain(row, code) for row, code in zip(inputs, codes, strict=True)]
    return Explanations(explainer.baseline, explainer.columns, found)


def require_explained(count: int) -> None:
    """Raise InvalidError if so many rows are too many to explain."""
    if count > EXPLAINED:
        raise InvalidError.at("/explain", f"is for at most {EXPLAINED} rows a request. Received: {count}")


def class_code(label: Label, classes: Sequence[Label], pointer: str) -> int:
    """The class number of a label, which is matched by value; raises InvalidError at ``pointer`` if it is no class."""
    place = int(match([label], classes)[0])
    if place < 0:
        known = listed(map(describe, classes))
        raise InvalidError.at(pointer, f"must be one of {known}. Received: {describe(label)}")
    return place


#: What makes a version that knows its members' disagreement and conformal sets.
_MEMBERS = 'train with "folds", or leave the network to the service ("network": "auto")'


def require_asked(asked: Asked, network: ServedModel) -> None:
    """Raise InvalidError if a version cannot answer what is asked for."""
    problems = []
    if asked.coverage is not None and network.trust is None:
        what = (
            "is a single network"
            if network.ensemble is None
            else "has none (it was imported without them, or ended before a fold had)"
        )
        detail = f"is for versions with rows that members held out; this one {what}: {_MEMBERS}"
        problems.append(Problem("/coverage", detail))
    if asked.uncertainty and (network.ensemble is None or network.ensemble.count < 2):
        what = "is a single network" if network.ensemble is None else "was published with a single one"
        detail = f"is for versions of several members, which may differ; this one {what}: {_MEMBERS}"
        problems.append(Problem("/uncertainty", detail))
    if problems:
        raise InvalidError.of(problems)


def require_top_k(top_k: int, classes: Sequence[Label]) -> None:
    """Raise InvalidError if more of the most probable classes are asked for than there are classes."""
    if top_k > len(classes):
        raise InvalidError.at("/top_k", f"must be at most {len(classes)}, the classes. Received: {top_k}")
