"""The operators of an ONNX graph that a multilayer perceptron has: a table of what each makes of its inputs.

Equations are those of https://onnx.ai/onnx/operators/. To read one more operator, add its line to ``OPERATORS`` and a
case to ``tests/models/imports/cases.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from models.errors import describe
from models.imports.chain import Chain, refused
from models.imports.onnx_tensors import FLOATS, array_of, text_of
from models.imports.onnx_values import (
    Column,
    Curve,
    Input,
    Labels,
    Moment,
    Value,
    curve_of,
    described,
    is_logistic,
    settled,
)
from nncore.arrays import Array
from nncore.erf import erf
from nncore.layers import GELU, SELU, BatchNorm, LayerNorm, Sigmoid, Softplus

__all__ = ["ML", "OPERATORS", "Call"]

#: The domain of operators for classical models.
ML = "ai.onnx.ml"
#: ``AttributeProto.type`` of each kind, and the field of its value.
_FIELDS = {1: "f", 2: "i", 3: "s", 4: "t", 6: "floats", 7: "ints", 8: "strings"}

Function = Callable[..., Array]


@dataclass(frozen=True)
class Call:
    """A node with its inputs, None for those that are left out. ``place`` is a JSON pointer into the file."""

    node: Any
    place: str
    inputs: Sequence[Value | None]
    opset: int

    @property
    def what(self) -> str:
        """The node for an error message."""
        name = f" {describe(self.node.name)}" if self.node.name else ""
        return f"the {self.node.op_type}{name}"

    def refused(self, wanted: str, received: object) -> Exception:
        """The refusal of this node."""
        return refused(self.place, f"{self.what} {wanted}", received)

    def attribute(self, name: str, default: Any) -> Any:
        """An attribute's value."""
        for index, each in enumerate(self.node.attribute):
            if each.name == name:
                if each.type not in _FIELDS:
                    raise self.refused(f"must have a plain value for {name}", f"type {each.type} of AttributeProto")
                value = getattr(each, _FIELDS[each.type])
                return array_of(value, f"{self.place}/attribute/{index}/t") if each.type == 4 else value
        return default

    def require(self, name: str, allowed: Sequence[Any], default: Any) -> None:
        """Raise InvalidError unless an attribute has one of these values."""
        found = self.attribute(name, default)
        if found not in allowed:
            raise self.refused(f"must have {name} = {' or '.join(map(str, allowed))}", describe(found))

    def given(self, index: int) -> Value:
        """An input that must be there."""
        found = self.inputs[index] if index < len(self.inputs) else None
        if found is None:
            raise self.refused(f"must have {index + 1} inputs or more", len(self.inputs))
        return found

    def chain(self, index: int) -> Chain:
        """An input that is the network up to here, in rows."""
        found = self.given(index)
        if not isinstance(found, Chain | Curve):
            shape = f"the graph's input of {len(found.sizes) + 1} dimensions" if isinstance(found, Input) else None
            raise self.refused(f"must have rows of numbers as input {index + 1}", shape or described(found))
        return settled(found)

    def array(self, index: int) -> Array:
        """An input that is a constant of numbers."""
        found = self.given(index)
        if not isinstance(found, np.ndarray) or found.dtype == object:
            raise self.refused(f"must have a constant of numbers as input {index + 1}", described(found))
        return found

    @property
    def arrays(self) -> list[Array] | None:
        """The inputs if all are constants of numbers."""
        found = [each for each in self.inputs if isinstance(each, np.ndarray) and each.dtype != object]
        return found if found and len(found) == len(self.inputs) else None


def _gemm(call: Call) -> Value:
    """``alpha·x·W + beta·b``."""
    call.require("transA", (0,), 0)
    chain, weights = call.chain(0), _matrix(call)
    if call.attribute("transB", 0):
        weights = weights.T
    alpha, beta = call.attribute("alpha", 1.0), call.attribute("beta", 1.0)
    bias = (
        call.array(2) * np.array(beta, weights.dtype) if len(call.inputs) > 2 and call.inputs[2] is not None else None
    )
    return chain.dense(call.place, weights if alpha == 1.0 else weights * np.array(alpha, weights.dtype), bias)


def _matmul(call: Call) -> Value:
    return call.chain(0).dense(call.place, _matrix(call))


def _matrix(call: Call) -> Array:
    found = call.array(1)
    if found.ndim != 2 or found.dtype.kind != "f":
        raise call.refused("must multiply by a matrix of floating-point numbers", f"{found.dtype} of {found.shape}")
    return found


