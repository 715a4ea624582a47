"""ONNX files that are no multilayer perceptron, or that are damaged: each with its place and a part of the refusal."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from tests.models.imports.cases import ML, SOFTMAX, W1, a_model, keras_like, node, number, torch_like

__all__ = ["REFUSED", "edited"]


def edited(change: Callable[[Any], object], content: bytes | None = None) -> bytes:
    """A good file that was changed."""
    model = onnx.ModelProto.FromString(torch_like() if content is None else content)
    change(model)
    edited: bytes = model.SerializeToString()
    return edited


def _external(model: Any) -> None:
    model.graph.initializer[0].data_location = TensorProto.EXTERNAL
    model.graph.initializer[0].external_data.add(key="location", value="/etc/passwd")


def _dims(*sizes: int) -> Callable[[Any], object]:
    def change(model: Any) -> None:
        del model.graph.initializer[0].dims[:]
        model.graph.initializer[0].dims.extend(sizes)

    return change


def _input(*sizes: int | None, kind: int = TensorProto.FLOAT) -> Callable[[Any], object]:
    return lambda model: model.graph.input[0].CopyFrom(helper.make_tensor_value_info("x", kind, sizes))


def _loop(model: Any) -> None:
    model.graph.node[0].input[0] = "y"


REFUSED: dict[str, tuple[Callable[[], bytes], str, str]] = {
    "a convolution": (
        lambda: torch_like(node("Conv", "h w1", "a")), "/graph/node/1", "the node 'Conv a' must be an operator of a mul"
    ),
    "a tree": (
        lambda: keras_like(node("TreeEnsembleClassifier", "z", "y", domain=ML)), "/graph/node/5", "ai.onnx.ml.Tree"
    ),
    "an operator of its own": (lambda: torch_like(node("Relu", "h", "a", domain="my.own")), "/graph/node/1", "my.own"),
    "quantized": (lambda: torch_like(node("DequantizeLinear", "h b1", "a")), "/graph/node/1", "DequantizeLinear"),
    "a subgraph": (lambda: torch_like(node("If", "h", "a")), "/graph/node/1", "Received: If"),
    "ReLU6": (lambda: torch_like(node("Clip", "h l u", "a"), constants={"l": number(0), "u": number(6)}),
              "/graph/node/1", "one of the activations relu"),
    "another activation": (lambda: torch_like(node("Exp", "h", "a")), "/graph/node/1", "one of the activations relu"),
    "a slope for each unit": (
        lambda: torch_like(node("PRelu", "h s", "a"), constants={"s": np.full(5, 0.1, "f4")}), "/graph/node/1", "shape"
    ),
    "a steep slope": (lambda: torch_like(node("LeakyRelu", "h", "a", alpha=2.0)), "/graph/node/1", "activations"),
    "a branch": (
        lambda: torch_like(node("Relu", "h", "r"), node("Gemm", "r b c", "g"), node("Add", "h g", "a"),
                           constants={"b": np.eye(5, dtype="f4"), "c": np.zeros(5, "f4")}),
        "/graph/node/3", "must follow one another",
    ),
    "one regression": (lambda: keras_like(node("Identity", "z", "y"), width=1), "/graph/output", "one number a row"),
    "several labels a row": (lambda: torch_like(end="Sigmoid"), "/graph/output/0", "Sigmoid of 3 labels a row"),
    "two networks": (
        lambda: keras_like(node("Gemm", "a w2", "q"), node("Softmax", "q", "r"), SOFTMAX, outputs="y r"),
        "/graph/output", "as one output. Received: y, r",
    ),
    "an input as output": (lambda: a_model([], {}, outputs="x"), "/graph/output", "must be made by a layer"),
    "no output": (lambda: edited(lambda model: model.graph.ClearField("output")), "/graph/output", "no output"),
    "an output that nothing makes": (
        lambda: edited(lambda model: model.graph.output.add(name="w")), "/graph/output/1", "nothing"
    ),
    "no input": (lambda: edited(lambda model: model.graph.ClearField("input")), "/graph/input", "none"),
    "texts": (lambda: edited(_input(None, 4, kind=TensorProto.STRING)), "/graph/input/0", "type 8"),
    "an input of any width": (lambda: edited(_input(None, None)), "/graph/input/0", "that the file states"),
    "an input of no width": (lambda: edited(_input(None, 0)), "/graph/input/0", "that the file states"),
    "a huge input": (lambda: edited(_input(None, 2**40, 2**40)), "/graph/input/0", "1 to 1000000"),
    "a negative width": (lambda: edited(_input(None, -4)), "/graph/input/0", "that the file states"),
    "one dimension": (lambda: edited(_input(4)), "/graph/input/0", "the shape (rows, numbers)"),
    "pictures as they are": (lambda: edited(_input(None, 2, 2)), "/graph/node/0", "input of 3 dimensions"),
    "another width": (lambda: edited(_input(None, 5)), "/graph/node/0", "must have the shape (5, units)"),
    "external data": (lambda: edited(_external), "/graph/initializer/0", "without external data"),
    "2 GB": (lambda: edited(_dims(2**14, 2**15)), "/graph/initializer/0", "must have 2147483648 bytes"),
    "more than all memory": (lambda: edited(_dims(2**40, 2**40)), "/graph/initializer/0", "bytes"),
    "a negative size": (lambda: edited(_dims(-5, -4)), "/graph/initializer/0", "a size in each dimension"),
    "another size": (lambda: edited(_dims(4, 4)), "/graph/initializer/0", "must have 64 bytes"),
    "complex weights": (
        lambda: edited(lambda model: setattr(model.graph.initializer[0], "data_type", TensorProto.COMPLEX64)),
        "/graph/initializer/0", "type 14 of TensorProto",
    ),
    "weights that are not finite": (
        lambda: torch_like(node("Gemm", "h n", "a"), constants={"n": np.full((5, 5), np.nan, "f4")}),
        "/graph/node/1", "must be finite",
    ),
    "whole weights": (
        lambda: a_model([node("MatMul", "x w", "y")], {"w": np.ones((4, 3), "i8")}), "/graph/node/0", "int64 of (4, 3)"
    ),
    "a cycle": (lambda: edited(_loop), "/graph/node/0", "an earlier node makes. Received: 'y'"),
    "a name that is made twice": (
        lambda: torch_like(node("Relu", "h", "h")), "/graph/node/1", "names of its own. Received: 'h'"
    ),
    "weights times rows": (lambda: a_model([node("MatMul", "w x", "y")], {"w": W1}), "/graph/node/0", "as input 1"),
    "a transposed input": (lambda: torch_like(node("Gemm", "h w1", "a", transA=1)), "/graph/node/1", "transA"),
    "a softmax of columns": (
        lambda: keras_like(node("Softmax", "z", "y", axis=0)), "/graph/node/5", "must have axis = 1 or -1. Received: 0"
    ),
    "training": (
        lambda: torch_like(node("Dropout", "h - t", "a"), constants={"t": np.array(True)}), "/graph/node/1", "training"
    ),
    "half of a normalization": (
        lambda: torch_like(node("ReduceMean", "h", "m", axes=[-1]), node("Sub", "m h", "a"), opset=16),
        "/graph/node/2", "a part of a layer normalization",
    ),
    "no operators' version": (
        lambda: edited(lambda model: model.ClearField("opset_import")), "/opsetImport", "nothing"
    ),
    "no graph": (lambda: onnx.ModelProto(ir_version=9).SerializeToString(), "/graph", "nothing"),
    "too many layers": (
        lambda: a_model(
            [node("Gemm", f"y{index} w", f"y{index + 1}") for index in range(2000)],
            {"w": np.eye(4, dtype="f4")}, inputs="y0", outputs="y2000",
        ),
        "/graph/node/1024", "at most 1024 layers",
    ),
    "more layers than a definition has": (
        lambda: a_model(
            [node("Gemm", f"y{index} w", f"y{index + 1}") for index in range(300)],
            {"w": np.eye(4, dtype="f4")}, inputs="y0", outputs="y300",
        ),
        "/definition/layers", "256",
    ),
}  # fmt: skip
