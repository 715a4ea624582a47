"""Preparation of rows for training: memory layout and validation split."""

from __future__ import annotations

from functools import partial
from typing import Any, Literal, Protocol

import numpy as np

from nncore.arrays import Array
from nncore.layer import Calls
from nncore.streams import stream

__all__ = ["ChosenRows", "MatrixRows", "RowSource", "gathered", "stratified_split", "with_ones"]


class RowSource(Protocol):
    """Rows that need not exist as a matrix: they are made for each batch.

    There are ``samples`` rows of ``inputs`` numbers in ``dtype``.
    """

    @property
    def samples(self) -> int: ...

    @property
    def inputs(self) -> int: ...

    @property
    def dtype(self) -> np.dtype[Any]: ...

    def gather_calls(self, chosen: Array, out: Array) -> Calls:
        """Return the calls that write the rows ``chosen`` into ``out``, (n_chosen, inputs + 1).

        The last column of ``out`` is ones before and after them.
        """

    def expanded(self, start: int = 0, stop: int | None = None) -> Array:
        """The rows from ``start`` to before ``stop``, (n_rows, inputs)."""


class MatrixRows:
    """Rows of a matrix (n_samples, inputs + 1) whose last column is ones, as ``with_ones`` returns it."""

    def __init__(self, rows: Array) -> None:
        self.rows = rows
        self.samples, self.inputs, self.dtype = rows.shape[0], rows.shape[1] - 1, rows.dtype

    def gather_calls(self, chosen: Array, out: Array) -> Calls:
        """Return the calls that write the rows ``chosen`` into ``out``, (n_chosen, inputs + 1)."""
        # mode="raise" would copy the result once more, to leave the output unchanged on an error.
        return [partial(self.rows.take, chosen, axis=0, out=out, mode="clip")]

    def expanded(self, start: int = 0, stop: int | None = None) -> Array:
        """The rows from ``start`` to before ``stop``, (n_rows, inputs)."""
        rows: Array = self.rows[start:stop, :-1]
        return rows


class ChosenRows:
    """Some rows of another source, in the order of their numbers ``rows``; nothing is copied until they are read.

    Raises ValueError if a number is not that of a row.
    """

    def __init__(self, source: RowSource, rows: Array) -> None:
        if rows.ndim != 1 or rows.dtype.kind not in "iu":
            raise ValueError(f"rows must be a vector of whole numbers. Received: {rows.dtype} of {rows.shape}")
        if rows.size and not 0 <= rows.min() <= rows.max() < source.samples:
            wrong = rows[(rows < 0) | (rows >= source.samples)][0]
            raise ValueError(f"rows must be from 0 to {source.samples - 1}. Received: {wrong}")
        self._source, self._rows = source, rows.astype(np.intp)
        self.samples, self.inputs, self.dtype = len(rows), source.inputs, source.dtype

    def gather_calls(self, chosen: Array, out: Array) -> Calls:
        """Return the calls that write the ones ``chosen`` of these rows into ``out``, (n_chosen, inputs + 1)."""
        rows = np.empty(chosen.shape, np.intp)
        take = partial(self._rows.take, chosen, out=rows, mode="clip")
        return [take, *self._source.gather_calls(rows, out)]

    def expanded(self, start: int = 0, stop: int | None = None) -> Array:
        """The rows from ``start`` to before ``stop``, (n_rows, inputs)."""
        chosen = self._rows[start:stop]
        return gathered(self._source, chosen)[:, :-1]


def gathered(source: RowSource, chosen: Array) -> Array:
    """Return the rows ``chosen`` of a source, (n_chosen, inputs + 1), with a last column of ones."""
    out = np.ones((len(chosen), source.inputs + 1), source.dtype)
    for call in source.gather_calls(chosen, out):
        call()
    return out


def with_ones(x: Array, dtype: np.dtype[np.generic], order: Literal["C", "F"] = "C") -> Array:
    """Return ``x`` with a last column of ones, (n_samples, n_features + 1), as training needs it.

    ``order`` is the memory layout: "C" is row by row, "F" column by column.

    Raises ValueError if ``x`` is not two-dimensional or contains a value that is not finite in ``dtype``.
    """
    if x.ndim != 2:
        raise ValueError(f"x must have shape (n_samples, n_features). Received: {x.shape}")
    rows = np.empty((x.shape[0], x.shape[1] + 1), dtype, order)
    with np.errstate(over="ignore"):
        rows[:, :-1] = x
    rows[:, -1] = 1
    if not np.isfinite(rows).all():
        row, column = np.argwhere(~np.isfinite(rows))[0].tolist()
        raise ValueError(f"x[{row}, {column}] must be finite in {dtype}. Received: {x[row, column]}")
    return rows


def stratified_split(labels: Array, fraction: float, seed: int) -> tuple[Array, Array]:
    """Return the row numbers of a stratified split, (training, validation), both in ascending order.

    Validation gets ``fraction`` of all rows, rounded, in proportion to the classes. Rows left over by rounding go to
    the classes with the largest remainders. Every class keeps at least one row for training. Raises ValueError if
    either side is empty.
    """
    generator = stream(seed, "split")
    classes, counts = np.unique(labels, return_counts=True)
    exact = counts * fraction
    taken = np.minimum(np.floor(exact).astype(int), counts - 1)
    wanted = round(len(labels) * fraction)
    # A stable sort gives equal remainders to the lower class on every machine.
    for index in np.argsort(-(exact - np.floor(exact)), kind="stable"):
        if taken.sum() < wanted and taken[index] < counts[index] - 1:
            taken[index] += 1
    held_out = np.zeros(len(labels), bool)
    for number, count in zip(classes, taken, strict=True):
        held_out[generator.permutation(np.flatnonzero(labels == number))[:count]] = True
    if held_out.all() or not held_out.any():
        raise ValueError(
            "the validation fraction must leave rows for both training and validation. "
            f"Received: {fraction:g} of {len(labels)} rows in {len(classes)} classes"
        )
    return np.flatnonzero(~held_out), np.flatnonzero(held_out)
