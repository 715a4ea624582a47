"""The base class of features, and the forms in which a feature's numbers wait for their batch.

A feature says which column it reads and how its values become numbers. What it needs for that it learns from the
training rows, as named arrays; the feature itself holds no state.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np

from models.data.columns import Column, ColumnKind
from models.errors import describe
from nncore.arrays import Array
from nncore.hyperparameters import check_hyperparameters, hyperparameter

__all__ = [
    "ArrayForm",
    "Binned",
    "Deferred",
    "Encoded",
    "Feature",
    "GapError",
    "Learned",
    "Numbers",
    "Places",
    "Report",
    "Sparse",
    "from_json_bytes",
    "json_bytes",
    "one",
    "require_words",
]

#: What a feature has learned: named arrays.
Learned = Mapping[str, Array]


class ArrayForm(NamedTuple):
    """The type and the number of dimensions of a learned array; ``length`` is its length if that is always the same."""

    dtype: str
    length: int | None = None


class Numbers(NamedTuple):
    """Numbers (n_rows, width), kept for all rows."""

    values: Array


class Binned(NamedTuple):
    """Numbers (n_rows, k), kept for all rows, of which the second is a position among ``bins`` bins.

    Of a position p, bin j becomes p - j, and at least 0 and at most 1. So one number a row stands for all bins, which
    are made when a batch is gathered.
    """

    values: Array
    bins: int


class Places(NamedTuple):
    """The place (n_rows,) of the single 1 among a row's numbers, -1 if all of them are 0."""

    places: Array


class Sparse(NamedTuple):
    """A few numbers a row: those of row i are ``values`` at ``places``, from ``starts[i]`` to ``starts[i + 1]``."""

    starts: Array
    places: Array
    values: Array


class Deferred(NamedTuple):
    """Values (n_rows,) of which ``transform`` makes the numbers (n_rows, width) of a batch when it is gathered.

    ``transform`` can be pickled.
    """

    values: Array
    transform: Callable[[Array], Array]


Encoded = Numbers | Binned | Places | Sparse | Deferred


class Report(NamedTuple):
    """Which values (n_rows,) are missing, were not among the training rows, or lie outside of their range."""

    missing: Array
    unseen: Array
    out_of_range: Array


class GapError(ValueError):
    """A value is missing in a column that must have one in every row; ``row`` counts from 0."""

    def __init__(self, row: int) -> None:
        super().__init__("a value is missing")
        self.row = row


@dataclass(frozen=True)
class Feature:
    """How one column becomes ``width`` numbers."""

    column: str = hyperparameter(help="The name of the column.")

    #: The kind of column that the feature reads; a column of another kind is converted, if its values allow that.
    reads: ClassVar[ColumnKind]

    def __post_init__(self) -> None:
        check_hyperparameters(self)

    def learn(self, pieces: Iterable[Column]) -> dict[str, Array]:
        """Learn from the column's values in the training rows, which come piece by piece in their order.

        Raises GapError if a value is missing and must not be.
        """
        raise NotImplementedError

    def forms(self) -> dict[str, ArrayForm]:
        """The form of each array that ``learn`` returns."""
        raise NotImplementedError

    def check(self, learned: Learned) -> None:
        """Raise ValueError if learned arrays of the right form cannot come from ``learn``."""
        raise NotImplementedError

    def width(self, learned: Learned) -> int:
        """How many numbers the column becomes."""
        raise NotImplementedError

    def names(self, learned: Learned) -> list[str]:
        """A name for each of the numbers."""
        raise NotImplementedError

    def bin_columns(self, learned: Learned) -> Array:
        """Which of the numbers are bins that stand beside the value itself, (width,) of bool."""
        return np.zeros(self.width(learned), bool)

    def encode(self, column: Column, learned: Learned) -> Encoded:
        """The numbers of some rows, in the form in which they are kept.

        Raises GapError if a value is missing and must not be.
        """
        raise NotImplementedError

    def report(self, column: Column, learned: Learned) -> Report:
        """What is unusual about the values of some rows."""
        raise NotImplementedError

    def typical(self, learned: Learned) -> Column:
        """A column of one value, which is typical of the training rows; it may be a missing one."""
        raise NotImplementedError

    def describe(self, learned: Learned) -> dict[str, Any]:
        """What a client needs to know to fill in the column: range or levels of the training rows."""
        raise NotImplementedError


def one(value: float, dtype: str = "float64") -> Array:
    """A learned array of one number."""
    return np.array([value], dtype)


def json_bytes(value: Any) -> Array:
    """A JSON document as a learned array."""
    return np.frombuffer(json.dumps(value, ensure_ascii=False).encode(), np.uint8)


def from_json_bytes(array: Array) -> Any:
    """The JSON document in a learned array; raises ValueError if there is none."""
    try:
        return json.loads(array.tobytes().decode())
    except RecursionError:
        raise ValueError("must be JSON. Received: lists in lists, too deep to read") from None


def require_words(array: Array) -> list[str]:
    """The different words in a learned array, a JSON list; raises ValueError unless it is one."""
    try:
        words = from_json_bytes(array)
    except ValueError as error:
        raise ValueError(f"levels must be a JSON list of strings. Received: {error}") from None
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise ValueError(f"levels must be a list of strings. Received: {describe(words)}")
    if len(set(words)) != len(words):
        raise ValueError("levels must be different. Received: the same more than once")
    try:
        "".join(words).encode()
    except UnicodeEncodeError as error:  # JSON can hold halves of characters, which nothing else can.
        raise ValueError(f"levels must be text. Received: {error}") from None
    return words
