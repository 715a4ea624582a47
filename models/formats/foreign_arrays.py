"""Arrays of an untrusted file by their places: found, read one after the other, and taken from what was passed on."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np

from models.errors import InvalidError
from models.formats.untrusted_hdf5 import ForeignFile, read
from nncore.arrays import Array

__all__ = ["Place", "Places", "arrays_in", "group_of", "in_order", "names_below", "read_arrays", "size_of"]


class Place(NamedTuple):
    """Shape and type of an array; it holds finite numbers or, with ``nan``, also NaN.

    If it was ``added`` by a later release, a file may lack it. It is NaN then.
    """

    shape: tuple[int, ...]
    dtype: str
    nan: bool = False
    added: bool = False

    @property
    def size(self) -> int:
        """The array's bytes."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize


#: Arrays by their paths in a file.
Places = dict[str, Place]


def in_order(wanted: Places) -> Places:
    """The arrays in the order in which they are passed on: those of large items first, so that all are aligned."""
    return dict(sorted(wanted.items(), key=lambda item: -np.dtype(item[1].dtype).itemsize))


def size_of(wanted: Places) -> int:
    """The bytes of all arrays."""
    return sum(place.size for place in wanted.values())


def names_below(wanted: Places, top: str = "", *, loose: frozenset[str] = frozenset()) -> dict[str, set[str]]:
    """The allowed names in each group below ``top``, which is none of them; groups in ``loose`` may hold others."""
    found: dict[str, set[str]] = {}
    for path in wanted:
        parent, _, name = path.rpartition("/")
        while parent != top and parent not in loose:
            found.setdefault(parent, set()).add(name)
            parent, _, name = parent.rpartition("/")
    return found


def read_arrays(file: ForeignFile, wanted: Places) -> Iterator[tuple[str, Array]]:
    """Paths and arrays in the order of ``wanted``. All are checked before the first one is read.

    Raises InvalidError with the first place that differs, and if the file cannot hold all of them.
    """
    there = {path: place for path, place in wanted.items() if not place.added or file.has(path)}
    found = {path: file.dataset(path, place.shape, place.dtype) for path, place in there.items()}
    size = size_of(there)
    if size > file.size:
        raise InvalidError.at("/", f"must hold {size} bytes of numbers. Received: a file of {file.size} bytes")
    return (
        (path, read(path, found[path], dtype, nan=nan) if path in found else np.full(shape, np.nan, dtype))
        for path, (shape, dtype, nan, _added) in wanted.items()
    )


def arrays_in(content: memoryview, wanted: Places) -> dict[str, Array]:
    """The arrays by path as views of their bytes, one after the other. Raises ValueError if the size is wrong."""
    if content.nbytes != size_of(wanted):
        raise ValueError(f"the arrays must have {size_of(wanted)} bytes. Received: {content.nbytes}")
    arrays: dict[str, Array] = {}
    start = 0
    for path, place in wanted.items():
        arrays[path] = np.frombuffer(content, place.dtype, math.prod(place.shape), start).reshape(place.shape)
        start += place.size
    return arrays


def group_of(arrays: Mapping[str, Array], group: str) -> dict[str, Array]:
    """The arrays below a group, by their paths from there."""
    return {path.removeprefix(f"{group}/"): array for path, array in arrays.items() if path.startswith(f"{group}/")}
