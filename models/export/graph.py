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


class Graph:
    """Operators, each of which makes one value of others; a value is known by its name.

    They are written into ``model`` at once, so that large arrays are in memory no more than once. ``dtype`` is that of
    the networks. What an operator makes of the same values is computed once. ``reserved`` are
    names of inputs and outputs.
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

    def input(self, name: str, dtype: np.dtype[np.generic], width: int) -> str:
        """Declare an input (rows, width) with a reserved name."""
        self._proto.input.append(helper.make_tensor_value_info(name, _type(dtype), [ROWS, width]))
        return name

    def output(self, name: str, value: str, dtype: np.dtype[np.generic], *widths: int) -> None:
        """Make a value (rows, *widths) an output with a reserved name."""
        self._proto.node.append(helper.make_node("Identity", [value], [name], name))
        self._proto.output.append(helper.make_tensor_value_info(name, _type(dtype), [ROWS, *widths]))

    def call(self, operator: str, *values: str | Array, domain: str = "", **attributes: Any) -> str:
        """The value that an operator makes of others; arrays become constants."""
        names = [value if isinstance(value, str) else self.constant(value) for value in values]
        key = (operator, tuple(names), repr(sorted(attributes.items())))
        if key not in self._known:
            name = self._known[key] = self._free(operator.lower())
            self._proto.node.append(helper.make_node(operator, names, [name], name, domain=domain, **attributes))
        return self._known[key]

    def constant(self, array: Array, name: str = "constant") -> str:
        """An array as a value."""
        # The objects of an array of strings are compared by their addresses only.
        same = array.size <= SMALL and array.dtype != object
        key = (array.dtype.str, array.shape, array.tobytes()) if same else None
        if key is None or key not in self._known:
            found = self._known[key] = self._free(name)
            self._proto.initializer.append(numpy_helper.from_array(array, found))
            return found
        return self._known[key]

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