def _pointwise(function: Callable[[Call], Function], call: Call) -> Value:
    """A function of each number."""
    apply = function(call)
    value = call.given(0)
    if isinstance(value, np.ndarray):
        return apply(call.array(0))
    if not isinstance(value, Chain | Curve):
        call.chain(0)
    curve = curve_of(value, call.place)  # type: ignore[arg-type]
    return Curve(curve.chain, apply(curve.values), call.place)


def _clip(call: Call) -> Function:
    """Bounds are attributes before opset 11, then inputs."""
    bounds = [call.attribute("min", None), call.attribute("max", None)]
    for place in (1, 2):
        if len(call.inputs) > place and call.inputs[place] is not None:
            bounds[place - 1] = call.array(place).item()
    return lambda x: np.clip(x, *bounds)


def _gelu(call: Call) -> Function:
    return partial(GELU("tanh" if call.attribute("approximate", b"none") == b"tanh" else "none").apply, {})


def _selu(call: Call) -> Function:
    alpha, gamma = call.attribute("alpha", SELU.alpha), call.attribute("gamma", SELU.scale)
    return lambda x: gamma * np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))


_POINTWISE: Mapping[str, Callable[[Call], Function]] = {
    "Relu": lambda call: lambda x: np.maximum(x, 0),
    "LeakyRelu": lambda call: partial(_leaky, slope=call.attribute("alpha", 0.01)),
    "Elu": lambda call: partial(_elu, alpha=call.attribute("alpha", 1.0)),
    "Selu": _selu,
    "Gelu": _gelu,
    "Swish": lambda call: partial(_swish, alpha=call.attribute("alpha", 1.0)),
    "Tanh": lambda call: np.tanh,
    "Sigmoid": lambda call: partial(Sigmoid().apply, {}),
    "Softplus": lambda call: partial(Softplus().apply, {}),
    "Erf": lambda call: erf,
    "Exp": lambda call: np.exp,
    "Log": lambda call: np.log,
    "Neg": lambda call: np.negative,
    "Abs": lambda call: np.abs,
    "Sign": lambda call: np.sign,
    "Reciprocal": lambda call: np.reciprocal,
    "Clip": _clip,
}


def _leaky(x: Array, slope: float) -> Array:
    return np.where(x > 0, x, slope * x)


def _elu(x: Array, alpha: float) -> Array:
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))


def _swish(x: Array, alpha: float) -> Array:
    return x * Sigmoid().apply({}, alpha * x)


#: Functions of two numbers.
_ARITHMETIC: Mapping[str, Function] = {
    "Add": np.add,
    "Sub": np.subtract,
    "Mul": np.multiply,
    "Div": np.divide,
    "Pow": np.power,
    "Max": np.maximum,
    "Min": np.minimum,
    "PRelu": lambda x, slope: np.where(x > 0, x, slope * x),
    "Equal": np.equal,
    "Less": np.less,
    "LessOrEqual": np.less_equal,
    "Greater": np.greater,
    "GreaterOrEqual": np.greater_equal,
}


def _arithmetic(function: Function, call: Call) -> Value:
    """A function of two numbers: of constants, of the network and a constant, or of what one layer makes."""
    one, other = call.given(0), call.given(1)
    if len(call.inputs) > 2:
        raise call.refused("must have 2 inputs", len(call.inputs))
    with np.errstate(all="ignore"):
        if isinstance(one, Moment) or isinstance(other, Moment):
            return _normalizing(call, one, other)
        if isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
            return function(call.array(0), call.array(1))
        if isinstance(one, np.ndarray) or isinstance(other, np.ndarray):
            return _with_constant(function, call, first=isinstance(one, np.ndarray))
        if not isinstance(one, Chain | Curve) or not isinstance(other, Chain | Curve):
            raise call.refused("must have rows of numbers as inputs", f"{described(one)} and {described(other)}")
        curves = curve_of(one, call.place), curve_of(other, call.place)
        if curves[0].chain is not curves[1].chain:
            raise call.refused("must not join two branches: the layers must follow one another", "a branch")
        return Curve(curves[0].chain, function(curves[0].values, curves[1].values), call.place)


