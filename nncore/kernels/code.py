"""LLVM functions of a plan's operations. Each takes the address of a block of 64-bit words: its sizes and addresses.

A function is made for a kind of loop, reduction or other operation. Sizes and addresses are words of the block, so that
networks of all sizes share it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np
from llvmlite import ir
from llvmlite.ir import IRBuilder as Builder
from llvmlite.ir import Value

from nncore.kernels.elementwise import ELEMENTWISE, llvm_type, number
from nncore.kernels.loops import PlaceKind, Step

__all__ = [
    "ENTRY",
    "argmax_code",
    "loop_code",
    "product_code",
    "put_code",
    "reduction_code",
    "run_code",
    "sum_code",
    "take_code",
    "take_rows_code",
    "transposed_code",
]

#: The name of the function in each module.
ENTRY = "kernel"
_WORD, _POINTER, _VOID, _INT = ir.IntType(64), ir.PointerType(), ir.VoidType(), ir.IntType(32)


def _word(value: int) -> Value:
    return ir.Constant(_WORD, value)


class _Function:
    """A module with the function ``ENTRY``, which reads its words and hands them to a second function.

    The second one gets addresses as parameters that do not overlap, so that its loops can be vectorized.
    """

    def __init__(self, words: Sequence[bool]) -> None:
        """``words`` are in the order of the block; True is an address."""
        self.module = ir.Module()
        kinds = [_POINTER if address else _WORD for address in words]
        body = ir.Function(self.module, ir.FunctionType(_VOID, kinds), "body")
        body.linkage = "internal"
        entry = ir.Function(self.module, ir.FunctionType(_VOID, [_POINTER]), ENTRY)
        builder = ir.IRBuilder(entry.append_basic_block())
        values = []
        for index, kind in enumerate(kinds):
            place = builder.gep(entry.args[0], [_word(index)], source_etype=_WORD)
            values.append(builder.load(place, typ=kind))
        builder.call(body, values)
        builder.ret_void()
        for argument, address in zip(body.args, words, strict=True):
            if address:
                argument.add_attribute("noalias")
        self.words = body.args
        self.builder = ir.IRBuilder(body.append_basic_block())

    def text(self) -> str:
        self.builder.ret_void()
        return str(self.module)


@contextmanager
def _counted(builder: Builder, begin: Value, end: Value) -> Iterator[Value]:
    """A loop over the numbers from ``begin`` to before ``end``; none, if there are none."""
    before, body, after = builder.block, builder.append_basic_block(), builder.append_basic_block()
    builder.cbranch(builder.icmp_signed("<", begin, end), body, after)
    builder.position_at_end(body)
    index = builder.phi(_WORD)
    index.add_incoming(begin, before)
    yield index
    following = builder.add(index, _word(1), flags=["nuw", "nsw"])
    index.add_incoming(following, builder.block)
    builder.cbranch(builder.icmp_signed("<", following, end), body, after)
    builder.position_at_end(after)


def _element(builder: Builder, base: Value, index: Value, kind: ir.Type) -> Value:
    return builder.gep(base, [index], inbounds=True, source_etype=kind)


@cache
def loop_code(places: tuple[PlaceKind, ...], steps: tuple[Step, ...], stored: tuple[int, ...]) -> str:
    """The function of a loop; its words are rows, columns and, for each place, its address and row stride.

    ``stored`` are the numbers of the places whose values are stored.
    """
    function = _Function([False, False, *[True, False] * len(places)])
    builder, (rows, columns, *words) = function.builder, function.words
    kinds = [llvm_type(place.dtype) for place in places]
    outside: dict[int, Value] = {}
    for index, (place, kind) in enumerate(zip(places, kinds, strict=True)):
        if place.value is not None:
            outside[index] = number(kind, place.value)
        elif place.extent == "number":
            outside[index] = builder.load(words[2 * index], typ=kind)
    with _counted(builder, _word(0), rows) as row:
        begins, in_row = [], dict(outside)
        for index, (place, kind) in enumerate(zip(places, kinds, strict=True)):
            begins.append(_element(builder, words[2 * index], builder.mul(row, words[2 * index + 1]), kind))
            if index not in outside and place.extent == "column":
                in_row[index] = builder.load(begins[index], typ=kind)
        with _counted(builder, _word(0), columns) as column:
            values = dict(in_row)
            for step in steps:
                for index in step.inputs:
                    if index not in values:
                        element = _element(builder, begins[index], column, kinds[index])
                        values[index] = builder.load(element, typ=kinds[index])
                types = map(llvm_type, step.types)
                inputs = [_as_type(builder, values[i], kind) for i, kind in zip(step.inputs, types, strict=True)]
                found = ELEMENTWISE[step.name][0](builder, *inputs)
                values[step.output] = _as_type(builder, found, kinds[step.output])
            for index in stored:
                builder.store(values[index], _element(builder, begins[index], column, kinds[index]))
    return function.text()


def _as_type(builder: Builder, value: Value, kind: ir.Type) -> Value:
    """The same bits as another type."""
    return value if value.type == kind else builder.bitcast(value, kind)


@cache
def reduction_code(name: str, dtype: np.dtype[Any]) -> str:
    """A reduction of the first axis; its words: rows, columns, the values' address and row stride, the result's."""
    function, kind = _Function([False, False, True, False, True]), llvm_type(dtype)
    builder, (rows, columns, values, stride, result) = function.builder, function.words
    with _counted(builder, _word(0), columns) as column:
        first = builder.load(_element(builder, values, column, kind), typ=kind)
        if name == "add":  # NumPy adds to zero, so that no sum is -0.0.
            first = ELEMENTWISE[name][0](builder, number(kind, 0.0), first)
        builder.store(first, _element(builder, result, column, kind))
    with _counted(builder, _word(1), rows) as row:
        begin = _element(builder, values, builder.mul(row, stride), kind)
        with _counted(builder, _word(0), columns) as column:
            place = _element(builder, result, column, kind)
            value = builder.load(_element(builder, begin, column, kind), typ=kind)
            builder.store(ELEMENTWISE[name][0](builder, builder.load(place, typ=kind), value), place)
    return function.text()


@cache
def argmax_code(dtype: np.dtype[Any]) -> str:
    """The first largest of the first axis.

    Its words: rows, columns, the values' address and row stride, the address of the result, and that of one number for
    each column.
    """
    function, kind = _Function([False, False, True, False, True, True]), llvm_type(dtype)
    builder, (rows, columns, values, stride, result, largest) = function.builder, function.words
    with _counted(builder, _word(0), columns) as column:
        first = builder.load(_element(builder, values, column, kind), typ=kind)
        builder.store(first, _element(builder, largest, column, kind))
        builder.store(_word(0), _element(builder, result, column, _WORD))
    with _counted(builder, _word(1), rows) as row:
        begin = _element(builder, values, builder.mul(row, stride), kind)
        with _counted(builder, _word(0), columns) as column:
            place, best = _element(builder, result, column, _WORD), _element(builder, largest, column, kind)
            value, known = builder.load(_element(builder, begin, column, kind), typ=kind), builder.load(best, typ=kind)
            # The first NaN is the largest.
            none = builder.and_(builder.fcmp_unordered("uno", value, value), builder.fcmp_ordered("ord", known, known))
            larger = builder.or_(none, builder.fcmp_ordered(">", value, known))
            builder.store(builder.select(larger, value, known), best)
            builder.store(builder.select(larger, row, builder.load(place, typ=_WORD)), place)
    return function.text()


def _limited(builder: Builder, index: Value, count: Value) -> Value:
    """The index, from 0 to before ``count``."""
    last = builder.sub(count, _word(1))
    index = builder.select(builder.icmp_signed(">", index, last), last, index)
    return builder.select(builder.icmp_signed("<", index, _word(0)), _word(0), index)


@cache
def take_code(dtype: np.dtype[Any]) -> str:
    """Numbers by index; its words: how many, how many there are, the addresses of these, the indices, the results."""
    function, kind = _Function([False, False, True, True, True]), llvm_type(dtype)
    builder, (count, known, values, indices, result) = function.builder, function.words
    with _counted(builder, _word(0), count) as item:
        index = _limited(builder, builder.load(_element(builder, indices, item, _WORD), typ=_WORD), known)
        value = builder.load(_element(builder, values, index, kind), typ=kind)
        builder.store(value, _element(builder, result, item, kind))
    return function.text()


@cache
def put_code(dtype: np.dtype[Any]) -> str:
    """Numbers to indices; its words: how many, how many places, and the addresses of these, the indices and numbers."""
    function, kind = _Function([False, False, True, True, True]), llvm_type(dtype)
    builder, (count, known, values, indices, given) = function.builder, function.words
    with _counted(builder, _word(0), count) as item:
        index = builder.load(_element(builder, indices, item, _WORD), typ=_WORD)
        index = builder.select(builder.icmp_signed("<", index, _word(0)), builder.add(index, known), index)
        index = _limited(builder, index, known)
        value = builder.load(_element(builder, given, item, kind), typ=kind)
        builder.store(value, _element(builder, values, index, kind))
    return function.text()


@cache
def take_rows_code() -> str:
    """Rows by index.

    Its words: how many, how many there are, the bytes of a row, the address and row stride, in bytes, of the rows and
    of the results, and the address of the indices.
    """
    function = _Function([False, False, False, True, False, True, False, True])
    builder, (count, known, size, values, stride, result, result_stride, indices) = function.builder, function.words
    parameters = [_POINTER, _POINTER, _WORD, ir.IntType(1)]
    kind = ir.FunctionType(_VOID, parameters)
    copy = function.module.declare_intrinsic("llvm.memcpy", parameters[:3], kind)
    with _counted(builder, _word(0), count) as row:
        index = _limited(builder, builder.load(_element(builder, indices, row, _WORD), typ=_WORD), known)
        source = _element(builder, values, builder.mul(index, stride), ir.IntType(8))
        target = _element(builder, result, builder.mul(row, result_stride), ir.IntType(8))
        builder.call(copy, [target, source, size, ir.Constant(ir.IntType(1), 0)])
    return function.text()


#: Rows and columns of a tile of a transposed copy, each row of which is a vector.
_TILE = 8


@cache
def transposed_code(dtype: np.dtype[Any]) -> str:
    """A copy of a matrix whose columns are contiguous to one whose rows are.

    Its words: rows, columns, the address and column stride of the first one, and the address and row stride of the
    second one.
    """
    function, kind = _Function([False, False, True, False, True, False]), llvm_type(dtype)
    builder, (rows, columns, values, stride, result, result_stride) = function.builder, function.words

    def source(row: Value, column: Value) -> Value:
        return _element(builder, values, builder.add(builder.mul(column, stride), row), kind)

    def target(row: Value, column: Value) -> Value:
        return _element(builder, result, builder.add(builder.mul(row, result_stride), column), kind)

    def copy(from_row: Value, from_column: Value) -> None:
        with _counted(builder, from_row, rows) as row, _counted(builder, from_column, columns) as column:
            builder.store(builder.load(source(row, column), typ=kind), target(row, column))

    tile = _word(_TILE)
    with _counted(builder, _word(0), builder.sdiv(rows, tile)) as row_tile:
        row = builder.mul(row_tile, tile)
        with _counted(builder, _word(0), builder.sdiv(columns, tile)) as column_tile:
            column, vector = builder.mul(column_tile, tile), ir.VectorType(kind, _TILE)
            places = [source(row, builder.add(column, _word(index))) for index in range(_TILE)]
            vectors = [builder.load(place, typ=vector, align=dtype.itemsize) for place in places]
            for index, each in enumerate(_transposed(builder, vectors)):
                builder.store(each, target(builder.add(row, _word(index)), column), align=dtype.itemsize)
    whole_rows, whole_columns = (builder.sub(count, builder.srem(count, tile)) for count in (rows, columns))
    copy(whole_rows, _word(0))
    copy(_word(0), whole_columns)
    return function.text()


def _transposed(builder: Builder, vectors: Sequence[Value]) -> list[Value]:
    """The columns of vectors, of which there are as many as each has numbers.

    Blocks beside the diagonal are swapped, of one row and column, then of two, four, and so on.
    """
    found, count, block = list(vectors), len(vectors), 1
    lane = ir.VectorType(ir.IntType(32), count)
    while block < count:
        for index in range(count):
            if not index & block:
                one, other = found[index], found[index + block]
                low = [j if not j & block else count + j - block for j in range(count)]
                high = [j + block if not j & block else count + j for j in range(count)]
                found[index] = builder.shuffle_vector(one, other, ir.Constant(lane, low))
                found[index + block] = builder.shuffle_vector(one, other, ir.Constant(lane, high))
        block *= 2
    return found


#: NumPy adds up to so many numbers with eight sums, and splits more into halves.
_BLOCK = 128


@cache
def sum_code(dtype: np.dtype[Any]) -> str:
    """The sum of a vector in the order in which NumPy adds; its words: how many, their address, the result's."""
    function, kind = _Function([False, True, True]), llvm_type(dtype)
    zero = number(kind, -0.0)
    total = ir.Function(function.module, ir.FunctionType(kind, [_POINTER, _WORD]), "total")
    total.linkage = "internal"
    values, count = total.args
    builder = ir.IRBuilder(total.append_basic_block())
    few, more = builder.icmp_signed("<", count, _word(8)), builder.icmp_signed(">", count, _word(_BLOCK))
    simple, others, block, halves = (total.append_basic_block() for _ in range(4))
    builder.cbranch(few, simple, others)
    builder.position_at_end(others)
    builder.cbranch(more, halves, block)

    builder.position_at_end(simple)
    _return_sum(builder, values, _word(0), count, zero)

    builder.position_at_end(halves)
    half = builder.sdiv(count, _word(2))
    half = builder.sub(half, builder.srem(half, _word(8)))
    rest = builder.call(total, [_element(builder, values, half, kind), builder.sub(count, half)])
    builder.ret(builder.fadd(builder.call(total, [values, half]), rest))

    builder.position_at_end(block)
    whole = builder.sub(count, builder.srem(count, _word(8)))
    vector = ir.VectorType(kind, 8)
    slot = builder.alloca(vector)
    builder.store(builder.load(values, typ=vector, align=dtype.itemsize), slot)
    with _counted(builder, _word(1), builder.sdiv(whole, _word(8))) as item:
        place = _element(builder, values, builder.mul(item, _word(8)), kind)
        more_values = builder.load(place, typ=vector, align=dtype.itemsize)
        builder.store(builder.fadd(builder.load(slot, typ=vector), more_values), slot)
    sums = builder.load(slot, typ=vector)
    parts = [builder.extract_element(sums, ir.Constant(_INT, index)) for index in range(8)]
    while len(parts) > 1:
        parts = [builder.fadd(one, other) for one, other in zip(parts[::2], parts[1::2], strict=True)]
    _return_sum(builder, values, whole, count, parts[0])

    builder = function.builder
    size, address, result = function.words
    # NumPy adds to zero, so that no sum is -0.0.
    builder.store(builder.fadd(number(kind, 0.0), builder.call(total, [address, size])), result)
    return function.text()


