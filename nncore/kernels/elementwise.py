"""The elementwise operations that can be compiled, as LLVM instructions that give the bits that NumPy gives.

``exp`` and ``log`` of float32 are evaluated as NumPy does it on processors with fused multiply-add: a range reduction
and a quotient of two polynomials (Cody & Waite; the coefficients are those of NumPy's ``npy_simd_data.h``).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from llvmlite import ir
from llvmlite.ir import IRBuilder as Builder
from llvmlite.ir import Value

__all__ = ["ELEMENTWISE", "is_compiled", "llvm_type", "number"]

_TYPES: dict[str, ir.Type] = {
    "float32": ir.FloatType(),
    "float64": ir.DoubleType(),
    "int32": ir.IntType(32),
    "int64": ir.IntType(64),
    "bool": ir.IntType(8),
}


def llvm_type(dtype: np.dtype[Any]) -> ir.Type:
    """Return the LLVM type of an element. Raises KeyError for other types than those of a plan."""
    return _TYPES[dtype.name]


def number(kind: ir.Type, value: float) -> Value:
    """Return a constant, rounded to the type as NumPy rounds it."""
    if isinstance(kind, ir.FloatType):
        return ir.Constant(kind, float(np.float32(value)))
    return ir.Constant(kind, int(value) if isinstance(kind, ir.IntType) else value)


def _is_float(value: Value) -> bool:
    return isinstance(value.type, (ir.FloatType, ir.DoubleType))


def _intrinsic(builder: Builder, name: str, *arguments: Value) -> Value:
    kind = arguments[0].type
    function = builder.module.declare_intrinsic(f"llvm.{name}", [kind], ir.FunctionType(kind, [kind] * len(arguments)))
    return builder.call(function, arguments)


def _arithmetic(of_floats: str, of_integers: str) -> Callable[[Builder, Value, Value], Value]:
    def emit(builder: Builder, a: Value, b: Value) -> Value:
        return getattr(builder, of_floats if _is_float(a) else of_integers)(a, b)

    return emit


def _extreme(comparison: str) -> Callable[[Builder, Value, Value], Value]:
    def emit(builder: Builder, a: Value, b: Value) -> Value:
        if not _is_float(a):
            return builder.select(builder.icmp_signed(comparison, a, b), a, b)
        # NaN if either is; of two zeros the second one, as processors do it.
        chosen = builder.select(builder.fcmp_ordered(comparison, a, b), a, b)
        return builder.select(builder.fcmp_unordered("uno", a, a), a, chosen)

    return emit


def _equal(builder: Builder, a: Value, b: Value) -> Value:
    same = builder.fcmp_ordered("==", a, b) if _is_float(a) else builder.icmp_signed("==", a, b)
    return builder.zext(same, ir.IntType(8))


def _sign(builder: Builder, a: Value) -> Value:
    zero, one = number(a.type, 0.0), number(a.type, 1.0)
    below = builder.select(builder.fcmp_ordered("<", a, zero), number(a.type, -1.0), zero)
    found = builder.select(builder.fcmp_ordered(">", a, zero), one, below)
    return builder.select(builder.fcmp_unordered("uno", a, a), a, found)


def _reciprocal(builder: Builder, a: Value) -> Value:
    return builder.fdiv(number(a.type, 1.0), a)


def _copy(builder: Builder, a: Value) -> Value:
    return a


def _polynomial(builder: Builder, x: Value, coefficients: Sequence[float]) -> Value:
    """``c₀ + c₁x + …`` by Horner's rule with fused multiply-adds."""
    *lower, found = [number(x.type, each) for each in coefficients]
    for coefficient in reversed(lower):
        found = _intrinsic(builder, "fma", found, x, coefficient)
    return found


_EXP_P = (
    9.999999999980870924916e-01,
    7.257664613233124478488e-01,
    2.473615434895520810817e-01,
    5.114512081637298353406e-02,
    6.757896990527504603057e-03,
    5.082762527590693718096e-04,
)
_EXP_Q = (1.0, -2.742335390411667452936e-01, 2.159509375685829852307e-02)
#: ln 2 in two parts, the first of which has few digits, negated.
_LN2_HIGH, _LN2_LOW = -6.93145752e-1, -1.42860677e-6
#: Adding and subtracting it rounds to a whole number.
_ROUNDING = 1.5 * 2.0**23
_EXP_MAXIMUM, _EXP_MINIMUM = 88.72283935546875, -103.97208404541015625


def _power_of_two(builder: Builder, exponent: Value) -> Value:
    """Two to a whole number from -126 to 127."""
    bits = builder.shl(builder.add(exponent, ir.Constant(exponent.type, 127)), ir.Constant(exponent.type, 23))
    return builder.bitcast(bits, ir.FloatType())


