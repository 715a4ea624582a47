"""Calls of a plan as operations: what NumPy would do, with which arrays.

A call is a ``functools.partial`` of a NumPy function or of an array's method, with all of its arguments. A call that
NumPy would refuse, or for which it would convert or make an array, is no operation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, Literal

import numpy as np
from numpy.lib.array_utils import byte_bounds

from nncore.arrays import Array
from nncore.layer import Call

__all__ = ["Operation", "OperationKind", "operation_of"]

OperationKind = Literal["elementwise", "reduction", "sum", "argmax", "take", "take_rows", "put", "product"]


@dataclass(frozen=True)
class Operation:
    """What a call does: fill ``output`` from ``inputs``.

    ``name`` is that of the function of an elementwise operation or a reduction. The kinds are

    - elementwise: each input has the output's shape or is broadcast to it;
    - reduction: of the first axis of a matrix; sum: of a vector, to a number;
    - argmax: of the first axis of a matrix;
    - take: numbers of a vector, and take_rows: rows of a matrix, by their indices, limited to those that exist;
    - put: numbers into a vector, at their indices, of which negative ones count from the end;
    - product: of two matrices.
    """

    kind: OperationKind
    name: str
    inputs: tuple[Array, ...]
    output: Array

    @cached_property
    def input_bounds(self) -> list[tuple[int, int]]:
        """Where the memory of each input begins and ends."""
        return [byte_bounds(array) for array in self.inputs]

    @cached_property
    def output_bounds(self) -> tuple[int, int]:
        """Where the memory of the output begins and ends."""
        return byte_bounds(self.output)


def operation_of(call: Call) -> Operation | None:
    """Return what a call does, or None if it is of another kind."""
    if not isinstance(call, partial):
        return None
    function, arguments, options = call.func, call.args, dict(call.keywords)
    operation = None
    if isinstance(function, np.ufunc):
        operation = _of_ufunc(function, arguments, options)
    elif function is np.copyto and len(arguments) == 2 and not options:
        operation = Operation("elementwise", "copy", (arguments[1],), arguments[0])
    else:
        read = _METHODS.get(getattr(function, "__name__", ""))
        owner = getattr(function, "__self__", None)
        operation = read(owner, arguments, options) if read else None
    return operation if operation is not None and _is_exact(operation) else None


def _is_exact(operation: Operation) -> bool:
    """Return whether nothing is converted and all shapes fit."""
    inputs, output = operation.inputs, operation.output
    arrays: tuple[Any, ...] = (*inputs, output)
    if not all(isinstance(array, np.ndarray) and array.dtype.isnative for array in arrays):
        return False
    if not output.flags.writeable or any(stride % array.itemsize for array in arrays for stride in array.strides):
        return False
    shapes = [array.shape for array in inputs]
    match operation.kind:
        case "elementwise":
            axes = [list(reversed(shape)) for shape in shapes]
            sizes = list(reversed(output.shape))
            return all(
                len(each) <= len(sizes) and all(a in (1, b) for a, b in zip(each, sizes, strict=False)) for each in axes
            )
        case "reduction" | "argmax":
            return len(shapes[0]) == 2 and shapes[0][0] > 0 and output.shape == shapes[0][1:]
        case "sum":
            return len(shapes[0]) == 1 and output.shape == ()
        case "take":
            return len(shapes[0]) == len(shapes[1]) == 1 and output.shape == shapes[1]
        case "take_rows":
            return len(shapes[0]) == 2 and len(shapes[1]) == 1 and output.shape == (*shapes[1], shapes[0][1])
        case "put":
            return len(output.shape) == len(shapes[0]) == 1 and shapes[0] == shapes[1]
        case "product":
            return all(len(each) == 2 for each in (*shapes, output.shape)) and (
                shapes[0][1] == shapes[1][0] and output.shape == (shapes[0][0], shapes[1][1])
            )


def _of_ufunc(function: np.ufunc, arguments: tuple[Any, ...], options: dict[str, Any]) -> Operation | None:
    output = options.pop("out", None)
    if options or output is None or len(arguments) != function.nin:
        return None
    name = function.__name__
    return Operation("product" if name == "matmul" else "elementwise", name, arguments, output)


def _of_reduce(owner: Any, arguments: tuple[Any, ...], options: dict[str, Any]) -> Operation | None:
    if not isinstance(owner, np.ufunc) or len(arguments) != 1 or options.keys() - {"axis", "out"}:
        return None
    (values,), axis, output = arguments, options.get("axis", 0), options.get("out")
    if output is None or axis != 0 or not isinstance(values, np.ndarray):
        return None
    if values.ndim == 2 and owner in (np.add, np.maximum, np.minimum):
        return Operation("reduction", owner.__name__, (values,), output)
    return Operation("sum", "add", (values,), output) if owner is np.add else None


def _of_argmax(owner: Any, arguments: tuple[Any, ...], options: dict[str, Any]) -> Operation | None:
    if arguments or options.keys() != {"axis", "out"} or options["axis"] != 0 or not isinstance(owner, np.ndarray):
        return None
    return Operation("argmax", "argmax", (owner,), options["out"])


def _of_take(owner: Any, arguments: tuple[Any, ...], options: dict[str, Any]) -> Operation | None:
    if not isinstance(owner, np.ndarray) or len(arguments) != 1 or options.get("mode") != "clip":
        return None
    if owner.ndim == 1 and options.keys() == {"mode", "out"}:
        return Operation("take", "take", (owner, arguments[0]), options["out"])
    if owner.ndim == 2 and options.keys() == {"mode", "out", "axis"} and options["axis"] == 0:
        return Operation("take_rows", "take", (owner, arguments[0]), options["out"])
    return None


def _of_put(owner: Any, arguments: tuple[Any, ...], options: dict[str, Any]) -> Operation | None:
    if not isinstance(owner, np.ndarray) or options or len(arguments) != 2:
        return None
    return Operation("put", "put", arguments, owner)


#: Methods of arrays and functions, by name.
_METHODS: dict[str, Callable[[Any, tuple[Any, ...], dict[str, Any]], Operation | None]] = {
    "reduce": _of_reduce,
    "argmax": _of_argmax,
    "take": _of_take,
    "__setitem__": _of_put,
}
