"""Programs: calls of a plan, compiled where that is possible.

Neighbouring elementwise operations on arrays of one shape become one loop. What cannot be compiled is called as before,
in its place.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from functools import cache, partial
from typing import Any

import numpy as np
from numpy.lib.array_utils import byte_bounds

from nncore.arrays import Array
from nncore.kernels import code
from nncore.kernels.compiler import address_of
from nncore.kernels.elementwise import is_compiled
from nncore.kernels.kinds import Constant
from nncore.kernels.loops import Loop, overlap, same_place
from nncore.kernels.operations import Operation, operation_of
from nncore.kernels.products import gemm_address, product_words
from nncore.layer import Call, Calls

__all__ = ["compiled"]


class _Code:
    """A compiled function with the words of its block; ``kept`` are arrays that it needs in addition to the calls'."""

    def __init__(self, text: str, words: Sequence[int], kept: Any = None) -> None:
        self.text, self.words, self.kept = text, words, kept


def compiled(calls: Calls, dead: Sequence[Array] = (), constants: Sequence[Constant] = ()) -> Calls:
    """Return calls that do what ``calls`` do, with the same bits.

    Nobody reads ``dead`` arrays afterwards, and ``constants`` are arrays that always have one number. All arrays must
    stay where they are.
    """
    operations = [_separable(operation_of(call)) for call in calls]
    found: list[Call | _Code] = []
    position = 0
    while position < len(calls):
        loop = Loop()
        end = position
        while end < len(calls):
            operation = operations[end]
            if operation is None or not _is_elementwise(operation) or not loop.takes(operation):
                break
            loop.operations.append(operation)
            end += 1
        made = _loop(loop, operations[end:], dead, constants) if loop.operations else None
        if made is None:
            end = position + 1
            made = _other(operations[position])
        found.append(calls[position] if made is None else made)
        position = end
    return _programs(found, calls)


def _separable(operation: Operation | None) -> Operation | None:
    """The operation, unless an element of its output has the memory of another element of an input.

    NumPy copies such inputs first.
    """
    if operation is None:
        return None
    output, elementwise = operation.output, operation.kind == "elementwise"
    for array, bounds in zip(operation.inputs, operation.input_bounds, strict=True):
        if overlap(bounds, operation.output_bounds) and not (elementwise and same_place(array, output)):
            return None
    return operation


def _is_elementwise(operation: Operation) -> bool:
    types = [array.dtype for array in operation.inputs]
    return operation.kind == "elementwise" and is_compiled(operation.name, types, operation.output.dtype)


def _loop(
    loop: Loop, later: Sequence[Operation | None], dead: Sequence[Array], constants: Sequence[Constant]
) -> _Code | None:
    layout = loop.laid_out(constants)
    if layout is None:
        return None
    rows, columns, places, steps = layout
    written = sorted({step.output for step in steps})
    stored = tuple(index for index in written if not _is_dead(places[index].array, later, dead))
    words = [rows, columns, *(word for place in places for word in (place.array.ctypes.data, place.row_stride))]
    return _Code(code.loop_code(tuple(place.kind for place in places), tuple(steps), stored), words)


def _is_dead(array: Array, later: Sequence[Operation | None], dead: Sequence[Array]) -> bool:
    """Return whether nobody reads what is in an array now."""
    if not any(_covers(each, array) for each in dead):
        return False
    bounds = byte_bounds(array)
    for operation in later:
        if operation is None or any(overlap(each, bounds) for each in operation.input_bounds):
            return False
        if operation.kind != "put" and _covers(operation.output, array):
            return True
    return True


def _covers(outer: Array, inner: Array) -> bool:
    """Return whether an array without gaps contains the memory of another one."""
    (first, last), (begin, end) = byte_bounds(outer), byte_bounds(inner)
    return first <= begin and end <= last and last - first == outer.nbytes


def _other(operation: Operation | None) -> _Code | None:
    made = None if operation is None else _OTHERS.get(operation.kind)
    return None if operation is None or made is None else made(operation)


