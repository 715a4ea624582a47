"""A graph of ONNX operators under construction."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np
from onnx import GraphProto, helper, numpy_helper

from models.version import VERSION
from nncore.arrays import Array

__all__ = ["IR_VERSION", "ML_DOMAIN", "ML_OPSET", "OPSET", "Graph"]

#: The versions of the format, of its operators, and of those for classic machine learning.
IR_VERSION, OPSET, ML_OPSET = 8, 18, 3
#: The domain of the operators for classic machine learning.
ML_DOMAIN = "ai.onnx.ml"
#: The name of the number of rows in the shapes of inputs and outputs.
ROWS = "rows"
#: Equal arrays of at most so many numbers are stored once.
SMALL = 256
#: Numbers that differ from 1 by at least this much do so as float32, too.
NEARLY = 1e-7


class Graph:
    """Operators, each of which makes one value of others; a value is known by its name.

    They are written into ``model`` at once, so that large arrays are in memory no more than once. ``dtype`` is that of
    the networks. What an operator makes of the same values is computed once. ``reserved`` are names of inputs and
    outputs.
    """

    def __init__(self, dtype: np.dtype[np.generic], reserved: Iterable[str] = ()) -> None:
        self.dtype = dtype
        self.model = helper.make_model(
            GraphProto(),
            ir_version=IR_VERSION,
            opset_imports=[helper.make_opsetid("", OPSET), helper.make_opsetid(ML_DOMAIN, ML_OPSET)],
            producer_name="trainyard",
            producer_version=VERSION,
        )
        self._proto = self.model.graph
        self._reserved = set(reserved)
        self._used: Counter[str] = Counter()
        #: The values that were made, by what they were made of.
        self._known: dict[object, str] = {}
        #: Constants of float64 that are not 1, but are as float32.
        self._nearly_one: dict[str, Array] = {}

    def input(self, name: str, dtype: np.dtype[np.generic], width: int) -> str:
        """Declare an input (rows, width) with a reserved name."""
        self._proto.input.append(helper.make_tensor_value_info(name, _type(dtype), [ROWS, width]))
        return name

    def output(self, name: str, value: str, dtype: np.dtype[np.generic], *widths: int) -> None:
        """Make a value (rows, *widths) an output with a reserved name."""
        self._proto.node.append(helper.make_node("Identity", [value], [name], name))
        self._proto.output.append(helper.make_tensor_value_info(name, _type(dtype), [ROWS, *widths]))

    def call(self, operator: str, *values: str | Array, domain: str = "", **attributes: Any) -> str:
        """The value that an operator makes of others; arrays become constants.

        ONNX Runtime drops a factor or divisor of one element that is 1 as float32. Of such a one, an operator adds the
        small part that it changes.
        """
        names = [value if isinstance(value, str) else self.constant(value) for value in values]
        if operator in ("Mul", "Div") and (factor := self._nearly_one.get(names[1])) is not None:
            part = factor - 1.0 if operator == "Mul" else (1.0 - factor) / factor
            return self.call("Add", names[0], self.call("Mul", names[0], part))
        key = (operator, tuple(names), repr(sorted(attributes.items())))
        if key not in self._known:
            name = self._known[key] = self._free(operator.lower())
            self._proto.node.append(helper.make_node(operator, names, [name], name, domain=domain, **attributes))
        return self._known[key]

    def constant(self, array: Array, name: str = "constant") -> str:
        """An array as a value."""
        # The objects of an array of strings are compared by their addresses only.
        once = array.size <= SMALL and array.dtype != object
        key = (array.dtype.str, array.shape, array.tobytes()) if once else None
        known = self._known.get(key)
        if known is not None:
            return known
        made = self._free(name)
        self._proto.initializer.append(numpy_helper.from_array(array, made))
        if array.size == 1 and array.dtype == np.float64 and 0.0 < abs(array.item() - 1.0) < NEARLY:
            self._nearly_one[made] = array
        if once:
            self._known[key] = made
        return made

    def number(self, value: float) -> Array:
        """A number of the networks' type."""
        return np.array(value, self.dtype)

    def cast(self, value: str, dtype: np.dtype[np.generic]) -> str:
        """A value as another type."""
        return self.call("Cast", value, to=_type(dtype))

    def joined(self, values: list[str]) -> str:
        """Values (rows, widths) side by side."""
        return values[0] if len(values) == 1 else self.call("Concat", *values, axis=1)

    def _free(self, stem: str) -> str:
        """A name that begins with ``stem`` and that no other value has."""
        while True:
            count = self._used[stem]
            self._used[stem] += 1
            name = f"{stem}_{count}" if count else stem
            if name not in self._reserved:
                self._reserved.add(name)
                return name


def _type(dtype: np.dtype[np.generic]) -> int:
    """The number of a type in ONNX; objects are strings."""
    return int(helper.np_dtype_to_tensor_dtype(dtype))