def _with_constant(function: Function, call: Call, *, first: bool) -> Value:
    """A function of the network's numbers and a constant, which is the ``first`` input or the second."""
    constant, value = call.array(0 if first else 1), call.given(1 if first else 0)
    kind = call.node.op_type
    # What a layer of one unit has for each unit is one number, too; a number that a function has is no array.
    row = kind in ("Add", "Sub", "Mul", "Div") and isinstance(value, Chain | Curve) and _units(value) == 1
    bias = row and (constant.ndim > 0 or (isinstance(value, Chain) and kind in ("Add", "Sub")))
    if constant.size == 1 and not bias:
        if not isinstance(value, Chain | Curve):
            call.chain(1 if first else 0)
        curve, number = curve_of(value, call.place), constant.astype(np.float64).reshape(())  # type: ignore[arg-type]
        values = function(number, curve.values) if first else function(curve.values, number)
        return Curve(curve.chain, values, call.place)
    chain, zero, one = call.chain(1 if first else 0), np.zeros(1), np.ones(1)
    if kind == "Add":
        return chain.shifted(call.place, constant)
    if kind == "Sub":
        return chain.scaled(call.place, zero, -one, constant) if first else chain.shifted(call.place, -constant)
    if kind == "Mul":
        return chain.scaled(call.place, zero, constant)
    if kind == "Div" and not first:
        return chain.scaled(call.place, zero, 1.0 / constant)
    raise call.refused("must have one number as its constant", f"shape {constant.shape}")


def _units(value: Chain | Curve) -> int:
    """The numbers in a row."""
    return value.width if isinstance(value, Chain) else value.chain.width


def _normalizing(call: Call, one: Value, other: Value) -> Value:
    """The next step of ``(x - mean)/√(variance + ε)``, a layer normalization in several nodes."""
    kind = call.node.op_type
    if isinstance(other, Moment):
        if kind == "Sub" and other.what == "mean" and isinstance(one, Chain | Curve) and settled(one) is other.chain:
            return other._replace(what="centered")
        if kind == "Mul" and one is other and other.what == "centered":
            return other._replace(what="square")
        if kind == "Div" and other.what == "deviation" and one == Moment(other.chain, "centered"):
            return _layer_norm_of(call, other.chain, other.epsilon, {"gamma": np.ones(1), "beta": np.zeros(1)})
        one, other = other, one
    if isinstance(one, Moment) and isinstance(other, np.ndarray) and other.size == 1:
        number = float(other.reshape(()))
        if kind == "Pow" and one.what == "centered" and number == 2.0:
            return one._replace(what="square")
        if kind == "Add" and one.what == "variance":
            return one._replace(what="more", epsilon=number)
    raise call.refused("must be a part of a layer normalization", f"{described(one)} and {described(other)}")


def _reduce_mean(call: Call) -> Value:
    """The mean of each row, or the variance."""
    value = call.given(0)
    axes = _axes(call)
    if axes not in ((-1,), (1,)) or not call.attribute("keepdims", 1):
        raise call.refused("must keep rows, with the axis 1 or -1", f"axes {axes}")
    if isinstance(value, Moment) and value.what == "square":
        return value._replace(what="variance")
    return Moment(call.chain(0), "mean")


def _sqrt(call: Call) -> Value:
    """The root of a variance, of a constant, or of each number."""
    value = call.given(0)
    if isinstance(value, Moment) and value.what == "more":
        return value._replace(what="deviation")
    return _pointwise(lambda call: np.sqrt, call)


def _where(call: Call) -> Value:
    """One of two functions of each number, as a third one says."""
    values = [call.given(index) for index in range(3)]
    if any(not isinstance(each, Chain | Curve) for each in values):
        raise call.refused("must have rows of numbers as inputs", ", ".join(map(described, values)))
    first, *others = [curve_of(each, call.place) for each in values if isinstance(each, Chain | Curve)]
    if any(each.chain is not first.chain for each in others):
        raise call.refused("must not join two branches: the layers must follow one another", "a branch")
    return Curve(first.chain, np.where(first.values, others[0].values, others[1].values), call.place)


def _batch_norm(call: Call) -> Value:
    call.require("training_mode", (0,), 0)
    chain = call.chain(0)
    gamma, beta, mean, variance = (_of_width(call, index, chain.width) for index in range(1, 5))
    epsilon = call.attribute("epsilon", 1e-5)
    arrays = {"gamma": gamma, "beta": beta, "running_mean": mean, "running_variance": variance}
    if not 0.0 < epsilon <= 1.0:
        raise call.refused("must have an epsilon above 0 and at most 1", epsilon)
    return chain.then(call.place, BatchNorm(epsilon=_rounded(epsilon)), arrays)


