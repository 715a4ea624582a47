"""Calls of a plan as operations: what NumPy would do, with which arrays.

A call is a ``functools.partial`` of a NumPy function or of an array's method, with all of its arguments.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np

from nncore.arrays import Array
from nncore.layer import Call

__all__ = ["Kind", "Operation", "operation_of"]

Kind = Literal["elementwise", "reduction", "sum", "argmax", "take", "take_rows", "put", "product"]


@dataclass(frozen=True)
class Operation:
    """What a call does: fill ``output`` from ``inputs``.

    ``name`` is that of the function of an elementwise operation or a reduction. The kinds are

    - elementwise: each input has the output's shape or is broadcast to it;
    - reduction: of the first axis of a matrix; sum: of a vector, to a number;
    - argmax: of the first axis of a matrix;
    - take: numbers of a vector, and take_rows: rows of a matrix, by their indices, limited to those that exist;
    - put: numbers into a vector, at their indices;
    - product: of two matrices.
    """

    kind: Kind
    name: str
    inputs: tuple[Array, ...]
    output: Array


def operation_of(call: Call) -> Operation | None:
    """Return what a call does, or None if it is of another kind."""
    if not isinstance(call, partial):
        return None
    function, arguments, options = call.func, call.args, dict(call.keywords)
    if isinstance(function, np.ufunc):
        return _of_ufunc(function, arguments, options)
    if function is np.copyto and len(arguments) == 2 and not options:
        return Operation("elementwise", "copy", (_array(arguments[1]),), arguments[0])
    read = _METHODS.get(getattr(function, "__name__", ""))
    return read(getattr(function, "__self__", None), arguments, options) if read else None


def _array(value: Any) -> Array:
    return np.asarray(value)


def _of_ufunc(function: np.ufunc, arguments: tuple[Any, ...], options: dict[str, Any]) -> Operation | None:
    output = options.pop("out", None)
    if options or not isinstance(output, np.ndarray) or not all(isinstance(each, np.ndarray) for each in arguments):
        return None
    name = function.__name__
    return Operation("product" if name == "matmul" else "elementwise", name, arguments, output)


def _of_reduce(owner: Any, arguments: tuple[Any, ...], options: dict[str, Any]) -> Operation | None:
    if not isinstance(owner, np.ufunc) or len(arguments) != 1 or options.keys() - {"axis", "out"}:
        return None
    (values,), axis, output = arguments, options.get("axis", 0), options.get("out")
    if output is None or axis != 0 or values.ndim not in (1, 2):
        return None
    if values.ndim == 2:
        return Operation("reduction", owner.__name__, (values,), output)
    return Operation("sum", "add", (values,), output) if owner is np.add else None


def _of_argmax(owner: Any, arguments: tuple[Any, ...], options: dict[str, Any]) -> Operation | None:
    if arguments or options.keys() != {"axis", "out"} or options["axis"] != 0 or owner.ndim != 2:
        return None
    return Operation("argmax", "argmax", (owner,), options["out"])


def _of_take(owner: Any, arguments: tuple[Any, ...], options: dict[str, Any]) -> Operation | None:
    if len(arguments) != 1 or options.pop("mode", "raise") != "clip" or "out" not in options:
        return None
    if owner.ndim == 1:
        return Operation("take", "take", (owner, arguments[0]), options["out"])
    if owner.ndim == 2 and options.get("axis") == 0:
        return Operation("take_rows", "take", (owner, arguments[0]), options["out"])
    return None


def _of_put(owner: Any, arguments: tuple[Any, ...], options: dict[str, Any]) -> Operation | None:
    if not isinstance(owner, np.ndarray) or owner.ndim != 1 or options or len(arguments) != 2:
        return None
    return Operation("put", "put", tuple(map(_array, arguments)), owner)


#: Methods of arrays and functions, by name.
_METHODS: dict[str, Callable[[Any, tuple[Any, ...], dict[str, Any]], Operation | None]] = {
    "reduce": _of_reduce,
    "argmax": _of_argmax,
    "take": _of_take,
    "__setitem__": _of_put,
}
