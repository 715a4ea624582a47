"""Loops: which elementwise operations of a plan run together, in one pass over their arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.lib.array_utils import byte_bounds

from nncore.arrays import Array
from nncore.kernels.kinds import Constant
from nncore.kernels.operations import Operation

__all__ = ["Layout", "Loop", "Place", "PlaceKind", "Step", "overlap", "same_place"]


#: Operations of a loop at most: the time to compile one grows faster than its length.
LONGEST = 64


def overlap(one: tuple[int, int], other: tuple[int, int]) -> bool:
    """Return whether two pieces of memory, each from where to where, have bytes in common."""
    return one[0] < other[1] and other[0] < one[1]


def same_place(one: Array, other: Array) -> bool:
    """Return whether each element of two arrays has the same memory, whatever their types."""
    return (
        one.ctypes.data == other.ctypes.data
        and one.shape == other.shape
        and one.strides == other.strides
        and one.itemsize == other.itemsize
    )


class PlaceKind(NamedTuple):
    """What a loop's code says of an array.

    ``extent`` is "whole" for an element in each row and column, or in each column; "column" for one in each row; and
    "number" for one in all. ``value`` is what all elements are, if that is sure.
    """

    dtype: np.dtype[Any]
    extent: Literal["whole", "column", "number"]
    value: float | None = None


class Place(NamedTuple):
    """An array of a loop, and how far apart two of its rows are, in elements."""

    array: Array
    row_stride: int
    kind: PlaceKind


class Step(NamedTuple):
    """An operation of a loop: the numbers of its places, and the types as which it reads its inputs."""

    name: str
    inputs: tuple[int, ...]
    types: tuple[np.dtype[Any], ...]
    output: int


@dataclass
class Loop:
    """Elementwise operations on arrays of one shape, in the order in which each element passes through them."""

    operations: list[Operation] = field(default_factory=list)

    def takes(self, operation: Operation) -> bool:
        """Return whether an operation can join: no element of its arrays depends on another element of the loop's."""
        if not self.operations:
            return True
        if len(self.operations) == LONGEST or operation.output.shape != self.operations[0].output.shape:
            return False
        output, bounds = operation.output, operation.output_bounds
        for earlier in self.operations:
            written, its_bounds = earlier.output, earlier.output_bounds
            if overlap(bounds, its_bounds) and not same_place(output, written):
                return False
            for array, own in zip(operation.inputs, operation.input_bounds, strict=True):
                if overlap(own, its_bounds) and not same_place(array, written):
                    return False
            for array, own in zip(earlier.inputs, earlier.input_bounds, strict=True):
                if overlap(bounds, own) and not same_place(array, output):
                    return False
        return True

    def laid_out(self, constants: Sequence[Constant]) -> Layout | None:
        """Return how the loop passes through its arrays; None if their rows do not have adjacent elements."""
        arrays: list[Array] = []

        def number(array: Array) -> int:
            found = next((index for index, known in enumerate(arrays) if same_place(known, array)), len(arrays))
            if found == len(arrays):
                arrays.append(array)
            return found

        steps = []
        for operation in self.operations:
            inputs, types = operation.inputs, tuple(array.dtype for array in operation.inputs)
            numbers = tuple(number(array) for array in inputs)
            steps.append(Step(operation.name, numbers, types, number(operation.output)))
        found = _rows_and_columns(self.operations[0].output.shape, arrays)
        if found is None:
            return None
        rows, columns, strides = found
        places = []
        for array, (row_stride, column_stride) in zip(arrays, strides, strict=True):
            if column_stride not in (0, array.itemsize):
                return None
            extent: Literal["whole", "column", "number"]
            extent = "whole" if column_stride else "column" if row_stride else "number"
            value = next((value for known, value in constants if _within(array, known)), None)
            places.append(Place(array, row_stride // array.itemsize, PlaceKind(array.dtype, extent, value)))
        if any(places[step.output].kind.extent != "whole" for step in steps):
            return None
        return Layout(rows, columns, places, steps)


class Layout(NamedTuple):
    """The sizes of a loop, its arrays and its steps."""

    rows: int
    columns: int
    places: list[Place]
    steps: list[Step]


def _within(array: Array, other: Array) -> bool:
    (begin, end), (first, last) = byte_bounds(array), byte_bounds(other)
    return array.dtype == other.dtype and first <= begin and end <= last


def _rows_and_columns(shape: tuple[int, ...], arrays: Sequence[Array]) -> tuple[int, int, list[tuple[int, int]]] | None:
    """Return numbers of rows and columns, and each array's strides in bytes; None if that takes more dimensions."""
    # An axis of one element has any stride, and 0 after a broadcast.
    strides = [list((a if a.shape == shape else np.broadcast_to(a, shape)).strides) for a in arrays]
    sizes = list(shape)
    for axis in range(len(sizes) - 2, -1, -1):
        if sizes[axis] == 1 or all(each[axis] == each[axis + 1] * sizes[axis + 1] for each in strides):
            sizes[axis : axis + 2] = [sizes[axis] * sizes[axis + 1]]
            for each in strides:
                del each[axis]
    if not 1 <= len(sizes) <= 2:
        return None
    if len(sizes) == 1:
        return 1, sizes[0], [(0, each[0]) for each in strides]
    return sizes[0], sizes[1], [(each[0], each[1]) for each in strides]