def _exp(builder: Builder, given: Value) -> Value:
    kind, whole = given.type, ir.IntType(32)
    over = builder.fcmp_ordered(">=", given, number(kind, _EXP_MAXIMUM))
    under = builder.fcmp_ordered("<=", given, number(kind, _EXP_MINIMUM))
    none = builder.fcmp_unordered("uno", given, given)
    zero = number(kind, 0.0)
    x = builder.select(builder.or_(none, builder.or_(over, under)), zero, given)
    magic = number(kind, _ROUNDING)
    count = builder.fsub(builder.fadd(builder.fmul(x, number(kind, math.log2(math.e))), magic), magic)
    x = _intrinsic(builder, "fma", count, number(kind, _LN2_HIGH), x)
    x = _intrinsic(builder, "fma", count, number(kind, _LN2_LOW), x)
    found = builder.fdiv(_polynomial(builder, x, _EXP_P), _polynomial(builder, x, _EXP_Q))
    # In two factors, both normal numbers; so only the second product rounds.
    exponent = builder.fptosi(count, whole)
    half = builder.ashr(exponent, ir.Constant(whole, 1))
    found = builder.fmul(found, _power_of_two(builder, half))
    found = builder.fmul(found, _power_of_two(builder, builder.sub(exponent, half)))
    found = builder.select(over, number(kind, math.inf), found)
    found = builder.select(under, zero, found)
    return builder.select(none, given, found)


_LOG_P = (
    0.0,
    9.999999999999998702752e-01,
    2.112677543073053063722e00,
    1.480000633576506585156e00,
    3.808837741388407920751e-01,
    2.589979117907922693523e-02,
)
_LOG_Q = (
    1.0,
    2.612677543073109236779e00,
    2.453006071784736363091e00,
    9.864942958519418960339e-01,
    1.546476374983906719538e-01,
    5.875095403124574342950e-03,
)


def _log(builder: Builder, given: Value) -> Value:
    kind, whole = given.type, ir.IntType(32)
    zero, one = number(kind, 0.0), number(kind, 1.0)
    positive = builder.fcmp_ordered(">", given, zero)
    x = builder.select(positive, given, one)
    # Numbers too small for a whole mantissa are made larger first.
    small = builder.fcmp_ordered("<", x, number(kind, 2.0**-126))
    x = builder.select(small, builder.fmul(x, number(kind, 2.0**100)), x)
    bits = builder.bitcast(x, whole)
    exponent = builder.sub(builder.lshr(bits, ir.Constant(whole, 23)), ir.Constant(whole, 126))
    exponent = builder.sub(exponent, builder.select(small, ir.Constant(whole, 100), ir.Constant(whole, 0)))
    mantissa = builder.or_(builder.and_(bits, ir.Constant(whole, 0x7FFFFF)), ir.Constant(whole, 126 << 23))
    m, e = builder.bitcast(mantissa, kind), builder.sitofp(exponent, kind)
    low = builder.fcmp_ordered("<=", m, number(kind, math.sqrt(0.5)))
    m = builder.select(low, builder.fadd(m, m), m)
    e = builder.select(low, builder.fsub(e, one), e)
    m = builder.fsub(m, one)
    found = builder.fdiv(_polynomial(builder, m, _LOG_P), _polynomial(builder, m, _LOG_Q))
    found = _intrinsic(builder, "fma", e, number(kind, math.log(2.0)), found)
    infinity = number(kind, math.inf)
    found = builder.select(builder.fcmp_ordered("==", given, infinity), infinity, found)
    at_zero = builder.fcmp_ordered("==", given, zero)
    outside = builder.select(at_zero, number(kind, -math.inf), number(kind, math.nan))
    return builder.select(positive, found, outside)


def _of_intrinsic(name: str) -> Callable[..., Value]:
    def emit(builder: Builder, *arguments: Value) -> Value:
        return _intrinsic(builder, name, *arguments)

    return emit


def _negative(builder: Builder, a: Value) -> Value:
    return builder.fneg(a)


_FLOATS = frozenset({"float32", "float64"})
_NUMBERS = _FLOATS | {"int32", "int64"}
_SINGLE = frozenset({"float32"})

#: What emits each operation, and the types for which it does, by the name of NumPy's function.
ELEMENTWISE: dict[str, tuple[Callable[..., Value], frozenset[str]]] = {
    "add": (_arithmetic("fadd", "add"), _NUMBERS),
    "subtract": (_arithmetic("fsub", "sub"), _NUMBERS),
    "multiply": (_arithmetic("fmul", "mul"), _NUMBERS),
    "divide": (_arithmetic("fdiv", "sdiv"), _FLOATS),
    "maximum": (_extreme(">"), _NUMBERS),
    "minimum": (_extreme("<"), _NUMBERS),
    "equal": (_equal, _NUMBERS),
    "copy": (_copy, _NUMBERS),
    "negative": (_negative, _FLOATS),
    "absolute": (_of_intrinsic("fabs"), _FLOATS),
    "copysign": (_of_intrinsic("copysign"), _FLOATS),
    "floor": (_of_intrinsic("floor"), _FLOATS),
    "sqrt": (_of_intrinsic("sqrt"), _FLOATS),
    "sign": (_sign, _FLOATS),
    "reciprocal": (_reciprocal, _FLOATS),
    "exp": (_exp, _SINGLE),
    "log": (_log, _SINGLE),
}


def is_compiled(name: str, inputs: Sequence[np.dtype[Any]], output: np.dtype[Any]) -> bool:
    """Return whether an operation on these types can be compiled; it converts no type, as NumPy would."""
    if name not in ELEMENTWISE or len({each.name for each in inputs}) != 1:
        return False
    wanted = "bool" if name == "equal" else inputs[0].name
    return inputs[0].name in ELEMENTWISE[name][1] and output.name == wanted
