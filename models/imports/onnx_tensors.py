"""Arrays of an ONNX file: sizes are checked before bytes are read, and nothing outside the file is opened.

The messages are those of https://github.com/onnx/onnx/blob/main/onnx/onnx.proto.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from models.errors import describe
from models.imports.chain import refused
from nncore.arrays import Array

__all__ = ["FLOATS", "INTEGERS", "STRING", "array_of"]

#: Numbers of types in ``TensorProto.DataType``.
FLOAT, UINT8, INT8, INT32, INT64, STRING, BOOL, FLOAT16, DOUBLE, BFLOAT16 = 1, 2, 3, 6, 7, 8, 9, 10, 11, 16
FLOATS = frozenset({FLOAT, FLOAT16, DOUBLE, BFLOAT16})
INTEGERS = frozenset({UINT8, INT8, INT32, INT64, BOOL})

#: By type: that of the bytes, and the field of values that are not given as bytes.
_FORMS = {
    FLOAT: ("<f4", "float_data"),
    DOUBLE: ("<f8", "double_data"),
    FLOAT16: ("<f2", "int32_data"),
    BFLOAT16: ("<u2", "int32_data"),
    UINT8: ("u1", "int32_data"),
    INT8: ("i1", "int32_data"),
    BOOL: ("u1", "int32_data"),
    INT32: ("<i4", "int32_data"),
    INT64: ("<i8", "int64_data"),
}
_EXTERNAL = 1


def array_of(tensor: Any, place: str) -> Array:
    """The array of a ``TensorProto``; texts as objects. Raises InvalidError at ``place``."""
    if tensor.data_location == _EXTERNAL or tensor.external_data:
        wanted = "must have its values in this file; save the model without external data"
        raise refused(place, wanted, "values in another file")
    shape = tuple(tensor.dims)
    if min(shape, default=1) < 0:
        raise refused(place, "must have a size in each dimension", f"shape {shape}")
    count = math.prod(shape)
    if tensor.data_type == STRING:
        return _texts(tensor, place, shape)
    if tensor.data_type not in _FORMS:
        wanted = "must be of floating-point numbers, integers, booleans or strings"
        raise refused(place, wanted, f"type {tensor.data_type} of TensorProto")
    form, field = _FORMS[tensor.data_type]
    if tensor.HasField("raw_data"):
        if len(tensor.raw_data) != count * np.dtype(form).itemsize:
            size = f"{len(tensor.raw_data)} bytes"
            raise refused(place, f"must have {count * np.dtype(form).itemsize} bytes, as its shape {shape} says", size)
        found = np.frombuffer(tensor.raw_data, form)
    else:
        values = getattr(tensor, field)
        if len(values) != count:
            raise refused(place, f"must have {count} values, as its shape {shape} says", len(values))
        found = _given(values, tensor.data_type, form)
    if tensor.data_type == BFLOAT16:  # The upper half of a float32.
        found = (found.astype(np.uint32) << 16).view(np.float32)
    if tensor.data_type == FLOAT16:
        found = found.astype(np.float32)
    return found.reshape(shape).astype(bool if tensor.data_type == BOOL else found.dtype, copy=False)


def _given(values: Any, kind: int, form: str) -> Array:
    """Values of a field; those of 16 bits are the bits."""
    if kind in (FLOAT16, BFLOAT16):
        return np.array(values, np.uint32).astype("<u2").view(form)
    found: Array = np.array(values).astype(form)
    return found


def _texts(tensor: Any, place: str, shape: tuple[int, ...]) -> Array:
    if len(tensor.string_data) != math.prod(shape):
        raise refused(place, f"must have {math.prod(shape)} texts, as its shape {shape} says", len(tensor.string_data))
    found = np.empty(len(tensor.string_data), object)
    for index, text in enumerate(tensor.string_data):
        found[index] = text_of(text, place)
    return found.reshape(shape)


def text_of(text: bytes, place: str) -> str:
    """A string of an ONNX file, which is UTF-8."""
    try:
        return text.decode()
    except UnicodeDecodeError:
        raise refused(place, "must be UTF-8", describe(text[:20])) from None