def _return_sum(builder: Builder, values: Value, begin: Value, end: Value, start: Value) -> None:
    """Add the values from ``begin`` to before ``end`` to ``start``, one after the other, and return the sum."""
    slot = builder.alloca(start.type)
    builder.store(start, slot)
    with _counted(builder, begin, end) as index:
        value = builder.load(_element(builder, values, index, start.type), typ=start.type)
        builder.store(builder.fadd(builder.load(slot, typ=start.type), value), slot)
    builder.ret(builder.load(slot, typ=start.type))


#: Values of BLAS for matrices in rows, and for operands as they are or transposed.
_ROW_MAJOR, PLAIN, TRANSPOSED = 101, 111, 112


@cache
def product_code(dtype: np.dtype[Any]) -> str:
    """A product by BLAS, for which see ``nncore.kernels.products``.

    Its words: the address of ``cblas_?gemm``, how each operand is laid out, the rows, columns and depth, and for each
    operand and the result its address and row stride.
    """
    function = _Function([False] * 6 + [True, False] * 3)
    builder, kind = function.builder, llvm_type(dtype)
    address, first, second, rows, columns, depth, a, a_stride, b, b_stride, c, c_stride = function.words
    parameters = [_INT, _INT, _INT, _WORD, _WORD, _WORD, kind, _POINTER, _WORD, _POINTER, _WORD, kind, _POINTER, _WORD]
    order, first, second = ir.Constant(_INT, _ROW_MAJOR), builder.trunc(first, _INT), builder.trunc(second, _INT)
    one, zero = number(kind, 1.0), number(kind, 0.0)
    gemm = builder.inttoptr(address, ir.FunctionType(_VOID, parameters).as_pointer())
    builder.call(gemm, [order, first, second, rows, columns, depth, one, a, a_stride, b, b_stride, zero, c, c_stride])
    return function.text()


@cache
def run_code() -> str:
    """The function that runs a program: its address and length, in pairs of a function's address and its block's."""
    module = ir.Module()
    function = ir.Function(module, ir.FunctionType(_VOID, [_POINTER, _WORD]), ENTRY)
    builder = ir.IRBuilder(function.append_basic_block())
    kind = ir.FunctionType(_VOID, [_POINTER])
    with _counted(builder, _word(0), function.args[1]) as index:
        pair = _element(builder, function.args[0], builder.mul(index, _word(2)), _WORD)
        code = builder.load(pair, typ=_WORD)
        block = builder.load(_element(builder, pair, _word(1), _WORD), typ=_POINTER)
        builder.call(builder.inttoptr(code, kind.as_pointer()), [block])
    builder.ret_void()
    return str(module)
