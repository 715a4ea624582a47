"""The matrix products of the library that NumPy uses, as addresses of functions.

NumPy's own products and these are the same code, so they have the same bits. Its packages for Linux bring OpenBLAS with
integers of 64 bits. If NumPy was built with another library, products remain NumPy's.
"""

from __future__ import annotations

import ctypes
from functools import cache
from importlib import import_module
from typing import Any

from numpy import dtype, may_share_memory

from nncore.arrays import Array
from nncore.kernels.code import PLAIN, TRANSPOSED

__all__ = ["gemm_address", "product_words"]

_SYMBOLS = {"float32": "scipy_cblas_sgemm64_", "float64": "scipy_cblas_dgemm64_"}


@cache
def _library() -> ctypes.CDLL:
    """The module of NumPy's products; a name is looked up in what it is linked with, too."""
    return ctypes.CDLL(import_module("numpy._core._multiarray_umath").__file__)


def gemm_address(kind: dtype[Any]) -> int | None:
    """Return the address of ``cblas_sgemm`` or ``cblas_dgemm``; None if NumPy has none of its own."""
    function = getattr(_library(), _SYMBOLS.get(kind.name, ""), None)
    return None if function is None else ctypes.cast(function, ctypes.c_void_p).value


def product_words(first: Array, second: Array, output: Array) -> list[int] | None:
    """Return the words of a product's block behind the function's address; None if NumPy would not call gemm for it."""
    if any(array.ndim != 2 or min(array.shape) < 2 or array.dtype != output.dtype for array in (first, second, output)):
        return None
    (rows, columns), depth = output.shape, first.shape[1]
    operands = _operand(first), _operand(second)
    if None in operands or not output.flags.c_contiguous or may_share_memory(first, second):
        return None
    (how, stride), (other, other_stride) = operands  # type: ignore[misc]
    return [
        *(how, other, rows, columns, depth),
        *(first.ctypes.data, stride, second.ctypes.data, other_stride, output.ctypes.data, columns),
    ]


def _operand(array: Array) -> tuple[int, int] | None:
    """Return how a matrix is laid out, as BLAS says it, and how far apart two of its rows, or columns, are."""
    down, across = (stride // array.itemsize for stride in array.strides)
    if across == 1 and down >= array.shape[1]:
        return PLAIN, down
    if down == 1 and across >= array.shape[0]:
        return TRANSPOSED, across
    return None
