"""HDF5 files as pieces of memory, which are copied, hashed and written without the HDF5 library.

HDF5 writes the layout and all small objects into memory, and only reserves space for large arrays. These are written
from their original memory. So a save copies no large array, and a disk error occurs in a system call of this program,
not inside the library. Arrays may also lie in pieces of a file, from which they are copied and never held as a whole.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from models.formats.durable import FileSpan, Piece, chunks

__all__ = ["ArrayInFile", "Image", "Memory", "Put", "hdf5_image"]

#: The bytes of a file, as consecutive pieces.
Image = Sequence[Piece]


@dataclass(frozen=True)
class ArrayInFile:
    """An array of one dimension that lies in an open file, in consecutive pieces."""

    dtype: np.dtype[Any]
    pieces: tuple[FileSpan, ...]

    @property
    def nbytes(self) -> int:
        """Bytes of all pieces."""
        return sum(piece.nbytes for piece in self.pieces)

    @property
    def shape(self) -> tuple[int]:
        """The number of values."""
        return (self.nbytes // self.dtype.itemsize,)

    def read(self) -> npt.NDArray[Any]:
        """All values, in memory. Raises OSError."""
        return np.frombuffer(b"".join(chunk for piece in self.pieces for chunk in chunks(piece)), self.dtype)


#: Adds an array to the file under a path.
Put = Callable[[str, npt.NDArray[Any] | ArrayInFile], None]

#: Minimum size in bytes of arrays that are not copied.
_LARGE = 65_536
_PAGE = 4096


class Memory:
    """Memory for copies of arrays, reused from save to save."""

    def __init__(self) -> None:
        self._bytes = np.empty(0, np.uint8)

    def room(self, size: int) -> npt.NDArray[np.uint8]:
        """``size`` bytes of unspecified content. The next call reuses them."""
        if self._bytes.size < size:
            self._bytes = np.empty(size + size // 8, np.uint8)
        return self._bytes[:size]


def hdf5_image(build: Callable[[h5py.File, Put], None], memory: Memory | None = None) -> Image:
    """The HDF5 file that ``build`` fills with attributes, groups and arrays.

    Arrays begin at multiples of 64 bytes, so that they can be mapped and used by vector instructions. The format is
    that of HDF5 1.8, which every tool reads.

    Large arrays are not copied, so the image is valid until they change. With ``memory`` they are copied, and the
    image is valid until ``memory`` is used again.
    """
    sparse, large, distant = _SparseFile(), list[tuple[int, npt.NDArray[Any]]](), list[tuple[int, ArrayInFile]]()
    with h5py.File(
        sparse, "w", libver=("v108", "v108"), alignment_threshold=1, alignment_interval=64, locking=False
    ) as file:

        def put(name: str, array: npt.NDArray[Any] | ArrayInFile) -> None:
            if array.nbytes < _LARGE:
                file[name] = array.read() if isinstance(array, ArrayInFile) else array
                return
            place = file.create_dataset(name, array.shape, array.dtype, dcpl=_reserved(), track_times=False).id
            if isinstance(array, ArrayInFile):
                distant.append((place.get_offset(), array))
            else:
                large.append((place.get_offset(), np.ascontiguousarray(array)))

        build(file, put)
    if memory is not None:
        large = _copied(large, memory)
    pieces, end = list[Piece](), 0
    places: list[tuple[int, Sequence[Piece]]] = [
        (offset, [array.reshape(-1).view(np.uint8).data]) for offset, array in large
    ]
    places += [(offset, array.pieces) for offset, array in distant]
    for offset, parts in sorted(places, key=lambda place: place[0]):
        pieces += [sparse.read_between(end, offset), *parts]
        end = offset + sum(part.nbytes for part in parts)
    pieces.append(sparse.read_between(end, sparse.size))
    return [piece for piece in pieces if piece.nbytes]


def _reserved() -> h5py.h5p.PropDCID:
    """Properties of a contiguous dataset that gets its offset at once and is not filled."""
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_layout(h5py.h5d.CONTIGUOUS)
    properties.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    properties.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    return properties


def _copied(large: list[tuple[int, npt.NDArray[Any]]], memory: Memory) -> list[tuple[int, npt.NDArray[Any]]]:
    room = memory.room(sum(array.nbytes for _, array in large))
    copies, start = [], 0
    for offset, array in large:
        copy = room[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
        np.copyto(copy, array)
        copies.append((offset, copy))
        start += array.nbytes
    return copies


class _SparseFile(io.RawIOBase):
    """A file in memory that stores only the pages written to it; the rest reads as zeros."""

    def __init__(self) -> None:
        super().__init__()
        self.size = 0
        self._position = 0
        self._pages: dict[int, bytearray] = {}

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._position = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.size}[whence]
        return self._position

    def tell(self) -> int:
        return self._position

    def truncate(self, size: int | None = None) -> int:
        self.size = self._position if size is None else size
        return self.size

    def write(self, data: Any) -> int:
        content = memoryview(data).cast("B")
        done = 0
        while done < len(content):
            number, offset = divmod(self._position, _PAGE)
            piece = content[done : done + _PAGE - offset]
            page = self._pages.setdefault(number, bytearray(_PAGE))
            page[offset : offset + len(piece)] = piece
            done += len(piece)
            self._position += len(piece)
        self.size = max(self.size, self._position)
        return done

    def readinto(self, buffer: Any) -> int:
        content = memoryview(buffer).cast("B")
        content[:] = self.read_between(self._position, self._position + len(content))
        self._position += len(content)
        return len(content)

    def read_between(self, start: int, stop: int) -> memoryview:
        """The bytes from ``start`` to before ``stop``."""
        content = bytearray(stop - start)
        for number in range(start // _PAGE, -(-stop // _PAGE)):
            page = self._pages.get(number)
            if page is not None:
                low, high = max(start, number * _PAGE), min(stop, (number + 1) * _PAGE)
                content[low - start : high - start] = page[low - number * _PAGE : high - number * _PAGE]
        return memoryview(content)