def _reduction(operation: Operation) -> _Code | None:
    (values,), result = operation.inputs, operation.output
    if not is_compiled(operation.name, [values.dtype] * 2, result.dtype):
        return None
    if values.shape[1] == 1 and operation.name == "add":  # NumPy adds a single column pairwise.
        return None
    if values.strides[1] != values.itemsize or not result.flags.c_contiguous:
        return None
    words = [*values.shape, values.ctypes.data, values.strides[0] // values.itemsize, result.ctypes.data]
    return _Code(code.reduction_code(operation.name, values.dtype), words)


def _sum(operation: Operation) -> _Code | None:
    (values,), result = operation.inputs, operation.output
    if not values.flags.c_contiguous or values.dtype.kind != "f" or result.dtype != values.dtype:
        return None
    return _Code(code.sum_code(values.dtype), [values.size, values.ctypes.data, result.ctypes.data])


def _argmax(operation: Operation) -> _Code | None:
    (values,), result = operation.inputs, operation.output
    if values.strides[1] != values.itemsize or values.dtype.kind != "f":
        return None
    if result.dtype != np.int64 or not result.flags.c_contiguous:
        return None
    largest = np.empty(values.shape[1], values.dtype)
    words = [
        *values.shape,
        values.ctypes.data,
        values.strides[0] // values.itemsize,
        result.ctypes.data,
        largest.ctypes.data,
    ]
    return _Code(code.argmax_code(values.dtype), words, largest)


def _moved(operation: Operation) -> _Code | None:
    """The code of a take or a put of single numbers."""
    if operation.kind == "take":
        (values, indices), moved = operation.inputs, operation.output
        make = code.take_code
    else:
        (indices, moved), values = operation.inputs, operation.output
        make = code.put_code
    vectors = values, indices, moved
    if any(each.ndim != 1 or not each.flags.c_contiguous for each in vectors) or indices.dtype != np.int64:
        return None
    if values.dtype != moved.dtype or values.dtype.name not in ("float32", "float64", "int64") or not values.size:
        return None
    return _Code(make(values.dtype), [indices.size, values.size, *(each.ctypes.data for each in vectors)])


def _take_rows(operation: Operation) -> _Code | None:
    (values, indices), result = operation.inputs, operation.output
    rows = values, result
    if any(each.strides[1] != each.itemsize or each.strides[0] < each.shape[1] * each.itemsize for each in rows):
        return None
    if not len(values) or indices.dtype != np.int64 or not indices.flags.c_contiguous or values.dtype != result.dtype:
        return None
    size = values.shape[1] * values.itemsize
    strided = [word for each in rows for word in (each.ctypes.data, each.strides[0])]
    return _Code(code.take_rows_code(), [indices.size, len(values), size, *strided, indices.ctypes.data])


def _product(operation: Operation) -> _Code | None:
    (first, second), output = operation.inputs, operation.output
    address, words = gemm_address(output.dtype), product_words(first, second, output)
    if address is None or words is None:
        return None
    return _Code(code.product_code(output.dtype), [address, *words])


def _transposed(operation: Operation) -> _Code | None:
    """The code of a copy into rows from columns, which are no loop over rows."""
    if operation.name != "copy":
        return None
    (values,), result = operation.inputs, operation.output
    if values.shape != result.shape or values.dtype != result.dtype or values.ndim != 2:
        return None
    size, kind = values.itemsize, values.dtype.name
    if values.strides[0] != size or result.strides[1] != size or kind not in ("float32", "float64"):
        return None
    strides = values.strides[1] // size, result.strides[0] // size
    words = [*values.shape, values.ctypes.data, strides[0], result.ctypes.data, strides[1]]
    return _Code(code.transposed_code(values.dtype), words)


_OTHERS = {
    "elementwise": _transposed,
    "reduction": _reduction,
    "sum": _sum,
    "argmax": _argmax,
    "take": _moved,
    "put": _moved,
    "take_rows": _take_rows,
    "product": _product,
}


@cache
def _runner() -> Any:
    """The function that runs a program; while it does, other Python threads run."""
    return ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64)(address_of(code.run_code()))


def _program(codes: Sequence[_Code], calls: Calls) -> Call:
    """The call that runs compiled functions one after the other."""
    blocks = [np.array(each.words, np.int64) for each in codes]
    words = np.concatenate(blocks)
    pairs, begin = [], words.ctypes.data
    for each, block in zip(codes, blocks, strict=True):
        pairs += [address_of(each.text), begin]
        begin += block.nbytes
    program = np.array(pairs, np.int64)
    run = partial(_runner(), program.ctypes.data, len(codes))
    # The arrays must live as long as the call.
    run.kept = program, words, calls, [each.kept for each in codes]  # type: ignore[attr-defined]
    return run


def _programs(found: Sequence[Call | _Code], calls: Calls) -> Calls:
    """Join neighbouring compiled functions."""
    made: Calls = []
    codes: list[_Code] = []
    for each in [*found, None]:
        if isinstance(each, _Code):
            codes.append(each)
            continue
        if codes:
            made.append(_program(codes, calls))
            codes = []
        if each is not None:
            made.append(each)
    return made