def _layer_norm(call: Call) -> Value:
    call.require("axis", (-1, 1), -1)
    chain, epsilon = call.chain(0), call.attribute("epsilon", 1e-5)
    gamma = _of_width(call, 1, chain.width)
    beta = _of_width(call, 2, chain.width) if len(call.inputs) > 2 else np.zeros_like(gamma)
    return _layer_norm_of(call, chain, epsilon, {"gamma": gamma, "beta": beta})


def _layer_norm_of(call: Call, chain: Chain, epsilon: float, arrays: Mapping[str, Array]) -> Chain:
    if not 0.0 < epsilon <= 1.0:
        raise call.refused("must have an epsilon above 0 and at most 1", epsilon)
    rows = {name: np.broadcast_to(array, (chain.width,)) for name, array in arrays.items()}
    return chain.then(call.place, LayerNorm(epsilon=_rounded(epsilon)), rows)


def _rounded(number: float) -> float:
    """The shortest number that is the same float32, which an attribute is: 1e-5 and not 9.999999747378752e-06."""
    return float(str(np.float32(number)))


def _of_width(call: Call, index: int, width: int) -> Array:
    found = call.array(index)
    if found.shape != (width,):
        raise call.refused(f"must have {width} numbers as input {index + 1}", f"shape {found.shape}")
    return found


def _scaler(call: Call) -> Value:
    """``(x - offset)·scale``."""
    offset, scale = (np.array(call.attribute(name, ()), np.float64) for name in ("offset", "scale"))
    chain = call.chain(0)
    return chain.scaled(call.place, offset if offset.size else np.zeros(1), scale if scale.size else np.ones(1))


def _softmax(call: Call) -> Value:
    """The softmax, or its logarithm: whoever reads that means the probabilities."""
    call.require("axis", (1, -1), 1 if call.opset < 13 else -1)
    return call.chain(0).softmax(call.place)


def _same(call: Call) -> Value:
    return call.given(0)


def _cast(call: Call) -> Value:
    value, to = call.given(0), call.attribute("to", 0)
    if isinstance(value, np.ndarray) and value.dtype != object:
        return _as(value, {1: "f4", 11: "f8", 10: "f4", 16: "f4", 9: "?"}.get(to, "i8"))
    if isinstance(value, Chain | Curve | Input | Column) and to not in FLOATS:
        raise call.refused("must cast to floating-point numbers", f"type {to} of TensorProto")
    return value


def _as(array: Array, dtype: str) -> Array:
    return array.astype(dtype)


def _dropout(call: Call) -> Value:
    if len(call.inputs) > 2 and isinstance(call.inputs[2], np.ndarray) and call.inputs[2].any():
        raise call.refused("must not be in training mode: export the model for inference", "training_mode = true")
    return call.given(0)


def _flatten(call: Call) -> Value:
    call.require("axis", (1,), 1)
    value = call.given(0)
    return value.flat if isinstance(value, Input) else call.chain(0)


def _reshape(call: Call) -> Value:
    value, shape = call.given(0), [int(size) for size in call.array(1).reshape(-1)]
    if isinstance(value, np.ndarray):
        try:
            return value.reshape([value.shape[at] if size == 0 else size for at, size in enumerate(shape)])
        except (ValueError, IndexError) as error:
            raise call.refused("must fit its constant", error) from None
    if isinstance(value, Labels):
        return value
    flat = value.flat if isinstance(value, Input) else call.chain(0)
    if len(shape) != 2 or shape[1] not in (-1, flat.width) or (shape[0] > 1 and shape[1] == -1):
        raise call.refused(f"must make rows of {flat.width} numbers, as (-1, {flat.width}) does", tuple(shape))
    return flat


def _moved(function: Callable[[Call, Array], Array], call: Call) -> Value:
    """What changes the shape of a constant, or of labels, which have none here."""
    value = call.given(0)
    if isinstance(value, Labels):
        return value
    try:
        return function(call, call.array(0))
    except ValueError as error:
        raise call.refused("must fit its constant", error) from None


def _axes(call: Call) -> tuple[int, ...]:
    """Axes are an attribute before opset 13, then an input."""
    found = call.array(1) if len(call.inputs) > 1 else np.array(call.attribute("axes", ()), np.int64)
    return tuple(int(axis) for axis in found.reshape(-1))


