"""Tensors of the Open Inference Protocol: their datatypes, in JSON and as the raw bytes of Triton's binary extension.

Raw elements stand in row-major order without gaps, little-endian, in the size of their datatype. One of BOOL is a byte,
0 or 1. One of BYTES is its length, four bytes, and then its bytes. In JSON, elements stand in one flat list, or in
lists within lists as ``shape`` says.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any

import numpy as np

from models.data.rows import Array
from models.errors import Faults, InvalidError, describe

__all__ = ["BF16", "BYTES", "DATATYPES", "element", "from_json", "from_raw", "raw_strings", "to_raw"]

#: The datatypes that NumPy lacks: half of a float32, and strings of bytes.
BF16, BYTES = "BF16", "BYTES"
#: How the elements of each datatype are stored; those of BYTES have no fixed size.
DATATYPES: dict[str, np.dtype[Any] | None] = {
    "BOOL": np.dtype("?"),
    "UINT8": np.dtype("<u1"),
    "UINT16": np.dtype("<u2"),
    "UINT32": np.dtype("<u4"),
    "UINT64": np.dtype("<u8"),
    "INT8": np.dtype("<i1"),
    "INT16": np.dtype("<i2"),
    "INT32": np.dtype("<i4"),
    "INT64": np.dtype("<i8"),
    "FP16": np.dtype("<f2"),
    "FP32": np.dtype("<f4"),
    "FP64": np.dtype("<f8"),
    BF16: np.dtype("<u2"),
    BYTES: None,
}

#: The length before the bytes of each string.
_LENGTH = struct.Struct("<I")


def from_raw(datatype: str, raw: memoryview, count: int, pointer: str) -> Array:
    """The ``count`` elements in raw bytes, (count,): numbers or truths, of BYTES strings as objects.

    Numbers and truths are not copied. Raises InvalidError at ``pointer`` if the bytes are others than such elements.
    """
    dtype = DATATYPES[datatype]
    if dtype is None:
        return _strings(raw, count, pointer)
    if len(raw) != count * dtype.itemsize:
        each = "1 byte" if dtype.itemsize == 1 else f"{dtype.itemsize} bytes"
        detail = f"must have {count * dtype.itemsize} bytes, {each} for each of {count} elements of {datatype}"
        raise InvalidError.at(pointer, f"{detail}. Received: {len(raw)}")
    if dtype.kind == "b":
        octets = np.frombuffer(raw, np.uint8)
        if count and octets.max() > 1:
            place = int(np.argmax(octets > 1))
            raise InvalidError.at(pointer, f"element {place} must be the byte 0 or 1. Received: {octets[place]}")
    values = np.frombuffer(raw, dtype)
    return _widened(values) if datatype == BF16 else values


def _widened(halves: Array) -> Array:
    """The float32 whose upper two bytes are given."""
    return (halves.astype(np.uint32) << 16).view(np.float32)


def _strings(raw: memoryview, count: int, pointer: str) -> Array:
    found: list[str] = []
    place, size = 0, len(raw)
    while place < size:
        start = place + _LENGTH.size
        if start > size:
            detail = f"element {len(found)} must begin with its length, 4 bytes. Received: {size - place} bytes"
            raise InvalidError.at(pointer, detail)
        (length,) = _LENGTH.unpack_from(raw, place)
        place = start + length
        if place > size:
            detail = f"element {len(found)} has {length} bytes according to its length, and {size - start} are left"
            raise InvalidError.at(pointer, detail)
        try:
            found.append(str(raw[start:place], "utf-8"))
        except UnicodeDecodeError as error:
            raise InvalidError.at(pointer, f"element {len(found)} must be text in UTF-8: {error.reason}") from None
    if len(found) != count:
        raise InvalidError.at(pointer, f"must hold {count} elements, as shape says. Received: {len(found)}")
    strings = np.empty(count, object)
    strings[:] = found
    return strings


def to_raw(values: Array, datatype: str) -> bytes:
    """The raw bytes of elements: numbers and truths as NumPy has them, of BYTES texts as objects."""
    dtype = DATATYPES[datatype]
    if dtype is None:
        return raw_strings(values.ravel().tolist())
    if datatype == BF16:
        return (values.astype(np.float32).view(np.uint32) >> 16).astype(dtype).tobytes()
    return values.astype(dtype, copy=False).tobytes()


def raw_strings(texts: Iterable[str]) -> bytes:
    """The raw bytes of texts."""
    pieces: list[bytes] = []
    for text in texts:
        encoded = text.encode()
        pieces += (_LENGTH.pack(len(encoded)), encoded)
    return b"".join(pieces)


def from_json(datatype: str, data: Any, shape: Sequence[int], pointer: str, *, gaps: bool = False) -> list[Any]:
    """The elements of a tensor in a flat list, of the Python types that JSON has for the datatype.

    With ``gaps``, an element may be null. One string may stand for a list of it. Raises InvalidError with the first
    faults; ``pointer`` is the place of ``data``.
    """
    if type(data) is str and datatype == BYTES:
        data = [data]
    if type(data) is not list:
        raise InvalidError.at(pointer, f"must be a list of the tensor's elements. Received: {describe(data)}")
    values = _flat(data, shape, pointer) if data and type(data[0]) is list else data
    count = math.prod(shape)
    if len(values) != count:
        raise InvalidError.at(pointer, f"must hold {count} elements, as shape says. Received: {len(values)}")
    _check(datatype, data, values, shape, pointer, gaps=gaps)
    return values


def element(data: Any, shape: Sequence[int], index: int) -> str:
    """The JSON pointer of an element within ``data``, by its index in the flat list."""
    if not (type(data) is list and data and type(data[0]) is list):
        return f"/{index}" if type(data) is list else ""
    return "".join(f"/{place}" for place in np.unravel_index(index, tuple(shape)))


def _flat(data: list[Any], shape: Sequence[int], pointer: str) -> list[Any]:
    """The elements of lists within lists; raises InvalidError if they are not as ``shape`` says."""
    if len(data) != shape[0]:
        raise InvalidError.at(pointer, f"must be a list of {shape[0]}, as shape says. Received: {len(data)}")
    level = data
    for depth in range(1, len(shape)):
        size = shape[depth]
        if set(map(type, level)) != _LISTS or set(map(len, level)) != {size}:
            index = next(place for place, each in enumerate(level) if type(each) is not list or len(each) != size)
            received = len(level[index]) if type(level[index]) is list else describe(level[index])
            place = "".join(f"/{part}" for part in np.unravel_index(index, tuple(shape[:depth])))
            raise InvalidError.at(pointer + place, f"must be a list of {size}, as shape says. Received: {received}")
        level = list(chain.from_iterable(level))
    return level


def _check(datatype: str, data: Any, values: list[Any], shape: Sequence[int], pointer: str, *, gaps: bool) -> None:
    """Raise InvalidError for the elements that are not of the datatype."""
    types, limits = _TYPES[datatype]
    allowed = types | _NOTHING if gaps else types
    fitting = set(map(type, values)) <= allowed
    if fitting and limits is not None:
        numbers = [value for value in values if value is not None] if gaps else values
        fitting = not numbers or (min(numbers) >= limits[0] and max(numbers) <= limits[1])
    if fitting:
        return
    faults, wanted = Faults(), _WANTED.get(datatype, "a number")
    if limits is not None:
        wanted = f"a whole number from {limits[0]} to {limits[1]}"
    for index, value in enumerate(values):
        if type(value) in allowed and (limits is None or value is None or limits[0] <= value <= limits[1]):
            continue
        if faults.full:
            faults.count()
        else:
            place = pointer + element(data, shape, index)
            faults.add(place, f"must be {wanted}, because the datatype is {datatype}. Received: {describe(value)}")
    faults.check()


_LISTS: set[type] = {list}
_NOTHING: set[type] = {type(None)}
_WANTED = {"BOOL": "true or false", BYTES: "a string"}


def _types(datatype: str, dtype: np.dtype[Any] | None) -> tuple[set[type], tuple[int, int] | None]:
    """The types that JSON has for the elements of a datatype, and the bounds of whole numbers."""
    if dtype is None:
        return {str}, None
    if dtype.kind == "b":
        return {bool}, None
    if dtype.kind == "f" or datatype == BF16:
        return {int, float}, None
    bounds = np.iinfo(dtype)
    return {int}, (int(bounds.min), int(bounds.max))


_TYPES = {datatype: _types(datatype, dtype) for datatype, dtype in DATATYPES.items()}
