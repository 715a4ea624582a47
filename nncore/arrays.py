"""Arrays with names, and memory that is asked for once.

``NamedVector`` keeps many named arrays in one contiguous vector, so that an optimizer updates all of them with a few
vector operations while everyone else sees names and shapes. ``Workspace`` hands out the buffers of a training step.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["ALIGNMENT", "Array", "NamedVector", "Shapes", "Workspace", "aligned"]

Array = npt.NDArray[Any]
Shapes = Mapping[str, tuple[int, ...]]

#: Bytes of a cache line. Where vectors begin at one, no load of a vector register straddles two: in-place operations on
#: 100,000 numbers take a third less time than at the 16 bytes that allocators promise.
ALIGNMENT = 64


def aligned(size: int, dtype: npt.DTypeLike) -> Array:
    """A vector of zeros that begins at a cache line."""
    itemsize = np.dtype(dtype).itemsize
    memory = np.zeros(size + ALIGNMENT // itemsize, dtype)
    start = -memory.ctypes.data % ALIGNMENT // itemsize
    return memory[start : start + size]


class NamedVector(Mapping[str, Array]):
    """One contiguous vector and, by name and in order, a view of it for each shape.

    Names are ``group/name``; the arrays of a group stand side by side, so that ``block`` can view them as one.

    Raises ValueError where ``vector`` is not one-dimensional with exactly as many elements as the shapes need.
    """

    def __init__(self, shapes: Shapes, vector: Array) -> None:
        size = sum(math.prod(shape) for shape in shapes.values())
        if vector.shape != (size,):
            raise ValueError(f"the vector must have shape ({size},). Received: {vector.shape}")
        self.vector = vector
        self.shapes = dict(shapes)
        self._views: dict[str, Array] = {}
        self._extent: dict[str, tuple[int, int]] = {}
        start = 0
        for name, shape in shapes.items():
            stop = start + math.prod(shape)
            self._views[name] = vector[start:stop].reshape(shape)
            group = name.partition("/")[0]
            self._extent[group] = (self._extent.get(group, (start, start))[0], stop)
            start = stop

    @classmethod
    def zeros(cls, shapes: Shapes, dtype: npt.DTypeLike) -> NamedVector:
        """A vector of zeros with room for all ``shapes``."""
        return cls(shapes, aligned(sum(math.prod(shape) for shape in shapes.values()), dtype))

    def __getitem__(self, name: str) -> Array:
        return self._views[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._views)

    def __len__(self) -> int:
        return len(self._views)

    def group(self, group: str) -> dict[str, Array]:
        """The views of one group, by their names without the group."""
        return {name.partition("/")[2]: view for name, view in self.items() if name.partition("/")[0] == group}

    def block(self, group: str) -> Array:
        """All arrays of one group as one flat view; empty for a group without arrays."""
        start, stop = self._extent.get(group, (0, 0))
        return self.vector[start:stop]

    def fill_from(self, arrays: Mapping[str, Array]) -> None:
        """Copy ``arrays`` in; raises ValueError naming the first name or shape that differs from this vector's."""
        for name in sorted(self.keys() ^ arrays.keys()):
            raise ValueError(f"{name}: {'missing' if name in self else 'not expected'}")
        for name, view in self.items():
            if arrays[name].shape != view.shape:
                raise ValueError(f"{name}: expected shape {view.shape}, found {arrays[name].shape}")
            view[...] = arrays[name]

    def first_non_finite(self) -> str | None:
        """The first name whose array holds NaN or an infinity."""
        # The product of the vector with itself is soon told; only where it overflows is every number looked at.
        if math.isfinite(float(self.vector @ self.vector)) or np.isfinite(self.vector).all():
            return None
        return next(name for name, view in self.items() if not np.isfinite(view).all())


class Workspace:
    """Buffers handed out in order, and handed out again in the same order after ``rewind``.

    Plans for several batch sizes ask for the same sequence of buffers, so they share one memory: the largest plan
    comes first, the smaller ones get the beginning of each buffer.
    """

    def __init__(self, dtype: npt.DTypeLike) -> None:
        self.dtype = np.dtype(dtype)
        self._buffers: list[Array] = []
        self._next = 0
        self._shared: dict[str, Array] = {}

    def rewind(self) -> None:
        """Start handing out the same buffers again."""
        self._next = 0

    def array(self, shape: tuple[int, ...], dtype: npt.DTypeLike | None = None) -> Array:
        """A C-contiguous array of ``shape``, of unspecified content."""
        wanted, size = self.dtype if dtype is None else np.dtype(dtype), math.prod(shape)
        if self._next == len(self._buffers):
            self._buffers.append(aligned(size, wanted))
        buffer = self._buffers[self._next]
        if buffer.dtype != wanted or buffer.size < size:
            raise ValueError("a workspace must be asked for the same buffers in the same order, the largest first")
        self._next += 1
        return buffer[:size].reshape(shape)

    def scratch(self, shape: tuple[int, ...]) -> Array:
        """A C-contiguous array whose content lasts for one layer's pass: all layers share its memory."""
        return self._shared_array("scratch", shape)

    def filled(self, value: float, shape: tuple[int, ...], dtype: npt.DTypeLike | None = None) -> Array:
        """A C-contiguous array of one value to read from: all layers share its memory."""
        return self._shared_array(f"filled with {value}", shape, dtype, value)

    def _shared_array(
        self, name: str, shape: tuple[int, ...], dtype: npt.DTypeLike | None = None, value: float = 0.0
    ) -> Array:
        size = math.prod(shape)
        if name not in self._shared or self._shared[name].size < size:
            self._shared[name] = aligned(size, self.dtype if dtype is None else dtype)
            self._shared[name].fill(value)
        return self._shared[name][:size].reshape(shape)