def _transposed(call: Call, array: Array) -> Array:
    axes = tuple(call.attribute("perm", ()))
    return array.transpose(axes or None)


def _concat(call: Call) -> Value:
    values = [call.given(index) for index in range(len(call.inputs))]
    if values and all(isinstance(each, Column) for each in values):
        order = [each.place for each in values if isinstance(each, Column)]
        if order != list(range(len(order))):
            raise call.refused("must join the graph's inputs in their order", describe(order))
        return Chain.begin(len(order))
    call.require("axis", (1, -1), 0)
    if len(values) == 2 and all(isinstance(each, Curve) for each in values):
        first, second = (curve_of(each, call.place) for each in values)  # type: ignore[arg-type]
        one = first.chain is second.chain and first.chain.width == 1
        if one and is_logistic(second) and np.allclose(first.values, 1.0 - second.values, atol=1e-6):
            return second.chain.two_classes(call.place)
    raise call.refused(
        "must join the graph's inputs, or 1 - p and p of one logistic unit", ", ".join(map(described, values))
    )


def _constant(call: Call) -> Value:
    for name in ("value", "value_float", "value_int", "value_floats", "value_ints"):
        found = call.attribute(name, None)
        if found is not None:
            return found if isinstance(found, np.ndarray) else np.array(found)
    raise call.refused("must have a value of numbers", "another one")


def _argmax(call: Call) -> Value:
    call.require("axis", (1, -1), 0)
    return Labels(call.chain(0))


def _labelled(call: Call) -> Value:
    """The labels of classes by their numbers."""
    classes, chosen = call.given(0), call.given(1)
    if isinstance(classes, np.ndarray) and isinstance(chosen, Labels) and chosen.classes is None:
        return chosen._replace(classes=classes.reshape(-1).tolist())
    raise call.refused("must choose a class by its number", f"{described(classes)} and {described(chosen)}")


def _classes(call: Call, texts: str, numbers: str) -> list[Any]:
    found = [text_of(each, call.place) for each in call.attribute(texts, ())]
    return found or [int(each) for each in call.attribute(numbers, ())]


def _zip_map(call: Call) -> Value:
    """Probabilities by label, for each row a map."""
    chain = call.chain(0)
    return Labels(chain, _classes(call, "classlabels_strings", "classlabels_int64s"))


def _label_encoder(call: Call) -> Value:
    """A label for the number of each class."""
    value, keys = call.given(0), list(call.attribute("keys_int64s", ()))
    labels = _classes(call, "values_strings", "values_int64s")
    if not isinstance(value, Labels) or sorted(keys) != list(range(len(labels))):
        raise call.refused("must give each class from 0 on a label", describe(keys))
    return value._replace(classes=[label for _, label in sorted(zip(keys, labels, strict=True))])


#: By domain and name, what makes a node's first output.
OPERATORS: Mapping[tuple[str, str], Callable[[Call], Value]] = {
    ("", "Gemm"): _gemm,
    ("", "MatMul"): _matmul,
    **{("", name): partial(_pointwise, function) for name, function in _POINTWISE.items()},
    **{("", name): partial(_arithmetic, function) for name, function in _ARITHMETIC.items()},
    ("", "Sqrt"): _sqrt,
    ("", "Where"): _where,
    ("", "ReduceMean"): _reduce_mean,
    ("", "BatchNormalization"): _batch_norm,
    ("", "LayerNormalization"): _layer_norm,
    (ML, "Scaler"): _scaler,
    ("", "Softmax"): _softmax,
    ("", "LogSoftmax"): _softmax,
    ("", "Identity"): _same,
    ("", "Cast"): _cast,
    ("", "Dropout"): _dropout,
    ("", "Flatten"): _flatten,
    ("", "Reshape"): _reshape,
    ("", "Transpose"): partial(_moved, _transposed),
    ("", "Squeeze"): partial(_moved, lambda call, array: np.squeeze(array, _axes(call) or None)),
    ("", "Unsqueeze"): partial(_moved, lambda call, array: np.expand_dims(array, _axes(call))),
    ("", "Concat"): _concat,
    ("", "Constant"): _constant,
    ("", "ArgMax"): _argmax,
    ("", "Gather"): _labelled,
    (ML, "ArrayFeatureExtractor"): _labelled,
    (ML, "ZipMap"): _zip_map,
    (ML, "LabelEncoder"): _label_encoder,
}
