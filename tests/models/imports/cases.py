"""ONNX files as other programs write them: at least one for each operator that is read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from nncore.arrays import Array

__all__ = ["CASES", "INPUTS", "ML", "a_model", "node"]

INPUTS, HIDDEN, CLASSES = 4, 5, 3
ML = "ai.onnx.ml"
RANDOM = np.random.default_rng(3)
W1, B1 = RANDOM.normal(size=(INPUTS, HIDDEN)).astype("f4"), RANDOM.normal(size=HIDDEN).astype("f4")
W2, B2 = RANDOM.normal(size=(HIDDEN, CLASSES)).astype("f4"), RANDOM.normal(size=CLASSES).astype("f4")
W3, B3 = RANDOM.normal(size=(HIDDEN, 1)).astype("f4"), RANDOM.normal(size=1).astype("f4")
#: Factors and variances, above 0.
POSITIVE = RANDOM.uniform(0.5, 2.0, size=(2, HIDDEN)).astype("f4")


def node(kind: str, inputs: str, output: str, domain: str = "", **attributes: Any) -> Any:
    """A node that reads and makes names; "-" stands for an input that is left out."""
    names = [name.strip("-") for name in inputs.split()]
    return helper.make_node(kind, names, output.split(), name=f"{kind} {output}", domain=domain, **attributes)


def a_model(
    nodes: Sequence[Any],
    constants: Mapping[str, Array],
    outputs: str = "y",
    *,
    opset: int = 20,
    shape: Sequence[Any] = (None, INPUTS),
    inputs: str = "x",
    kind: int = onnx.TensorProto.FLOAT,
) -> bytes:
    """The bytes of a file with this graph."""
    graph = helper.make_graph(
        list(nodes),
        "graph",
        [helper.make_tensor_value_info(name, kind, shape) for name in inputs.split()],
        [onnx.ValueInfoProto(name=name) for name in outputs.split()],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid(ML, 3)]
    content: bytes = helper.make_model(graph, ir_version=9, opset_imports=opsets).SerializeToString()
    return content


def torch_like(*between: Any, constants: Mapping[str, Array] | None = None, opset: int = 20, end: str = "") -> bytes:
    """Two linear layers as torch.onnx writes them, with nodes from "h" to "a" between them, and a node at the end."""
    nodes = [
        node("Gemm", "x w1 b1", "h", alpha=1.0, beta=1.0, transB=1),
        *(between or (node("Relu", "h", "a"),)),
        node("Gemm", "a w2 b2", "z" if end else "y", transB=1),
        *([node(end, "z", "y")] if end else []),
    ]
    # Linear layers of torch have their weights transposed.
    weights = {"w1": np.ascontiguousarray(W1.T), "b1": B1, "w2": np.ascontiguousarray(W2.T), "b2": B2}
    return a_model(nodes, {**weights, **(constants or {})}, opset=opset)


def keras_like(*after: Any, width: int = CLASSES, outputs: str = "y", opset: int = 20, **constants: Array) -> bytes:
    """Two dense layers as tf2onnx and skl2onnx write them, with the nodes that read "z" after them."""
    last = {"w2": W2, "b2": B2} if width == CLASSES else {"w2": W3, "b2": B3.reshape(1, 1)}
    nodes = [
        node("MatMul", "x w1", "m1"),
        node("Add", "m1 b1", "h"),
        node("Tanh", "h", "a"),
        node("MatMul", "a w2", "m2"),
        node("Add", "b2 m2", "z"),
    ]
    return a_model([*nodes, *after], {"w1": W1, "b1": B1, **last, **constants}, outputs, opset=opset)


def number(value: float, kind: str = "f4") -> Array:
    return np.array(value, kind)


def skl_labels(name: str) -> list[Any]:
    """The class with the largest number and its label, as skl2onnx writes them."""
    return [
        node("ArgMax", name, "best", axis=1),
        node("ArrayFeatureExtractor", "classes best", "found", domain=ML),
        node("Reshape", "found flat", "label"),
    ]


TEXTS, FLAT = np.array(["a", "b", "ü"], object), np.array([-1], "i8")
SOFTMAX = node("Softmax", "z", "y", axis=1)

CASES: dict[str, Callable[[], bytes]] = {
    "logits": torch_like,
    "softmax": lambda: torch_like(end="Softmax"),
    "softmax of opset 11": lambda: torch_like(end="Softmax", opset=11),
    "log softmax": lambda: torch_like(end="LogSoftmax"),
    **{
        f"{kind.lower()} {attributes}": lambda kind=kind, attributes=attributes: torch_like(  # type: ignore[misc]
            node(kind, "h", "a", **attributes)
        )
        for kind, attributes in (
            ("Relu", {}),
            ("LeakyRelu", {}),
            ("LeakyRelu", {"alpha": 0.2}),
            ("Elu", {}),
            ("Elu", {"alpha": 0.5}),
            ("Selu", {}),
            ("Gelu", {}),
            ("Gelu", {"approximate": "tanh"}),
            ("Tanh", {}),
            ("Sigmoid", {}),
            ("Softplus", {}),
            ("Identity", {}),
            ("Dropout", {}),
        )
    },
    "swish": lambda: torch_like(node("Swish", "h", "a"), opset=24),
    "prelu of one slope": lambda: torch_like(node("PRelu", "h s", "a"), constants={"s": number(0.1)}),
    "clip from 0": lambda: torch_like(node("Clip", "h s", "a"), constants={"s": number(0.0)}),
    "clip from 0, opset 10": lambda: torch_like(node("Clip", "h", "a", min=0.0), opset=10),
    "silu of torch": lambda: torch_like(node("Sigmoid", "h", "g"), node("Mul", "h g", "a")),
    "gelu of torch": lambda: torch_like(
        node("Div", "h r", "q"),
        node("Erf", "q", "e"),
        node("Add", "e one", "p"),
        node("Mul", "h p", "d"),
        node("Mul", "d half", "a"),
        constants={"r": number(2**0.5), "one": number(1), "half": number(0.5)},
    ),
    "gelu by tanh of torch": lambda: torch_like(
        node("Pow", "h three", "c"),
        node("Mul", "c k", "k3"),
        node("Add", "h k3", "u"),
        node("Mul", "u r", "v"),
        node("Tanh", "v", "t"),
        node("Add", "t one", "p"),
        node("Mul", "half h", "hh"),
        node("Mul", "hh p", "a"),
        constants={"three": number(3), "k": number(0.044715), "r": number(0.7978845608), "one": number(1)}
        | {"half": number(0.5)},
    ),
    "leaky relu by max": lambda: torch_like(
        node("Mul", "h s", "g"), node("Max", "h g", "a"), constants={"s": number(0.3)}
    ),
    "relu by min": lambda: torch_like(
        node("Neg", "h", "g"), node("Min", "g s", "n"), node("Neg", "n", "a"), constants={"s": number(0)}
    ),
    "elu by where": lambda: torch_like(
        node("Exp", "h", "e"),
        node("Sub", "e one", "below"),
        node("Greater", "h zero", "c"),
        node("Where", "c h below", "a"),
        constants={"one": number(1), "zero": number(0)},
    ),
    **{
        f"relu by {compare.lower()}": lambda compare=compare, order=order: torch_like(  # type: ignore[misc]
            node(compare, order, "c"),
            node("Mul", "h zero", "n"),
            node("Where", "c h n", "a"),
            constants={"zero": number(0)},
        )
        for compare, order in (
            ("GreaterOrEqual", "h zero"),
            ("Less", "zero h"),
            ("LessOrEqual", "zero h"),
        )
    },
    "softplus by logarithm": lambda: torch_like(
        node("Abs", "h", "m"),
        node("Neg", "m", "n"),
        node("Exp", "n", "e"),
        node("Add", "e one", "u"),
        node("Log", "u", "l"),
        node("Relu", "h", "r"),
        node("Add", "r l", "a"),
        constants={"one": number(1)},
    ),
    "sigmoid by reciprocal": lambda: torch_like(
        node("Neg", "h", "n"),
        node("Exp", "n", "e"),
        node("Add", "e one", "u"),
        node("Reciprocal", "u", "a"),
        constants={"one": number(1)},
    ),
    "an activation that is scaled": lambda: torch_like(
        node("Tanh", "h", "t"), node("Mul", "t f", "s"), node("Sub", "s o", "a"),
        constants={"f": number(-1.7), "o": number(0.6)},
    ),
    "elu that is scaled": lambda: torch_like(
        node("Elu", "h", "t", alpha=0.3), node("Mul", "t f", "a"), constants={"f": number(2.5)}
    ),
    "one unit with a normalization": lambda: a_model(
        [
            node("Gemm", "x w b", "h"), node("Relu", "h", "r"), node("Sub", "r m", "c"), node("Mul", "c f", "s"),
            node("Add", "s o", "n"), node("Tanh", "n", "t"), node("Gemm", "t v", "y"),
        ],
        {"w": W1[:, :1], "b": B1[:1], "m": B1[1:2], "f": B1[2:3], "o": B1[3:4], "v": W2[:1]},
    ),
    "relu by sign": lambda: torch_like(
        node("Sign", "h", "s"),
        node("Equal", "s one", "c"),
        node("Mul", "h zero", "n"),
        node("Where", "c h n", "a"),
        constants={"one": number(1), "zero": number(0)},
    ),
    "relu by root": lambda: torch_like(
        node("Mul", "h h", "q"),
        node("Sqrt", "q", "m"),
        node("Add", "h m", "t"),
        node("Mul", "t half", "a"),
        constants={"half": number(0.5)},
    ),
    "batch normalization": lambda: torch_like(
        node("BatchNormalization", "h g o m v", "n", epsilon=1e-4),
        node("Relu", "n", "a"),
        constants={"g": POSITIVE[0], "o": B1, "m": -B1, "v": POSITIVE[1]},
    ),
    "batch normalization of tf2onnx": lambda: torch_like(
        node("Mul", "h g", "s"), node("Sub", "s m", "t"), node("Add", "t o", "n"), node("Elu", "n", "a"),
        constants={"g": POSITIVE[0], "m": B1, "o": B1 * 2},
    ),
    "layer normalization": lambda: torch_like(
        node("LayerNormalization", "h g o", "a", axis=-1), constants={"g": POSITIVE[0], "o": B1}
    ),
    "layer normalization without a bias": lambda: torch_like(
        node("LayerNormalization", "h g", "a", axis=1, epsilon=1e-3), constants={"g": POSITIVE[0]}
    ),
    "layer normalization of torch before opset 17": lambda: torch_like(
        node("ReduceMean", "h", "m", axes=[-1]),
        node("Sub", "h m", "c"),
        node("Pow", "c two", "q"),
        node("ReduceMean", "q", "v", axes=[-1]),
        node("Add", "v eps", "w"),
        node("Sqrt", "w", "d"),
        node("Div", "c d", "n"),
        node("Mul", "n g", "s"),
        node("Add", "s o", "a"),
        constants={"two": number(2), "eps": number(1e-5), "g": POSITIVE[0], "o": B1},
        opset=16,
    ),
    "a softmax between layers": lambda: torch_like(node("Softmax", "h", "a")),
    "an activation before the softmax": lambda: keras_like(node("Relu", "z", "r"), node("Softmax", "r", "y")),
    "a temperature": lambda: keras_like(node("Div", "z t", "r"), node("Softmax", "r", "y"), t=number(2.5)),
    "logits that are scaled": lambda: keras_like(
        node("Mul", "z f", "r"), node("Softmax", "r", "y"), f=np.array([[1, 2, 3]], "f4")
    ),
    "one logistic unit": lambda: keras_like(node("Sigmoid", "z", "y"), width=1),
    "two classes of skl2onnx": lambda: keras_like(
        node("Sigmoid", "z", "p"), node("Sub", "one p", "n"), node("Concat", "n p", "y", axis=1),
        *skl_labels("y"), node("Cast", "label", "number", to=7),
        width=1, outputs="number y", one=number(1), classes=np.array([3, -4], "i4"), flat=FLAT,
    ),
    "three classes of skl2onnx": lambda: keras_like(
        SOFTMAX, *skl_labels("y"), outputs="label y", classes=TEXTS, flat=FLAT
    ),
    "maps of skl2onnx": lambda: keras_like(
        SOFTMAX,
        node("ZipMap", "y", "maps", domain=ML, classlabels_strings=["a", "b", "ü"]),
        outputs="maps",
    ),
    "maps of numbers": lambda: keras_like(
        SOFTMAX, node("ZipMap", "y", "maps", domain=ML, classlabels_int64s=[7, 5, 6]), outputs="maps"
    ),
    "labels by a table": lambda: keras_like(
        SOFTMAX,
        node("ArgMax", "y", "best", axis=-1, keepdims=0),
        node("LabelEncoder", "best", "label", domain=ML, keys_int64s=[2, 0, 1], values_strings=["c", "a", "b"]),
        outputs="label y",
    ),
    "labels by gather": lambda: keras_like(
        SOFTMAX,
        node("ArgMax", "y", "best", axis=1),
        node("Squeeze", "best last", "one"),
        node("Gather", "classes one", "label"),
        outputs="label y",
        classes=TEXTS,
        last=FLAT,
    ),
    "logits and probabilities": lambda: keras_like(SOFTMAX, outputs="z y"),
    "a scaler of skl2onnx": lambda: a_model(
        [
            node("Scaler", "x", "s", domain=ML, offset=[1.0, 2.0, 3.0, 4.0], scale=[0.5, 1.0, 2.0, 3.0]),
            node("Cast", "s", "c", to=1),
            node("Gemm", "c w b", "y"),
        ],
        {"w": W1[:, :3], "b": B1[:3]},
    ),
    "pictures": lambda: a_model(
        [node("Flatten", "x", "f"), node("Gemm", "f w b", "y")], {"w": W1[:, :3], "b": B1[:3]}, shape=("n", 1, 2, 2)
    ),
    "pictures, by reshape": lambda: a_model(
        [node("Reshape", "x s", "f"), node("Gemm", "f w b", "y")],
        {"w": W1[:, :3], "b": B1[:3], "s": np.array([0, -1], "i8")},
        shape=("n", 2, 2),
    ),
    "columns": lambda: a_model(
        [node("Concat", "p q r s", "j", axis=1), node("Gemm", "j w b", "y")],
        {"w": W1[:, :3], "b": B1[:3]},
        inputs="p q r s",
        shape=(None, 1),
    ),
    "constants in nodes": lambda: a_model(
        [
            node("Constant", "", "w", value=numpy_helper.from_array(np.ascontiguousarray(W1.T[None, :3]))),
            node("Constant", "", "axes", value_ints=[0]),
            node("Squeeze", "w axes", "u"),
            node("Transpose", "u", "t", perm=[1, 0]),
            node("Identity", "b", "c"),
            node("Unsqueeze", "c axes", "d"),
            node("MatMul", "x t", "m"),
            node("Add", "m d", "y"),
        ],
        {"b": B1[:3]},
        opset=13,
    ),
    "a gemm with factors": lambda: a_model(
        [node("Gemm", "x w b", "y", alpha=0.5, beta=2.0)], {"w": W1[:, :3], "b": number(0.3)}
    ),
    "float64": lambda: a_model(
        [node("Gemm", "x w b", "h"), node("Tanh", "h", "a"), node("Gemm", "a v", "y")],
        {"w": W1.astype("f8"), "b": B1.astype("f8"), "v": W2.astype("f8")},
        kind=onnx.TensorProto.DOUBLE,
    ),
    "a whole-number input": lambda: a_model(
        [node("Cast", "x", "c", to=1), node("Gemm", "c w b", "y")],
        {"w": W1[:, :3], "b": B1[:3]},
        kind=onnx.TensorProto.INT64,
    ),
}  # fmt: skip
